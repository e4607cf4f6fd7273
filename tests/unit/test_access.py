"""Keys, and the address that a client is known by."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fd_router.config import Config, ManagerConfig, Secret, ServerConfig
from fd_router.downstream.client import Client
from fd_router.edge.access import Access, Guard, exposures
from fd_router.edge.routes import ADMIN_GUARDS, DATA_GUARDS, ROUTES
from fd_router.edge.served import SERVED
from fd_router.errors import RouterError
from fd_router.runtime.overdue import OverdueWatch

if TYPE_CHECKING:
    from fd_router.types import Headers


def config(*api: str, admin: str = "", token: str = "", **server: Any) -> Config:
    keys = tuple(Secret("", key) for key in api)
    more = ServerConfig(port=1, api_keys=keys, admin_key=Secret("", admin))
    return Config(replace(more, **server), ManagerConfig(register_token=Secret("", token)))


def request(*authorization: bytes, path: str = "/p") -> Client:
    headers: Headers = [(b"x-a", b"1"), *((b"authorization", each) for each in authorization)]
    scope = {"method": "POST", "path": path, "http_version": "1.1", "query_string": b"", "headers": headers}

    async def nothing(*_: object) -> Any:
        raise AssertionError

    return Client(scope, nothing, nothing, OverdueWatch(1.0))


def status(access: Access, guard: Guard, *authorization: bytes) -> int:
    try:
        access.check(guard, request(*authorization))
    except RouterError as error:
        return error.status
    return 200


BASIC = b"Basic " + b64encode(b"engine:tok")


@pytest.mark.parametrize(
    ("guard", "sent", "wanted"),
    [
        ("client", None, 401),
        ("client", b"Bearer one", 200),
        ("client", b"bearer  two ", 200),
        ("client", b"Bearer on", 401),
        ("client", b"Bearer onee", 401),
        ("client", b"Bearer adm", 401),
        ("client", b"one", 401),
        ("client", b"Bearer", 401),
        ("client", b"Bearer \xff", 401),
        ("client", b"Basic " + b64encode(b"x:one"), 401),
        ("engine", None, 401),
        ("engine", b"Bearer tok", 200),
        ("engine", b"Bearer adm", 200),
        ("engine", BASIC, 200),
        ("engine", b"Basic " + b64encode(b"tok:"), 401),
        ("engine", b"Basic !", 401),
        ("engine", b"Bearer one", 401),
        ("operator", None, 401),
        ("operator", b"Bearer adm", 200),
        ("operator", b"Bearer tok", 401),
        ("operator", b"Bearer one", 401),
        ("anyone", None, 200),
        ("anyone", b"Bearer wrong", 200),
        ("visitor", None, 200),
    ],
)
def test_each_key_opens_its_own(guard: Guard, sent: bytes | None, wanted: int) -> None:
    access = Access(config("one", "two", admin="adm", token="tok"))
    assert status(access, guard, *([sent] if sent is not None else [])) == wanted


@pytest.mark.parametrize("guard", ["client", "engine", "operator", "visitor", "anyone"])
def test_without_keys_all_is_open(guard: Guard) -> None:
    assert status(Access(config()), guard) == 200


def test_a_key_guards_no_more_than_its_own() -> None:
    assert status(Access(config("one")), "operator") == 200
    assert status(Access(config(token="tok")), "operator") == 200
    assert status(Access(config(token="tok")), "client") == 200
    assert status(Access(config(admin="adm")), "engine") == 401, (
        "else whoever may not unregister may register"
    )


ORDERS: list[Guard] = ["engine", "operator"]


def asked(access: Access, guard: Guard, **headers: str) -> int:
    client = request()
    client.headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    try:
        access.check(guard, client)
    except RouterError as error:
        return error.status
    return 200


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site", "origin": "http://r:81", "host": "r:80"}, 403),
        ({"sec_fetch_site": "anything"}, 403),
        ({"sec_fetch_site": "same-origin", "origin": "https://proxy.example", "host": "10.0.0.1:80"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"origin": "http://evil.example", "host": "r:8000"}, 403),
        ({"origin": "null", "host": "r:8000"}, 403),
        ({"origin": "null", "host": ""}, 403),
        ({"origin": "", "host": ""}, 403),
        ({"origin": "http://r:8001", "host": "r:8000"}, 403),
        ({"origin": "http://r:8000.evil.example", "host": "r:8000"}, 403),
        ({"origin": "http://R:8000", "host": "r:8000"}, 200),
        ({"origin": "http://[::1]:8000", "host": "[::1]:8000"}, 200),
        ({"origin": "http://r", "host": "r:80"}, 200),
        ({"origin": "https://r", "host": "r:443"}, 200),
        ({"origin": "https://r", "host": "r:80"}, 403),
        ({"host": "r:8000"}, 200),
    ],
)
@pytest.mark.parametrize("guard", ORDERS)
def test_a_foreign_page_gives_no_orders(guard: Guard, headers: dict[str, str], wanted: int) -> None:
    assert asked(Access(config()), guard, **headers) == wanted
    assert asked(Access(config("one")), guard, **headers) == wanted
    # Whoever must send a key is no page that does not have it.
    assert asked(Access(config(admin="adm", token="tok")), guard, **headers) == 401


@pytest.mark.parametrize("guard", ["client", "visitor", "anyone"])
def test_a_foreign_page_may_ask_what_is_no_order(guard: Guard) -> None:
    assert asked(Access(config()), guard, origin="http://elsewhere", sec_fetch_site="cross-site") == 200


def test_engines_never_see_a_key_of_the_router() -> None:
    client = request(b"Bearer one")
    Access(config("one")).check("client", client)
    assert client.headers == [(b"x-a", b"1")]
    # A key sent to the wrong place is none of theirs either.
    client = request(b"Bearer adm")
    Access(config(admin="adm")).check("client", client)
    assert client.headers == [(b"x-a", b"1")]


@pytest.mark.parametrize("keys", [config(), config(admin="adm")])
def test_a_key_of_the_engines_passes(keys: Config) -> None:
    client = request(b"Bearer theirs")
    Access(keys).check("client", client)
    assert (b"authorization", b"Bearer theirs") in client.headers


@pytest.mark.parametrize(
    ("path", "guard", "code"),
    [("/register", "engine", "unauthorized"), ("/metrics", "operator", "unauthorized")],
)
def test_a_refusal_says_what_is_missing_and_no_key(path: str, guard: Guard, code: str) -> None:
    access = Access(config("one", admin="adm", token="tok"))
    for sent in ([], [b"Bearer sesame"]):
        with pytest.raises(RouterError) as caught:
            access.check(guard, request(*sent, path=path))
        assert (caught.value.code, caught.value.status) == (code, 401)
        assert not any(key in str(caught.value) for key in ("one", "adm", "tok", "sesame"))


def test_every_route_is_somewhere() -> None:
    assert {route.guard for route in ROUTES} == DATA_GUARDS | ADMIN_GUARDS
    data = {route.path for route in ROUTES if route.guard in DATA_GUARDS}
    assert data == {*SERVED, "/v1/models", "/v1/models/{id}", "/health", "/ready"}


PROXIES = config(trusted_proxies=("10.0.0.0/8", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "known"),
    [
        ("192.0.2.1", [b"1.1.1.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", [b"1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"9.9.9.9, 1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"9.9.9.9, 1.1.1.1 , 10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", [b"9.9.9.9", b"1.1.1.1,10.0.0.2"], "1.1.1.1"),
        ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", [b"1.1.1.1, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [b"1.1.1.1:5555"], "1.1.1.1"),
        ("10.0.0.1", [b"[2001:db8::1]:5555"], "2001:db8::1"),
        ("10.0.0.1", [b"2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", [b"::ffff:1.1.1.1"], "1.1.1.1"),
        ("10.0.0.1", [b"1.1.1.1\x1b[0m"], "10.0.0.1"),
        ("fd00::1", [b"1.1.1.1"], "1.1.1.1"),
        ("-", [b"1.1.1.1"], "-"),
    ],
)
def test_the_address_of_a_client(peer: str, forwarded: list[bytes], known: str) -> None:
    headers = [(b"x-forwarded-for", each) for each in forwarded]
    assert Access(PROXIES).origin(peer, headers) == known


def test_nobody_is_believed_where_no_proxy_is_trusted() -> None:
    assert Access(config()).origin("10.0.0.1", [(b"x-forwarded-for", b"1.1.1.1")]) == "10.0.0.1"


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (config(host="127.0.0.1"), []),
        (config(host="::1"), []),
        (config(host="localhost"), []),
        (config(), ["server.api-keys", "server.admin-key", "manager.register-token"]),
        (config("one"), ["server.admin-key", "manager.register-token"]),
        (config("one", token="t"), ["server.admin-key"]),
        (config("one", admin="a"), []),
        (config(admin="a"), ["server.api-keys"]),
        (config(admin_port=2, admin_host="127.0.0.1"), ["server.api-keys"]),
        (config(host="127.0.0.1", admin_port=2), []),
        (
            config(host="127.0.0.1", admin_port=2, admin_host="0.0.0.0"),
            ["server.admin-key", "manager.register-token"],
        ),
    ],
)
def test_open_doors_are_named(keys: Config, named: list[str]) -> None:
    found = list(exposures(keys))
    assert [name for line in found for name in (line.rpartition(": ")[2].split()[0],)] == named
