"""The router starts again: what it had learned comes back with `server.state-path`, and nobody waits for that."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from fd_router._core import Request
from rig import core, wait_for
from rig.crowd import Crowd, statuses
from rig.memory import worker_pid
from rig.process import gone
from rig.router import chat_body, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rig import Engine, RawWorker, Router
    from rig.crowd import Got

    StartRouter = Callable[..., Router]
    StartEngines = Callable[..., list[Engine]]

PREFIXES = 60
FRESH = """
from fd_router.fleet import orders
from fd_router.state import registrations, snapshot

registrations.AGAIN_SECS = snapshot.ROUND_SECS = 0.2
orders.ROUND_SECS = 0.01
"""
"""A snapshot every now and then, in place of every 30 s; a registration that could not be kept as well.

Whether everybody is back is looked at before a test can do anything.
"""


def config(folder: Path) -> str:
    return f"""
server: {{state-path: {folder}, drain-timeout-secs: 5}}
scheduler: {{policy: least_work}}
manager: {{health-check-interval-secs: 1}}
"""


@pytest.fixture
def often(tmp_path: Path) -> dict[str, str]:
    """The environment of a router that writes a snapshot every 0.2 s."""
    place = tmp_path / "often"
    place.mkdir()
    (place / "sitecustomize.py").write_text(FRESH)
    return {"PYTHONPATH": str(place)}


def conversation(number: int) -> dict[str, Any]:
    """One of `PREFIXES` long prompts, each with another end."""
    prefix = f"{number % PREFIXES:04d} " * 400
    return chat_body(f"{prefix}{number}", max_tokens=2)


def hit_rate(got: list[Got]) -> float:
    """By what the engines say that they had cached."""
    usages = [json.loads(each.body)["usage"] for each in got if each.status == 200]
    cached: int = sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in usages)
    asked: int = sum(usage["prompt_tokens"] for usage in usages)
    return cached / asked


def warm(router: Router, number: int = 4 * PREFIXES) -> float:
    """Send each prefix a few times; the hit rate of the last of them."""
    got = Crowd(router, 4, conversation).ask(number)
    assert statuses(got) == {200: number}
    return hit_rate(got[-2 * PREFIXES :])


def restored(router: Router) -> float:
    return router.metrics().value("fd_router_snapshot_restored_blocks")


def test_a_restart_under_load_costs_nothing(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path
) -> None:
    """And without the snapshot it does: that is what is measured."""
    first = start_router(config(tmp_path))
    engines = start_engines(4, first, token_secs=0.001, register_secs=3600, cache_blocks=4096)
    first.wait_workers(mixed=4)
    warm(first)
    first.check_worker = False
    # So many that half credit would send some elsewhere.
    with Crowd(first, 16, conversation) as crowd:
        before = hit_rate(crowd.wait(200))
        first.process.send(signal.SIGTERM)
        assert first.process.wait() == 0
        down = len(crowd.got)
        begun = time.monotonic()
        took: list[float] = []

        def watch() -> None:
            wait_for(lambda: any(each.status == 200 for each in crowd.got[down:]))
            took.append(time.monotonic() - begun)

        watching = threading.Thread(target=watch)
        watching.start()
        second = start_router(config(tmp_path), port=first.port)
        watching.join()
        crowd.wait(250)
        after = crowd.got[down:]
    begun = time.monotonic()
    start_router()
    bare = time.monotonic() - begun
    assert restored(second) > 100
    # Nobody listened for a moment; from the first answer on all is well.
    answered = [each for each in after if each.status]
    assert statuses(answered) == {200: len(answered)}
    # On a machine that is busy with other things a router without anything to restore takes its time, too.
    assert took[0] < max(1.5, 2.5 * bare), (took, bare)
    rate = hit_rate(answered[:200])
    print(f"first answer {took[0]:.2f} s, a bare start {bare:.2f} s, hit rate {before:.3f}, then {rate:.3f}")
    assert second.stop() == 0
    (tmp_path / "snapshot").unlink()
    for engine in engines:
        engine.wait_stats(running=0)
    third = start_router(config(tmp_path), port=first.port)
    assert restored(third) == 0
    cold = hit_rate(Crowd(third, 16, conversation).ask(200))
    print(f"without a snapshot {cold:.3f}")
    assert cold < before - 0.1, (before, cold)
    assert before - rate < 0.03, (before, rate, cold)


def test_a_kill_loses_no_worker_and_no_more_than_since_the_last_snapshot(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path, often: dict[str, str]
) -> None:
    router = start_router(config(tmp_path), env=often)
    start_engines(2, router, token_secs=0.001, register_secs=3600)
    router.wait_workers(mixed=2)
    warm(router)
    blocks = router.metrics().value("fd_router_tree_blocks")
    for _ in range(2):  # the one that is being written may have begun before
        await_another(tmp_path / "snapshot")
    kill(router)
    again = start_router(config(tmp_path))
    assert again.numbers()["mixed"] == 2
    assert restored(again) == blocks


def await_another(path: Path) -> None:
    written = path.stat().st_mtime_ns
    wait_for(lambda: path.stat().st_mtime_ns > written)


def kill(router: Router) -> None:
    """End a router and its worker at once, and see that they are gone."""
    router.ends_with = -signal.SIGKILL
    pid = worker_pid(router)
    router.process.send_all(signal.SIGKILL)
    assert router.process.wait() == -signal.SIGKILL
    wait_for(lambda: gone(pid))


@pytest.mark.parametrize("cut", [0, 9, 1000])
def test_a_torn_snapshot_costs_one_line(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path, cut: int
) -> None:
    router = start_router(config(tmp_path))
    start_engines(1, router, token_secs=0.001, register_secs=3600)
    router.wait_workers(mixed=1)
    warm(router, PREFIXES)
    assert router.stop() == 0
    whole = (tmp_path / "snapshot").read_bytes()
    assert len(whole) > 1000
    (tmp_path / "snapshot").write_bytes(whole[:cut])
    again = start_router(config(tmp_path))
    again.wait_log(r"^\[WARN\] .* state: the snapshot is not used: it is (no snapshot|damaged)$")
    assert again.chat("x").status_code == 200
    assert restored(again) == 0
    assert again.settled_log().count("] state: ") == 1


def test_torn_registrations_cost_one_line_and_no_prefixes(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path, often: dict[str, str]
) -> None:
    """Engines come back with their next registration, a while after the start."""
    router = start_router(config(tmp_path))
    start_engines(1, router, token_secs=0.001, register_secs=2)
    router.wait_workers(mixed=1)
    warm(router, PREFIXES)
    assert router.stop() == 0
    whole = (tmp_path / "registrations.json").read_bytes()
    (tmp_path / "registrations.json").write_bytes(whole[:-9])
    again = start_router(config(tmp_path), port=router.port, env=often)
    again.wait_log(r"^\[ERROR\] .* state: registrations that were kept cannot be read: ")
    assert again.numbers()["mixed"] == 0
    again.wait_workers(mixed=1)
    assert again.settled_log().count("cannot be read") == 1
    assert again.post("/v1/chat/completions", conversation(1)).status_code == 200
    assert again.metrics().value("fd_router_predicted_cached_tokens_total") > 100


def test_a_disk_that_takes_no_snapshot_harms_nobody(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path, often: dict[str, str]
) -> None:
    """Something is in the file's place, so that writing goes well until the end, and then fails."""
    wall = tmp_path / "snapshot" / "wall"
    wall.mkdir(parents=True)
    router = start_router(config(tmp_path), env=often)
    start_engines(1, router, token_secs=0.001, register_secs=3600)
    router.wait_workers(mixed=1)

    def failures() -> float:
        return router.metrics().value("fd_router_snapshot_failures_total")

    before = failures()
    warm(router, PREFIXES)
    wait_for(lambda: failures() >= before + 3, why="no snapshot fails")
    assert router.metrics().value("fd_router_snapshot_age_seconds") > 0.5
    assert router.settled_log().count("no snapshot can be written: ") == 1
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["registrations.json"]
    wall.rmdir()
    wall.parent.rmdir()
    router.wait_log(r"^\[INFO\] .* over: no snapshot can be written; .* met \d+ times$")
    assert (tmp_path / "snapshot").stat().st_size > 1000
    settled = failures()
    wait_for(lambda: router.metrics().value("fd_router_snapshot_age_seconds") < 0.2)
    assert failures() == settled


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = _mount("-t", "tmpfs", "-o", "size=256k", "none", str(place))
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted: {mounted.stderr}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def _mount(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("trouble", ["full", "read-only"])
def test_what_a_disk_did_not_take_is_there_once_it_does(
    start_router: StartRouter,
    start_engines: StartEngines,
    small_disk: Path,
    often: dict[str, str],
    trouble: str,
) -> None:
    """Nobody has to register again for it, and a kill then loses nobody."""
    folder = small_disk / "state"
    folder.mkdir()
    rest = small_disk / "rest"
    if trouble == "full":
        with pytest.raises(OSError, match="No space"):
            rest.write_bytes(bytes(1 << 20))
    else:
        assert _mount("-o", "remount,ro", str(small_disk)).returncode == 0
    router = start_router(config(folder), env=often)
    start_engines(2, router, token_secs=0.001, register_secs=3600)
    router.wait_workers(mixed=2)
    warm(router, PREFIXES)
    why = {
        "full": r"\[Errno 28\] No space left on device",
        "read-only": r"\[Errno 30\] Read-only file system",
    }
    router.wait_log(rf"^\[ERROR\] .* state: registrations cannot be kept: {why[trouble]}")
    router.wait_log(rf"^\[ERROR\] .* state: no snapshot can be written: {why[trouble]}")
    wait_for(lambda: router.metrics().value("fd_router_snapshot_failures_total") >= 3)
    assert list(folder.iterdir()) == []
    if trouble == "full":
        rest.unlink()
    else:
        assert _mount("-o", "remount,rw", str(small_disk)).returncode == 0
    for name in ("registrations.json", "snapshot"):
        wait_for((folder / name).exists)
    for what in ("registrations cannot be kept", "no snapshot can be written"):
        router.wait_log(rf"^\[INFO\] .* over: {what}; ")
        assert router.settled_log().count(f"{what}: ") == 1
    kill(router)
    again = start_router(config(folder))
    assert again.numbers()["mixed"] == 2
    assert restored(again) > 100
    assert again.stop() == 0


def test_the_second_router_of_a_folder_writes_nothing_there_before_the_first_has_ended(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path, often: dict[str, str]
) -> None:
    first = start_router(config(tmp_path), env=often)
    start_engines(1, first, token_secs=0.001, register_secs=3600)
    first.wait_workers(mixed=1)
    warm(first, PREFIXES)
    await_another(tmp_path / "snapshot")
    second = start_router(config(tmp_path), env=often)
    # It goes on from what the first knows, as one that takes over would.
    second.wait_workers(mixed=1)
    assert restored(second) > 100
    start_engines(1, second, token_secs=0.001, register_secs=3600)
    for what in ("registrations cannot be kept", "no snapshot can be written"):
        second.wait_log(
            rf"^\[ERROR\] .* state: {what}: \[Errno 16\] another router writes here: '{tmp_path}'$"
        )
    await_another(tmp_path / "snapshot")
    assert len(json.loads((tmp_path / "registrations.json").read_bytes())["workers"]) == 1
    assert "cannot be kept" not in first.settled_log()
    assert first.stop() == 0
    wait_for(lambda: len(json.loads((tmp_path / "registrations.json").read_bytes())["workers"]) == 2)
    second.wait_log(r"^\[INFO\] .* over: no snapshot can be written; ")


def test_an_engine_that_restarted_meanwhile_is_cold(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path
) -> None:
    """By the time of its start, which it tells: its credit is taken away before anybody goes by it."""
    port = free_port()
    router = start_router(config(tmp_path))
    (engine,) = start_engines(1, router, port=port, token_secs=0.001, register_secs=3600)
    router.wait_workers(mixed=1)
    warm(router, PREFIXES)
    assert router.stop() == 0
    engine.stop()
    start_engines(1, None, port=port, token_secs=0.001)
    again = start_router(config(tmp_path))
    again.wait_workers(mixed=1)
    again.wait_log(r"^\[INFO\] .* state: the engine of \S+ was started anew, so its cache is empty$")
    assert restored(again) > 100
    assert again.post("/v1/chat/completions", conversation(1)).status_code == 200
    hits = again.metrics()
    assert hits.value("fd_router_predicted_cached_tokens_total") == 0
    assert hits.value("fd_router_prompt_tokens_total") > 1000


PAIRS = """
server: {{state-path: {folder}}}
scheduler: {{prefill-policy: {policy}, decode-policy: least_work}}
manager: {{register-path: {folder}/register.yaml, health-check-interval-secs: 1}}
"""


@pytest.mark.parametrize("policy", ["least_work", "cache_aware"])
def test_prefill_workers_get_their_prefixes_again_however_they_are_known(
    start_router: StartRouter, start_engines: StartEngines, tmp_path: Path, policy: str
) -> None:
    """One by a file, two that registered, and one that is drained, which stays so."""

    def body(number: int) -> dict[str, Any]:
        return {**conversation(number), "model": "big"}

    link = free_port()
    (named,) = start_engines(1, None, role="prefill", model="big", connector_port=link, token_secs=0.001)
    entry = {"role": "prefill", "host_ip": "127.0.0.1", "port": named.port, "connector_port": link}
    entry |= {"transfer_protocol": ["ipc", "rdma"], "rdma_ports": [7100], "device_ids": [0]}
    (tmp_path / "register.yaml").write_text(json.dumps({"instances": [entry]}))
    text = PAIRS.format(folder=tmp_path, policy=policy)
    first = start_router(text, "--splitwise")
    more = {"model": "big", "token_secs": 0.001, "register_secs": 3600}
    start_engines(2, first, role="prefill", **more)
    drained = start_engines(1, first, role="prefill", **more)[0]
    start_engines(1, first, role="decode", **more)
    first.wait_workers(prefill=4, decode=1)
    # Its models are asked for once it is in.
    wait_for(lambda: first.post("/v1/chat/completions", body(0)).status_code == 200)
    assert first.post("/workers/drain", {"url": drained.url}).status_code == 200

    def homes(router: Router, at_once: int = 1) -> list[str]:
        def home(number: int) -> str:
            answer = router.post("/v1/chat/completions", body(number))
            assert answer.status_code == 200
            url: str = answer.headers["x-router-prefill-url"]
            # What is in hand counts as well, and is given back a moment after the answer.
            wait_for(lambda: at_once > 1 or not router.metrics().value("fd_router_worker_running"))
            return url

        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(home, range(PREFIXES)))

    # Many at a time, so that all have some.
    had = [{*urls} for urls in zip(homes(first, 12), homes(first), strict=True)]
    assert len(set.union(*had)) == 3
    assert any(named.url in urls for urls in had)
    assert first.stop() == 0
    second = start_router(text, "--splitwise", port=first.port)
    moved = [(urls, now) for urls, now in zip(had, homes(second), strict=True) if now not in urls]
    assert not moved

    def is_drained() -> bool:
        rows = second.get("/workers").json()["workers"]
        return any(row["url"] == drained.url and row["state"] == "drained" for row in rows)

    wait_for(is_drained)
    assert second.post("/v1/chat/completions", {**body(0), "model": "small"}).status_code == 404


