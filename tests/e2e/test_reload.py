"""A reload in the same process: by signal and by request, refused and taken over, before and after a worker's death.

What each key does after a reload is in `test_live_keys.py`.
"""

from __future__ import annotations

import os
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest

from rig import wait_for
from rig.memory import worker_pid
from rig.raw_worker import reply
from rig.router import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rig import RawWorker, Router

    StartRouter = Callable[..., Router]

READ_AGAIN = r"^\[INFO\] .* \[fd-router\] reload: the configuration was read again, "


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("to", ["supervisor", "worker", "group"])
def test_hangup_reloads(start_router: StartRouter, to: str) -> None:
    router = start_router("log: {level: info}")
    router.configure("server: {max-in-flight: 7}")
    if to == "group":
        router.process.send_all(signal.SIGHUP)
    else:
        os.kill(router.process.pid if to == "supervisor" else worker_pid(router), signal.SIGHUP)
    router.wait_log(READ_AGAIN + r"changed: server\.max-in-flight$")
    router.assert_same_worker()


def test_many_signals_are_a_few_reloads(start_router: StartRouter) -> None:
    router = start_router()
    for number in range(50):
        router.configure(f"server: {{max-in-flight: {number + 1}}}")
        router.process.send(signal.SIGHUP)
    wait_for(lambda: router.reload().json()["changed"] == [])
    router.wait_log(READ_AGAIN + r"changed: server\.max-in-flight$")
    router.assert_same_worker()


def test_a_request_reloads_and_says_what_it_did(start_router: StartRouter) -> None:
    router = start_router("scheduler: {policy: round_robin}")
    assert router.reload().json() == {"code": 200, "msg": "Reload success", "changed": [], "restart": []}
    router.wait_log(READ_AGAIN + "nothing changed$")
    before = router.get("/status").json()["config"]
    answer = router.reload("scheduler: {policy: cache_aware, cache-block-size: 32}\nodd: 1")
    assert answer.status_code == 200
    assert answer.json() == {
        "code": 200,
        "msg": "Reload success",
        "changed": ["scheduler.policy"],
        "restart": ["scheduler.cache-block-size"],
    }
    router.wait_log(r"^\[WARN\] .* reload: not taken over without a restart: scheduler\.cache-block-size$")
    router.wait_log(r"^\[WARN\] .* config: odd \(line \d+\): unknown key, ignored")
    assert router.get("/status").json()["config"] != before
    # It still waits, and is still told.
    assert router.reload().json()["restart"] == ["scheduler.cache-block-size"]


BAD = [
    ("server: {max-in-flight: 1}\nserver: {}", "failed to parse config: yaml: line"),
    ("server: {max-in-flight: -1}", r"server\.max-in-flight \(line \d+\): found -1, accepted: whole number"),
    # A start would go on with another policy; nobody wants that of a reload.
    ("scheduler: {policy: nonsense}", r'scheduler\.policy .*: found "nonsense", accepted: random'),
    ("server: {admin-key: 'file:/nowhere'}", r"server\.admin-key .*: file:/nowhere cannot be read"),
    ("server: {tls-cert: a}", r"server\.tls-cert: needs server\.tls-key"),
    ("manager: {register-path: nowhere.yaml}", r"manager\.register-path: nowhere\.yaml: .*No such file"),
    ("upstream: {ca-file: nowhere.pem}", r"upstream\.ca-file: .*nowhere\.pem"),
]


@pytest.mark.parametrize(("text", "why"), BAD, ids=[str(number) for number in range(len(BAD))])
def test_what_cannot_be_used_changes_nothing(start_router: StartRouter, text: str, why: str) -> None:
    """Nor does the rest of the file, and the error is the one of `--check`."""
    router = start_router("scheduler: {policy: round_robin}\nlog: {level: info}")
    # As it is but for the port: what cannot be read cannot be completed.
    port = f"server: {{port: {router.port}, "
    whole = text.replace("server: {", port, 1) if "server: {" in text else f"{port}}}\n{text}"
    router.process.log.with_name("config.yaml").write_text(whole + "\nlog: {level: debug}\n")
    answer = router.reload()
    assert answer.status_code == 400
    said = answer.json()
    assert said["code"] == 400
    assert re.search(why, said["msg"]), said
    line = router.wait_log(
        r"^\[ERROR\] .* \[fd-router\] reload: refused, the configuration in force stays: (.*)$"
    )
    assert re.search(why, line[1])
    assert router.metrics().value("fd_router_rejected_requests_total", code="reload") == 1
    assert router.reload("scheduler: {policy: round_robin}\nlog: {level: info}").json()["changed"] == []
    assert "[DEBUG]" not in router.settled_log()


def test_a_refusal_of_a_signal_is_told_in_the_log(start_router: StartRouter) -> None:
    router = start_router()
    router.configure("server: {max-in-flight: many}")
    router.process.send(signal.SIGHUP)
    router.wait_log(r"^\[ERROR\] .* reload: refused, .*server\.max-in-flight \(line \d+\): found \"many\"")
    router.assert_same_worker()


