"""https: of the listeners, and of engines with an authority of their own on every way to them."""

from __future__ import annotations

import json
import shutil
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from rig.certificates import Authority
from rig.raw_worker import reply, sse_head
from rig.router import chat_body, free_port
from rig.wait import LIMIT, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rig import RawWorker, Router, Stage
    from rig.certificates import Pair
    from rig.raw_worker import Peer

    StartRouter = Callable[..., Router]
    MakeWorker = Callable[..., RawWorker]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "root")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "stranger", "stranger")


LOAD = b"fastdeploy:num_requests_running 0\nfastdeploy:num_requests_waiting 0\n"
ANSWERS = {
    "/metrics": LOAD,
    "/v1/models": json.dumps({"object": "list", "data": [{"id": "mock"}]}).encode(),
    "/tokenize": b'{"input_ids": [1, 2, 3]}',
}


def engine(peer: Peer) -> bytes:
    """An engine, and a tokenizer service too."""
    return reply(ANSWERS.get(peer.path, b'{"choices": []}'))


def register(router: Router, worker: RawWorker) -> httpx.Response:
    return router.register(worker.port, host_ip="https://127.0.0.1")


def paths(worker: RawWorker) -> set[str]:
    return {hit.path for hit in worker.hits}


@pytest.mark.parametrize("by", ["upstream.ca-file", "SSL_CERT_FILE"])
def test_one_authority_for_all_ways_to_an_engine(
    start_router: StartRouter, raw_worker: MakeWorker, authority: Authority, by: str
) -> None:
    worker = raw_worker(engine, models=True, tls=authority.issue("worker").server())
    ca = f"upstream: {{ca-file: {authority.root}}}" if by == "upstream.ca-file" else ""
    router = start_router(
        f"""
{ca}
scheduler: {{policy: remote_cache_aware, tokenizer-url: "https://127.0.0.1:{worker.port}"}}
manager: {{metrics-interval-secs: 0.1}}
""",
        env={"SSL_CERT_FILE": "" if ca else str(authority.root), "SSL_CERT_DIR": ""},
    )
    answer = register(router, worker)
    assert answer.status_code == 200, answer.text
    assert worker.probes >= 1
    assert router.chat("hello").status_code == 200
    assert [model["id"] for model in router.get("/v1/models").json()["data"]] == ["mock"]
    wait_for(lambda: paths(worker) >= {"/metrics", "/v1/models", "/tokenize", "/v1/chat/completions"})
    log = router.settled_log()
    assert "tokenizer failed" not in log
    assert "GetRemoteMetrics failed" not in log


def test_a_refused_certificate_is_told(
    start_router: StartRouter, raw_worker: MakeWorker, authority: Authority, stranger: Authority
) -> None:
    worker = raw_worker(engine, models=True, tls=authority.issue("worker").server())
    router = start_router(f"upstream: {{ca-file: {stranger.root}}}")
    answer = register(router, worker)
    assert answer.status_code == 503
    said = answer.json()["msg"]
    assert said.startswith(f"{worker.url} service is not healthy: Get ")
    assert "certificate" in said
    router.wait_log(r"^\[ERROR\] .*failed to send request to https://.*certificate")
    assert worker.hits == []


def test_another_authority_is_taken_up_while_running(
    start_router: StartRouter, raw_worker: MakeWorker, authority: Authority, stranger: Authority, stage: Stage
) -> None:
    ca = stage.folder / "ca.pem"
    ca.write_bytes(stranger.root.read_bytes())
    worker = raw_worker(engine, models=True, tls=authority.issue("worker").server())
    router = start_router(f"upstream: {{ca-file: {ca}}}")
    assert register(router, worker).status_code == 503
    assert router.get("/v1/models").json()["data"] == []
    fresh = stage.folder / "fresh.pem"
    fresh.write_bytes(authority.root.read_bytes())
    fresh.replace(ca)
    wait_for(lambda: register(router, worker).status_code == 200)
    assert router.chat("hello").status_code == 200
    assert [model["id"] for model in router.get("/v1/models").json()["data"]] == ["mock"]