def test_not_ready_before_those_who_were_kept_are_probed(
    start_router: StartRouter,
    start_engines: StartEngines,
    raw_worker: Callable[..., RawWorker],
    tmp_path: Path,
) -> None:
    router = start_router(config(tmp_path))
    well, stuck = start_engines(2, router, register_secs=3600)
    router.wait_workers(mixed=2)
    assert router.get("/ready").status_code == 200
    assert router.stop() == 0
    stuck.suspend()
    again = start_router(config(tmp_path))
    # One of the two serves already, and requests are welcome.
    answer = again.get("/ready")
    assert (answer.status_code, answer.json()["reason"]) == (
        503,
        "the workers of before the start are being probed",
    )
    assert again.chat("x").status_code == 200
    wait_for(lambda: again.get("/ready").status_code == 200)
    assert well.stats()["requests"] == 1
    stuck.resume()
    again.wait_workers(mixed=2)


def test_200_000_blocks_are_copied_and_read_in_time() -> None:
    """In processor time, as others use the machine too."""
    before, after = (core.scheduler({"mixed": "least_work"}) for _ in range(2))
    for worker in range(8):
        before.add(f"http://10.0.0.{worker}:80", "mixed")
    for number in range(10_000):
        body = json.dumps({"prompt": f"{number:064d}" * 20}).encode()
        lease = core.book(before, "mixed", Request.scan(body, chat=False))
        lease.answered()
        lease.release()
    begun = time.thread_time()
    copy = before.copy()
    pieces = []
    while (piece := copy.piece(1e9)) is not None:
        pieces.append(piece)
    copied = time.thread_time()
    assert after.restore(b"".join(pieces), 1e9) == (200_000, 8)
    read = time.thread_time()
    assert len(pieces) > 1, "it was made in one piece"
    assert copied - begun < 0.2
    assert read - copied < 1.0
