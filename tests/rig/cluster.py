"""Several routers that share through one Valkey: the first directly, each other one by a wire of its own."""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any

from rig.valkey import Cable, Valkey
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rig.router import Router
    from rig.stage import Stage

PASSWORD = "sesame-of-the-server"
SETTINGS = "scheduler: {policy: cache_aware}\nmanager: {health-check-interval-secs: 1}\n"


class Cluster:
    """`replicas` routers; ended with the stage but for the server and the wires, which `close` ends."""

    def __init__(
        self, stage: Stage, replicas: int, settings: str = SETTINGS, flags: Sequence[str] = ()
    ) -> None:
        self._stage, self._settings, self._flags = stage, settings, flags
        self.valkey = Valkey(stage.folder, password=PASSWORD)
        self.cables: list[Cable] = []
        self.routers: list[Router] = []
        try:
            for _ in range(replicas):
                self.add()
            self.wait_sharing()
        except BaseException:
            self.close()
            raise

    def add(self, settings: str = "") -> Router:
        """One more router."""
        port = self.valkey.port
        if self.routers:
            self.cables.append(Cable(port))
            port = self.cables[-1].port
        url = f"valkey://:{PASSWORD}@127.0.0.1:{port}"
        text = f"cluster: {{url: '{url}', name: rig}}\n{settings or self._settings}"
        router = self._stage.start_router(text, *self._flags)
        self.routers.append(router)
        return router

    def wait_sharing(self, *routers: Router, limit: float = LIMIT) -> None:
        """Until these, or all, share, and each hears all others."""
        for router in routers or self.routers:
            wait_for(partial(self._whole, router), limit=limit, why=router.process.tail)

    def _whole(self, router: Router) -> bool:
        found = state(router)
        alive = sum(each.process.status is None for each in self.routers)
        return found["state"] == "sharing" and len(found["others"]) == alive - 1

    def close(self) -> None:
        """End what the stage does not know."""
        for cable in self.cables:
            cable.stop()
        self.valkey.stop()


def loads_message(*rows: tuple[str, int, int, float, float], whole: bool = True) -> bytes:
    """What a replica tells of its loads: (url, requests, weight, pending, resident) each."""
    parts = [b"fdl1", bytes([whole])]
    for url, *figures in rows:
        parts.append(struct.pack("<H", len(url)) + url.encode() + struct.pack("<QQdd", *figures))
    return b"".join(parts)


def state(router: Router) -> dict[str, Any]:
    """What `/status` says of the cluster."""
    found: dict[str, Any] = router.get("/status").json()["cluster"]
    return found


def wait_alone(router: Router, why: str = "", limit: float = LIMIT) -> None:
    """Until it goes on alone, for a reason with these words."""
    wait_for(
        lambda: (found := state(router))["state"] == "alone" and why in (found["why"] or ""),
        limit=limit,
        why=lambda: str(state(router)),
    )


def sources(router: Router) -> dict[int, str]:
    """How each worker became known, by port."""
    return {
        int(row["url"].rpartition(":")[2]): row["source"] for row in router.get("/workers").json()["workers"]
    }


def wait_states(wanted: dict[int, str], *routers: Router, limit: float = LIMIT) -> None:
    """Until these routers have these workers and no others, each in the state named."""
    for router in routers:

        def reached(router: Router = router) -> bool:
            return states(router) == wanted

        def why(router: Router = router) -> str:
            return f"{states(router)}, not {wanted}"

        wait_for(reached, limit=limit, why=why)


def states(router: Router) -> dict[int, str]:
    """Each worker's state, by port."""
    return {
        int(row["url"].rpartition(":")[2]): row["state"] for row in router.get("/workers").json()["workers"]
    }


def elsewhere(router: Router) -> int:
    """Requests that it thinks others have under way."""
    return sum(row["running_elsewhere"] for row in router.get("/workers").json()["workers"])