def listener(authority: Authority, more: str = "") -> str:
    pair = authority.issue("router")
    return f"tls-cert: {pair.cert}, tls-key: {pair.key}{more}"


def test_the_listeners_speak_tls(
    start_router: StartRouter, raw_worker: MakeWorker, authority: Authority, stranger: Authority
) -> None:
    control = free_port()
    router = start_router(
        f"server: {{{listener(authority)}, admin-port: {control}}}", control=control, tls=authority.client()
    )
    worker = raw_worker(engine)
    assert router.register(worker.port).status_code == 200
    with httpx.Client(verify=authority.client(), trust_env=False, timeout=LIMIT) as client:
        answer = client.post(f"{router.data_url}/v1/chat/completions", json=chat_body("hi"))
        assert (answer.status_code, answer.json()) == (200, {"choices": []})
    for url in (router.url, router.data_url):
        with httpx.Client(verify=stranger.client(), trust_env=False, timeout=LIMIT) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                client.get(f"{url}/health")
            with pytest.raises(httpx.TransportError):
                client.get(f"{url.replace('https', 'http')}/health")


def test_only_clients_with_a_certificate(
    start_router: StartRouter, authority: Authority, stranger: Authority
) -> None:
    router = start_router(
        f"server: {{{listener(authority, f', tls-client-ca: {authority.root}')}}}",
        tls=authority.client(authority.issue("client")),
    )
    assert router.get("/health").status_code == 200
    for pair in (None, stranger.issue("client")):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{router.url}/health", verify=authority.client(pair), trust_env=False, timeout=LIMIT)


