"""Two prefill and two decode engines behind one router, of which the next to serve is known beforehand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from rig.router import chat_body
from rig.wait import wait_for

if TYPE_CHECKING:
    from concurrent.futures import Future

    import httpx

    from rig.engine import Engine
    from rig.stage import Stage

FIRST_BYTE_SECS = 1.5
IDLE_SECS = 1.0
"""Shorter, so that a leg that fell silent within its answer is found before one that waits for it to go on."""
CONFIG = f"""
scheduler: {{prefill-policy: round_robin, decode-policy: round_robin}}
manager: {{health-check-interval-secs: 3600, forget-after-secs: 0, eject-after-failures: 0}}
upstream:
  max-idle-per-worker: 0
  first-byte-timeout-secs: {FIRST_BYTE_SECS}
  idle-timeout-secs: {IDLE_SECS}
log: {{level: debug}}
"""
SECRET = "correct horse battery staple"
"""In every prompt, and to be seen in no log line."""
OUTCOMES = ("finished", "refused", "aborted", "broken_off")


class PairFleet:
    """Round robin over two of each role: who did not serve the last request serves the next one.

    No connection is kept, so that a fault of connecting meets every request; no probe takes a worker out.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._asking = ThreadPoolExecutor(4)
        self.router = stage.start_router(CONFIG, "--splitwise")
        self.engines = {
            role: stage.start_engines(
                2, self.router, role=role, register_secs=3600, kv_wait_secs=60, token_secs=0.005
            )
            for role in ("prefill", "decode")
        }
        self.router.wait_workers(prefill=2, decode=2)

    def next(self) -> dict[str, Engine]:
        """The engine of each role that the next request goes to first."""
        last = self.router.chat(f"who is next? {SECRET}")
        assert last.status_code == 200, last.text
        return {
            role: next(engine for engine in engines if engine.url != last.headers[f"x-router-{role}-url"])
            for role, engines in self.engines.items()
        }

    def ask(self, *, stream: bool, **fields: Any) -> Future[httpx.Response]:
        """One request, from another thread; the answer is read to its end."""
        body = chat_body(f"tell me {SECRET}", stream=stream, **fields)
        return self._asking.submit(self.router.post, "/v1/chat/completions", body)

    def all(self) -> list[Engine]:
        return [engine for engines in self.engines.values() for engine in engines]

    def replace(self, dead: Engine) -> None:
        """Put a new engine in the place of one that was killed."""
        gone = self.router.unregister(dead.port)
        assert gone.status_code == 200, gone.text
        engines = self.engines[dead.role]
        engines[engines.index(dead)] = self._stage.start_engine(
            self.router, role=dead.role, register_secs=3600, kv_wait_secs=60, token_secs=0.005
        )
        self.router.wait_workers(prefill=2, decode=2)

    def assert_settled(self) -> None:
        """No request is left anywhere: all counters are 0, and no engine still works on a leg.

        No leg ends by itself within the limit: a stalled one never does, and decode waits a minute for its KV.
        """
        self.router.assert_idle()
        for engine in self.all():
            assert_no_open_leg(engine)

    def close(self) -> None:
        """End the router; no line of its log has a prompt."""
        self._asking.shutdown()
        # Only once it has ended, the log is complete.
        assert self.router.stop() == 0
        assert "select worker" in self.router.log_text()
        assert SECRET not in self.router.log_text()


def assert_no_open_leg(engine: Engine, limit: float = 5.0) -> None:
    """Wait until an engine has ended whatever it received."""
    wait_for(lambda: open_legs(engine) == 0, limit=limit, why=lambda: f"orphan: {engine.stats()}")


def open_legs(engine: Engine) -> int:
    """Requests that an engine has received and that have not ended yet."""
    stats = engine.stats()
    return int(stats["requests"]) - sum(int(stats[name]) for name in OUTCOMES)
