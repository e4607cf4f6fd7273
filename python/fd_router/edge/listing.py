"""What one listener has of the table of routes: who answers a request, whom, and in which shape its errors are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.edge.routes import DATA_GUARDS, pattern_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from fd_router.downstream.client import Client
    from fd_router.edge.access import Guard
    from fd_router.edge.refusal import Shape
    from fd_router.edge.routes import Endpoints, Handler, Route


class Listing:
    """The routes of one listener, by method and path."""

    def __init__(
        self, routes: Iterable[Route], endpoints: Endpoints, *, guards: Container[Guard], openai: bool
    ) -> None:
        """`guards` tells which of the `routes` it has; `openai` whether clients get errors in OpenAI's shape."""
        here = [route for route in routes if route.guard in guards]
        self.handlers: dict[tuple[str, str], Handler] = {}
        self.guards: dict[tuple[str, str], Guard] = {}
        for route in here:
            handler = route.handler(endpoints)
            self._add(route.method, route, handler)
            if route.head != "none":
                # The server leaves the body out.
                self._add("HEAD", route, handler if route.head == "get" else self._exists)
        self._unknown: Shape = "openai" if openai else "plain"
        self._shapes: dict[str, Shape] = {route.path: self._shape_of(route) for route in here}
        self._pages = frozenset(route.path for route in here if route.guard in DATA_GUARDS)

    def _add(self, method: str, route: Route, handler: Handler) -> None:
        self.handlers[method, route.path] = handler
        self.guards[method, route.path] = route.guard

    def _shape_of(self, route: Route) -> Shape:
        if route.coded:
            return "coded"
        return self._unknown if route.guard == "client" else "plain"

    def shape(self, path: str) -> Shape:
        """Of errors of a path, one that is not served included."""
        return self._shapes.get(pattern_of(path), self._unknown)

    def pages_may_ask(self, path: str) -> bool:
        """Whether a path is for web pages, where `server.cors-origins` lets them."""
        return pattern_of(path) in self._pages

    def methods(self, path: str) -> str:
        """The methods of a path as headers list them."""
        pattern = pattern_of(path)
        return ", ".join(method for method, known in self.handlers if known == pattern)

    async def _exists(self, client: Client) -> None:
        """`HEAD` of an endpoint that is not asked by `GET`."""
        allowed = self.methods(client.path).encode()
        await client.answer(200, b"", [(b"allow", allowed), (b"content-length", b"0")])