def test_a_new_certificate_of_the_listeners(
    start_router: StartRouter, raw_worker: MakeWorker, stage: Stage, authority: Authority, stranger: Authority
) -> None:
    """Both show it; a stream of before goes on to its end."""
    control = free_port()
    cert, key = stage.folder / "cert.pem", stage.folder / "key.pem"

    def put(pair: Pair, *files: Path) -> None:
        for path in files:
            fresh = path.with_suffix(".fresh")
            fresh.write_bytes((pair.cert if path == cert else pair.key).read_bytes())
            fresh.replace(path)

    put(authority.issue("first"), cert, key)
    router = start_router(
        f"server: {{tls-cert: {cert}, tls-key: {key}, admin-port: {control}}}",
        control=control,
        tls=authority.client(),
    )
    going_on = threading.Event()

    def half(peer: Peer) -> None:
        peer.send(sse_head() + b"data: 1\n\n")
        going_on.wait(LIMIT)
        peer.send(b"data: 2\n\n")
        peer.close()

    assert router.register(raw_worker(half).port).status_code == 200
    second = stranger.issue("second")
    put(second, cert)
    router.wait_log(r"tls: the listeners keep their certificate: server\.tls-cert .*key values mismatch$")
    assert router.get("/registered_number").status_code == 200

    def shown(url: str, whose: Authority) -> bool:
        try:
            return (
                httpx.get(f"{url}/health", verify=whose.client(), trust_env=False, timeout=LIMIT).status_code
                == 200
            )
        except httpx.ConnectError as error:
            # A handshake that is under way in the moment of the change may break off; nobody is refused.
            if "CERTIFICATE_VERIFY_FAILED" not in str(error) and "EOF" not in str(error):
                raise
            return False

    def stream(client: httpx.Client) -> AbstractContextManager[httpx.Response]:
        url = f"{router.data_url}/v1/chat/completions"
        return client.stream("POST", url, json=chat_body("hi", stream=True))

    def client_of(whose: Authority) -> httpx.Client:
        return httpx.Client(verify=whose.client(), trust_env=False, timeout=LIMIT)

    with client_of(authority) as first, client_of(stranger) as later, stream(first) as old:
        events = old.iter_raw()
        assert b"1" in next(events)
        put(second, key)
        # The one before listens on for a moment.
        for url in (router.url, router.data_url):
            wait_for(lambda url=url: all(shown(url, stranger) for _ in range(20)))  # type: ignore[misc]
        router.wait_log(r"over: the listeners' certificate cannot be replaced; ")
        router.wait_log(r"tls: the listeners' certificate was replaced$")
        with stream(later) as new:
            assert b"1" in next(new.iter_raw())
            going_on.set()
            assert b"".join(events) == b"data: 2\n\n"
    put(authority.issue("third"), cert, key)
    wait_for(lambda: all(shown(router.data_url, authority) for _ in range(20)))
    router.check_idle = False  # the rig asks as who knows the first only
    assert router.stop() == 0


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("tls-cert: /none.pem, tls-key: {key}", "server.tls-cert: open /none.pem: no such file or directory"),
        ("tls-cert: {cert}, tls-key: /none.key", "server.tls-key: open /none.key: no such file or directory"),
        (
            "tls-cert: {cert}, tls-key: {other}",
            "server.tls-cert {cert} with server.tls-key: key values mismatch",
        ),
        ("tls-cert: {key}, tls-key: {key}", "server.tls-cert {key} with server.tls-key: "),
        ("tls-cert: {cert}", "server.tls-cert: needs server.tls-key"),
        (
            "tls-cert: {cert}, tls-key: {key}, tls-client-ca: /none.pem",
            "server.tls-client-ca: open /none.pem: no such file or directory",
        ),
        (
            "tls-cert: {cert}, tls-key: {key}, tls-client-ca: {key}",
            "server.tls-client-ca {key}: no certificate",
        ),
    ],
)
def test_files_that_cannot_be_used(stage: Stage, authority: Authority, keys: str, said: str) -> None:
    pair, other = authority.issue("good"), authority.issue("other")
    names = {"cert": pair.cert, "key": pair.key, "other": other.key}
    config = stage.folder / "bad.yaml"
    config.write_text(f"server: {{host: 127.0.0.1, port: {free_port()}, {keys.format(**names)}}}")
    ended = stage.run_router("--config_path", str(config))
    assert ended.returncode == 1
    assert said.format(**names) in ended.stderr
    assert ended.stderr.count("\n") == 1
    checked = stage.run_router("--check", "--config_path", str(config))
    assert checked.returncode == 1
    assert said.format(**names) in checked.stderr
    assert checked.stdout == ""


def test_a_missing_authority_of_engines_ends_the_start(stage: Stage) -> None:
    config = stage.folder / "bad.yaml"
    config.write_text(f"server: {{host: 127.0.0.1, port: {free_port()}}}\nupstream: {{ca-file: /none.pem}}")
    ended = stage.run_router("--config_path", str(config))
    assert ended.returncode == 1
    assert "upstream.ca-file: root certificates of /none.pem: " in ended.stderr


def test_a_check_tells_all_that_is_wrong(stage: Stage, authority: Authority) -> None:
    """Also beside a router that serves on the port, and of files that can be used nothing."""
    pair = authority.issue("good")
    config = stage.folder / "config.yaml"
    server = f"host: 127.0.0.1, port: {free_port()}, tls-cert: {pair.cert}, tls-key: "
    config.write_text(f"server: {{{server}/none.key}}\nupstream: {{ca-file: /none.pem}}")
    checked = stage.run_router("--check", "--config_path", str(config))
    assert checked.returncode == 1
    found = checked.stderr.splitlines()
    assert found[0] == "ERROR server.tls-key: open /none.key: no such file or directory"
    assert found[1].startswith("ERROR upstream.ca-file: root certificates of /none.pem: ")
    assert len(found) == 2
    config.write_text(f"server: {{{server}{pair.key}}}\nupstream: {{ca-file: {authority.root}}}")
    assert stage.run_router("--check", "--config_path", str(config)).returncode == 0
