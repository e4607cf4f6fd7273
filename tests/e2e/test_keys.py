"""Keys, the control port, networks and forwarded addresses, by the real process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from rig.raw_worker import reply
from rig.router import chat_body, free_port
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rig import RawWorker, Router
    from rig.raw_worker import Peer

    StartRouter = Callable[..., Router]
    MakeWorker = Callable[..., RawWorker]

API, ADMIN, TOKEN, WRONG = "sesame-api", "sesame-admin", "sesame-token", "sesame-wrong"
KEYS = f"""
server: {{api-keys: [other, {API}], admin-key: {ADMIN}}}
manager: {{register-token: {TOKEN}, health-check-interval-secs: 3600}}
"""


def bearer(key: str | None) -> dict[str, str]:
    return {} if key is None else {"authorization": f"Bearer {key}"}


def echo(_: Peer) -> bytes:
    return reply(b'{"choices": []}')


@pytest.fixture
def guarded(start_router: StartRouter) -> Iterator[Router]:
    """A router with all keys; the rig's own questions carry the operator's."""
    router = start_router(KEYS, headers=bearer(ADMIN))
    yield router
    # Nothing of this test may have left a key where others read.
    assert "[POST]" in router.wait_log(r"\[POST\]")[0]
    assert "sesame" not in router.settled_log()
    assert "sesame" not in router.get("/metrics").text


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("POST", "/v1/chat/completions", {API}),
        ("POST", "/v1/completions", {API}),
        ("GET", "/v1/models", {API}),
        ("POST", "/register", {TOKEN, ADMIN}),
        ("POST", "/unregister", {ADMIN}),
        ("POST", "/v1/abort_requests", {ADMIN}),
        ("POST", "/workers/drain", {ADMIN}),
        ("POST", "/workers/undrain", {ADMIN}),
        ("POST", "/workers/eject", {ADMIN}),
        ("POST", "/workers/readmit", {ADMIN}),
        ("GET", "/workers", {ADMIN}),
        ("GET", "/status", {ADMIN}),
        ("GET", "/registered", {ADMIN}),
        ("GET", "/registered_number", {ADMIN}),
        ("GET", "/health_generate", {ADMIN}),
        ("GET", "/metrics", {ADMIN}),
    ],
)
def test_each_endpoint_takes_its_own_key_only(
    guarded: Router, method: str, path: str, right: set[str]
) -> None:
    guarded.post("/unregister", {})
    for key in (None, API, ADMIN, TOKEN, WRONG):
        headers = bearer(key) or {"authorization": ""}
        answer = guarded.client.request(method, path, headers=headers, json={} if method == "POST" else None)
        if key in right:
            assert answer.status_code != 401, (key, answer.text)
        else:
            assert answer.status_code == 401, (key, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            said = answer.json()
            assert said.get("error") or (said["code"] == 401 and said["msg"])
            assert "sesame" not in answer.text
    assert guarded.metrics().value("fd_router_rejected_requests_total", code="unauthorized") >= 3


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_is_for_everybody(guarded: Router, path: str) -> None:
    guarded.post("/unregister", {})
    assert httpx.get(guarded.url + path, trust_env=False).status_code in (200, 503)


def test_an_engine_s_url_carries_the_token(guarded: Router, raw_worker: MakeWorker) -> None:
    """FastDeploy's `--router` is a url and its client makes user and password in it a header: the only way it has."""
    worker = raw_worker(echo)
    body = {"role": "mixed", "host_ip": "127.0.0.1", "port": worker.port}
    for password, status in ((TOKEN, 200), (WRONG, 401)):
        url = f"http://engine:{password}@127.0.0.1:{guarded.port}/register"
        assert httpx.post(url, json=body, trust_env=False, timeout=LIMIT).status_code == status


def test_engines_see_no_key(guarded: Router, raw_worker: MakeWorker) -> None:
    worker = raw_worker(echo)
    assert guarded.register(worker.port).status_code == 200
    headers = {**bearer(API), "x-seen": "yes"}
    assert guarded.post("/v1/chat/completions", chat_body("hi"), headers=headers).status_code == 200
    (hit,) = worker.hits
    assert hit.header("x-seen") == ["yes"]
    assert hit.header("authorization") == []
    assert b"sesame" not in hit.head


def test_without_keys_of_the_router_those_of_engines_pass(
    start_router: StartRouter, raw_worker: MakeWorker
) -> None:
    router = start_router("manager: {health-check-interval-secs: 3600}")
    worker = raw_worker(echo)
    assert router.register(worker.port).status_code == 200
    assert router.post("/v1/chat/completions", chat_body("hi"), headers=bearer("theirs")).status_code == 200
    assert worker.hits[0].header("authorization") == ["Bearer theirs"]


def test_a_refused_client_costs_nothing(guarded: Router) -> None:
    """Its body is not waited for, so that who has no key holds nothing."""
    with guarded.raw() as client:
        client.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: r\r\ncontent-length: 1000000\r\n\r\n")
        assert b" 401 " in client.read_until(b"\r\n\r\n")


def test_open_doors_are_told_at_start(start_router: StartRouter) -> None:
    router = start_router("server: {host: 0.0.0.0, admin-key: sesame}", headers=bearer("sesame"))
    router.wait_log(
        r"^\[WARN\] .*\[fd-router\] access: 0\.0\.0\.0:\d+ takes prompts .*server\.api-keys is empty$"
    )
    assert "server.admin-key is empty" not in router.settled_log()
    loopback = start_router()
    assert "access:" not in loopback.settled_log()


# ---- the control port


def split(start_router: StartRouter, more: str = "") -> tuple[Router, httpx.Client]:
    """A router with a control port, and a client of that."""
    port = free_port()
    router = start_router(f"server: {{admin-port: {port}{more}}}", control=port)
    return router, router.client