def test_who_may_reload(start_router: StartRouter) -> None:
    control = free_port()
    keys = f"server: {{admin-port: {control}, admin-key: adm, api-keys: [api]}}"
    router = start_router(keys, control=control, headers=bearer("adm"))
    assert router.reload().status_code == 200
    for headers in ({"authorization": ""}, bearer("api")):
        assert router.post("/reload", headers=headers).status_code == 401
    on_data = httpx.post(f"{router.data_url}/reload", headers=bearer("adm"), trust_env=False)
    assert on_data.status_code == 404


def test_the_command_line_stays_before_the_file(start_router: StartRouter) -> None:
    port = free_port()
    router = start_router("server: {port: 1}", "--port", str(port), "--splitwise", port=port)
    answer = router.reload("server: {port: 2, splitwise: false, max-in-flight: 3}")
    assert answer.json()["changed"] == ["server.max-in-flight"]
    assert answer.json()["restart"] == []


def test_doors_that_a_reload_opens_are_told(start_router: StartRouter) -> None:
    router = start_router("server: {host: 0.0.0.0, admin-key: adm, api-keys: [a]}", headers=bearer("adm"))
    assert "takes orders from everybody" not in router.settled_log()
    assert router.reload("server: {host: 0.0.0.0, api-keys: [a]}").json()["changed"] == ["server.admin-key"]
    router.wait_log(r"^\[WARN\] .* access: 0\.0\.0\.0:\d+ takes orders from everybody")


def test_a_key_s_file_is_read_again(start_router: StartRouter, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old-key\n")
    router = start_router(f"server: {{api-keys: ['file:{file}']}}")
    file.write_text("new-key\n")

    def status(key: str) -> int:
        return router.post("/v1/completions", {"prompt": "x"}, headers=bearer(key)).status_code

    assert (status("old-key"), status("new-key")) == (502, 401)
    assert router.reload().json()["changed"] == ["server.api-keys"]
    assert (status("old-key"), status("new-key")) == (401, 502)
    assert "new-key" not in router.settled_log()


def test_the_register_file_is_read_again(
    start_router: StartRouter, raw_worker: Callable[..., RawWorker], tmp_path: Path
) -> None:
    file = tmp_path / "register.yaml"
    workers = [raw_worker(lambda _: reply(b"{}")) for _ in range(2)]
    entries = [f"  - {{role: mixed, host_ip: 127.0.0.1, port: {worker.port}}}\n" for worker in workers]
    file.write_text("instances:\n" + entries[0])
    router = start_router(f"manager: {{register-path: {file}}}")
    router.wait_workers(mixed=1)
    file.write_text("instances:\n" + "".join(entries))
    assert router.reload().status_code == 200
    router.wait_workers(mixed=2)
    file.write_text("instances:\n  - {role: mixed}\n")
    answer = router.reload()
    assert answer.status_code == 400
    assert f"manager.register-path: {file}: index 0: " in answer.json()["msg"]
    assert router.numbers()["mixed"] == 2


def test_what_is_in_force_outlives_the_worker_process(start_router: StartRouter) -> None:
    """Not what stands in the file: nobody asked for that yet."""
    router = start_router("log: {level: warn}")
    router.check_worker = False
    assert router.reload("server: {max-body-mb: 1}\nlog: {level: info}").json()["changed"]
    router.configure("server: {max-body-mb: 2}\nlog: {level: error}")
    before = worker_pid(router)
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: well(router) and worker_pid(router) != before, why=router.process.tail)
    assert router.post("/v1/completions", content=b"x" * (3 << 19)).status_code == 413
    answer = router.reload("server: {max-body-mb: 1}\nlog: {level: info}")
    assert answer.json()["changed"] == [], "the next one began with it"


def well(router: Router) -> bool:
    try:
        return router.get("/health").status_code == 200
    except httpx.TransportError:
        return False


def test_a_signal_without_a_worker_process_is_for_the_next_one(start_router: StartRouter) -> None:
    router = start_router()
    router.check_worker = False
    # The second death within a minute has a pause after it, in which there is nobody.
    for _ in range(2):
        before = worker_pid(router)
        os.kill(before, signal.SIGKILL)
        found = router.wait_log(rf"worker process {before} was ended by SIGKILL, another one starts (.*)$")
        if found[1] == "at once":
            wait_for(lambda before=before: well(router) and worker_pid(router) != before)  # type: ignore[misc]
    assert found[1] == "in 0.5 s"
    router.configure("server: {max-in-flight: 7}")
    router.process.send(signal.SIGHUP)
    router.wait_log(READ_AGAIN + r"changed: server\.max-in-flight$")


def test_log_files_are_opened_anew(start_router: StartRouter) -> None:
    router = start_router("log: {output: file}")
    folder = router.process.log.with_name("logs")
    [file] = folder.glob("router-*.log")
    kept = file.rename(folder / "kept")
    for number in (signal.SIGUSR1, signal.SIGUSR1):
        router.process.send(number)
    wait_for(lambda: file.exists() and "log files are opened anew (SIGUSR1)" in file.read_text())
    wait_for(lambda: str(kept) not in open_files(router) and str(file) in open_files(router))
    router.assert_same_worker()


def open_files(router: Router) -> list[str]:
    """The files behind the descriptors of its worker process, some of which come and go."""
    folder = f"/proc/{worker_pid(router)}/fd"
    paths = []
    for fd in os.listdir(folder):
        with suppress(FileNotFoundError):
            paths.append(os.readlink(f"{folder}/{fd}"))
    return paths
