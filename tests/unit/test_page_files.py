"""The files of the page: what is sent, with which headers, and what they refer to."""

from __future__ import annotations

import asyncio
import re
from types import SimpleNamespace
from typing import Any

import pytest

from fd_router.edge.dashboard import FOLDER, PAGE, TYPES, Dashboard, load
from fd_router.edge.routes import ADMIN_GUARDS, DATA_GUARDS, ROUTES, pattern_of
from fd_router.errors import NotFoundError

FILES = load()


class Sent(SimpleNamespace):
    """A client, and what it was sent."""

    async def answer(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status, self.body, self.got = status, body, dict(headers)


def get(path: str, **headers: str) -> Any:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    client: Any = Sent(path=path, headers=pairs)
    page = Dashboard()
    asyncio.run((page.page if path == "/dashboard" else page.part)(client))
    return client


@pytest.mark.parametrize("path", ["/dashboard", *(f"/dashboard/{name}" for name in FILES)])
def test_each_file_is_sent_with_what_binds_the_browser(path: str) -> None:
    sent = get(path)
    name = path.removeprefix("/dashboard").removeprefix("/") or PAGE
    assert (sent.status, sent.body) == (200, (FOLDER / name).read_bytes())
    assert sent.got[b"content-type"] == TYPES[f".{name.rpartition('.')[2]}"]
    assert sent.got[b"content-length"] == b"%d" % len(sent.body)
    policy = dict(rule.split(" ", 1) for rule in sent.got[b"content-security-policy"].decode().split("; "))
    assert policy["default-src"] == "'none'"
    assert {policy[key] for key in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert {policy[key] for key in ("frame-ancestors", "base-uri", "form-action")} == {"'none'"}
    assert (sent.got[b"x-content-type-options"], sent.got[b"referrer-policy"]) == (b"nosniff", b"no-referrer")
    assert sent.got[b"cache-control"] == b"no-cache"


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}'])
def test_what_a_browser_has_is_not_sent_again(form: str) -> None:
    etag = get("/dashboard").got[b"etag"].decode()
    again = get("/dashboard", if_none_match=form.format(etag))
    assert (again.status, again.body) == (304, b"")
    assert again.got[b"etag"].decode() == etag
    assert get("/dashboard", if_none_match='"other"').status == 200


@pytest.mark.parametrize("path", ["nope.js", "__init__.py", "../access.py", "x/main.js", "%2e%2e/main.js"])
def test_nothing_else_is_sent(path: str) -> None:
    with pytest.raises(NotFoundError):
        get(f"/dashboard/{path}")


def test_the_page_is_where_operators_ask() -> None:
    routes = [route for route in ROUTES if route.path.startswith("/dashboard")]
    assert {route.guard for route in routes} == {"visitor"} <= ADMIN_GUARDS - DATA_GUARDS
    assert [pattern_of(path) for path in ("/dashboard", "/dashboard/", "/dashboard/main.js")] == [
        "/dashboard",
        "/dashboard/",
        "/dashboard/{file}",
    ]


def test_every_reference_is_to_a_file_of_the_page() -> None:
    page = FILES[PAGE].body.decode()
    named = set(re.findall(r'(?:href|src)="dashboard/([^"]+)"', page))
    for name, file in FILES.items():
        text = file.body.decode()
        if name.endswith(".js"):
            named |= set(re.findall(r'from "\./([^"]+)"', text))
        assert "http://" not in re.sub(r"http://www\.w3\.org/|\\/\\/|\^http:\S*", "", text), name
        assert "https://" not in text, name
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text), name
    assert named == FILES.keys() - {PAGE}


def test_every_id_that_the_scripts_ask_for_is_there() -> None:
    page = FILES[PAGE].body.decode()
    there = set(re.findall(r'id="([^"]+)"', page))
    scripts = "".join(file.body.decode() for name, file in FILES.items() if name.endswith(".js"))
    assert set(re.findall(r'\bat\("([^"]+)"\)', scripts)) <= there