def test_each_port_has_its_own_endpoints(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router, control = split(start_router)
    worker = raw_worker(echo)
    assert router.register(worker.port).status_code == 200
    data = httpx.Client(base_url=router.data_url, trust_env=False, timeout=LIMIT)
    with data:
        for path in (
            "/registered",
            "/registered_number",
            "/metrics",
            "/health_generate",
            "/workers",
            "/status",
        ):
            assert control.get(path).status_code == 200, path
            assert data.get(path).status_code == 404, path
        for path in ("/register", "/unregister", "/v1/abort_requests", "/workers/drain", "/workers/readmit"):
            assert data.post(path, json={}).status_code == 404, path
            assert control.post(path, json={}).status_code == 400, path
        assert control.post("/v1/chat/completions", json=chat_body("hi")).status_code == 404
        assert data.post("/v1/chat/completions", json=chat_body("hi")).status_code == 200
        for each in (data, control):
            assert each.get("/health").status_code == each.get("/ready").status_code == 200
    router.wait_log(r"\[GET\] /metrics HTTP/1.1 200 ")


def test_a_taken_control_port_is_told(start_router: StartRouter, stage: Any) -> None:
    router = start_router()
    config = stage.folder / "taken.yaml"
    config.write_text(f"server: {{host: 127.0.0.1, port: {free_port()}, admin-port: {router.port}}}")
    ended = stage.run_router("--config_path", str(config))
    assert ended.returncode == 1
    assert f"listen tcp 127.0.0.1:{router.port}: " in ended.stderr


# ---- networks


def test_only_workers_of_allowed_networks_come_in(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router = start_router("manager: {allowed-networks: [127.0.0.0/31]}")
    inside, outside = raw_worker(echo), raw_worker(echo, host="127.0.0.5")
    assert router.register(inside.port).status_code == 200
    refused = router.post("/register", {"role": "mixed", "host_ip": "127.0.0.5", "port": outside.port})
    assert (refused.status_code, refused.json()["code"]) == (403, 403)
    assert "manager.allowed-networks" in refused.json()["msg"]
    assert (outside.probes, outside.connections) == (0, 0), "not even a probe goes there"
    # Where nothing is said it is a worker as any other.
    free = start_router()
    assert free.register(outside.port, host_ip="127.0.0.5").status_code == 200


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "fe80::1", "224.0.0.1", "fd00:ec2::254", "::ffff:169.254.169.254"]
)
def test_no_worker_is_at_such_an_address(start_router: StartRouter, host: str) -> None:
    router = start_router()
    assert router.register(80, host_ip=host).status_code == 403
    assert router.numbers()["mixed"] == 0


def test_aliases_of_loopback_are_one_worker(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router = start_router()
    worker = raw_worker(echo)
    for host in ("127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "http://127.0.0.1"):
        assert router.register(worker.port, host_ip=host).status_code == 200
    assert router.register(worker.port, host_ip="localhost").status_code == 400
    assert [item["url"] for item in router.registered()["mixed"]] == [worker.url]


# ---- forwarded addresses


@pytest.mark.parametrize(
    ("proxies", "logged"), [("[]", "127.0.0.1"), ("[10.0.0.0/8]", "127.0.0.1"), ("[127.0.0.1]", "9.9.9.9")]
)
def test_only_a_trusted_proxy_is_believed(start_router: StartRouter, proxies: str, logged: str) -> None:
    router = start_router(f"server: {{trusted-proxies: {proxies}}}")
    router.get("/forwarded", headers={"x-forwarded-for": "6.6.6.6, 9.9.9.9"})
    found = wait_for(lambda: [m for m in router.messages() if m.startswith("[GET] /forwarded")])
    assert found[0].endswith(f" {logged}")


def test_neither_leg_of_a_pair_sees_a_key(start_router: StartRouter, raw_worker: MakeWorker) -> None:
    router = start_router(KEYS, "--splitwise", headers=bearer(ADMIN))
    workers = {role: raw_worker(echo) for role in ("prefill", "decode")}
    for role, worker in workers.items():
        assert router.register(worker.port, role).status_code == 200
    headers = {**bearer(API), "x-seen": "yes"}
    assert router.post("/v1/chat/completions", chat_body("hi"), headers=headers).status_code == 200
    for worker in workers.values():
        worker.wait_hits(1)
        (hit,) = worker.hits
        assert hit.header("x-seen") == ["yes"]
        assert b"sesame" not in hit.head + hit.body


def test_a_browser_takes_no_orders_of_a_foreign_page(
    start_router: StartRouter, raw_worker: MakeWorker
) -> None:
    router = start_router("server: {cors-origins: ['*']}")
    worker = raw_worker(echo)
    page = {"origin": "http://elsewhere.example", "content-type": "text/plain"}
    order = {"url": worker.url}
    for path in ("/register", "/unregister", "/workers/eject", "/v1/abort_requests", "/v1/sleep", "/reload"):
        answer = router.post(path, order, headers=page)
        assert answer.status_code == 403, path
        assert "a web page of http://elsewhere.example may not ask this" in answer.text
    img = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert router.get("/clear_load_weight", headers=img).status_code == 403
    assert router.metrics().value("fd_router_rejected_requests_total", code="foreign_page") == 7
    assert router.register(worker.port).status_code == 200
    # What pages are let do by `server.cors-origins` is for them as before, and the page of operators opens.
    for headers in (page, page | {"sec-fetch-site": "cross-site"}):
        answer = router.post("/v1/chat/completions", chat_body("hello"), headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
    assert router.get("/dashboard", headers=img).status_code == 200
