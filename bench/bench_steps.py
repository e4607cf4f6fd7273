"""Steps of Python that a plain request takes in the event loop: calls, and bytecode instructions.

    python bench/bench_steps.py [--policy cache_aware] [--body 200] [--top 20]

The service runs in this process and is asked as granian asks it, without granian; an engine in a thread answers whole.
What is counted is the same on every machine, however busy it is, so that a change of a request's way shows as it is.
Counted is what the package's own functions do: their instructions, and whom they call, built-in functions included.
What uvloop, granian and the relay do is not Python.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
import uvloop

import fd_router
from fd_router.config.load import load_config
from fd_router.process.in_force import InForce
from fd_router.process.service import Service
from fd_router.state.store import MemoryStore

Message = MutableMapping[str, Any]
App = Callable[..., Awaitable[None]]

PACKAGE = str(Path(fd_router.__file__).parent)

ANSWER = b'{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1}}'
CLIENT_HEADERS = (
    (b"host", b"router:8000"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"OpenAI/Python 2.0"),
    *((b"x-stainless-%d" % number, b"value") for number in range(8)),
    (b"authorization", b"Bearer none"),
)
WARM = 50
"""Requests before those that are counted, so that connections are kept and caches are filled."""
COUNTED = 20
MOST_CALLS = 108
"""That a plain request may take. Instructions depend on the version of Python."""


class Engine(BaseHTTPRequestHandler):
    """Answers everything well, in one piece."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"{}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._answer(ANSWER)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Steps:
    """Counts what the thread that it is made in does while it is on."""

    def __init__(self) -> None:
        self.calls: collections.Counter[str] = collections.Counter()
        self.instructions: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> Steps:
        sys.setprofile(self._called)
        sys.settrace(self._entered)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)
        sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "call" and is_ours(frame.f_code):
            self.calls[name_of(frame.f_code)] += 1
        elif event == "c_call" and is_ours(frame.f_code):
            self.calls[f"built-in {getattr(called, '__qualname__', called)}"] += 1

    def _entered(self, frame: FrameType, _event: str, _value: object) -> Callable[..., Any] | None:
        if not is_ours(frame.f_code):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        name = name_of(frame.f_code)

        def step(_frame: FrameType, event: str, _value: object) -> Callable[..., Any]:
            self.instructions[name] += event == "opcode"
            return step

        return step


def is_ours(code: CodeType) -> bool:
    return code.co_filename.startswith(PACKAGE)


def name_of(code: CodeType) -> str:
    path = Path(code.co_filename).with_suffix("")
    return f"{path.relative_to(PACKAGE)}: {code.co_name}"


async def ask(app: App, body: bytes) -> None:
    """One request, as granian hands it over. Raises `RuntimeError` for an answer other than 200."""
    answered: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/v1/chat/completions",
        "query_string": b"",
        "headers": [*CLIENT_HEADERS, (b"content-length", b"%d" % len(body))],
        "client": ("127.0.0.1", 40_000),
    }

    def receive() -> Awaitable[Message]:
        return done({"type": "http.request", "body": body, "more_body": False})

    def send(message: Message) -> Awaitable[None]:
        if "status" in message:
            answered.set_result(message["status"])
        return done(None)

    await app(scope, receive, send)
    if answered.result() != 200:
        raise RuntimeError(f"the router answered {answered.result()}")


def done(value: Any) -> asyncio.Future[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


async def count(folder: Path, policy: str, size: int) -> Steps:
    """The steps of `COUNTED` requests of `size` bytes."""
    engine = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=engine.serve_forever, daemon=True).start()
    (folder / "workers.yaml").write_text(
        f"instances:\n  - {{role: mixed, host_ip: 127.0.0.1, port: {engine.server_port}}}\n"
    )
    (folder / "config.yaml").write_text(
        f"scheduler: {{policy: {policy}}}\nlog: {{output: file}}\n"
        f"manager: {{health-check-interval-secs: 3600, register-path: {folder}/workers.yaml}}\n"
    )
    config, notices = load_config(str(folder / "config.yaml"), port="8000", splitwise=False)
    service = Service(InForce(config, MemoryStore()), notices, lambda: (config, notices), MemoryStore())
    await service.start()
    body = b'{"messages": [{"role": "user", "content": "%s"}]}' % (b"x" * max(0, size - 50))
    for _ in range(WARM):
        await ask(service.app, body)
    # What goes on beside requests goes by the time they take here, which is no measure.
    await service._rounds.stop()
    steps = Steps()
    with steps:
        for _ in range(COUNTED):
            await ask(service.app, body)
    await service.stop()
    engine.shutdown()
    return steps


def test_a_plain_request_takes_few_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps = uvloop.run(count(tmp_path, "cache_aware", 200))
    assert COUNTED < steps.calls.total() <= MOST_CALLS * COUNTED


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--policy", default="cache_aware")
    parser.add_argument("--body", type=int, default=200, metavar="BYTES")
    parser.add_argument("--top", type=int, default=20, help="functions that are shown (20)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        steps = uvloop.run(count(Path(name), args.policy, args.body))
        os.chdir("/")
    print(
        f"a request: {steps.calls.total() / COUNTED:.1f} calls, {steps.instructions.total() / COUNTED:.0f} instructions"
    )
    for found, unit in ((steps.instructions, "instructions"), (steps.calls, "calls")):
        print(f"\nper request, {unit}:")
        for function, number in found.most_common(args.top):
            print(f"{number / COUNTED:8.1f}  {function}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
