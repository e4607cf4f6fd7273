"""What is measured: one row per kind of traffic, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One kind of traffic.

    Throughput and CPU come from a closed loop (`connections`); latency comes from an open loop at `rate`,
    where there is one, so that a slow router cannot slow the offered load down. Paced streams are both at once: how
    many are live and how fast they run is given.
    """

    name: str
    title: str
    body: int
    """Bytes of a request body."""
    plan: int
    """`max_tokens`: bytes of a unary answer, or `pace in ms * 10000 + chunks` of a stream."""
    connections: int
    stream: bool = False
    rate: float | None = None
    """Requests a second of the open loop."""
    seconds: float = 3.0
    """Length of each loop."""
    each: int | None = None
    """Requests per connection, where that ends the closed loop instead of `seconds`."""
    ramp_ms: int = 0
    pd: bool = False
    only: tuple[str, ...] = ()
    """Routers that the row is for; empty for all."""

    def shortened(self) -> Row:
        """The same traffic for a quick look."""
        return replace(self, seconds=max(1.0, self.seconds / 3), each=1 if self.each else None)


def paced(live: int, body: int = 1024, only: tuple[str, ...] = ()) -> Row:
    """`live` streams of 80 chunks, 50 ms apart; each connection runs two, the first ones begin over 2 s."""
    title = f"paced streams, {live} live (80 chunks, one each 50 ms; request {body} B)"
    limit = 60.0
    return Row(f"paced-{live}", title, body, 50 * 10_000 + 80, live, True, None, limit, 2, 2000, only=only)


ROWS: tuple[Row, ...] = (
    Row("unary-200", "unary, 200 B request, 256 B answer", 200, 256, 32, rate=200),
    Row("unary-8k", "unary, 8 kB request and answer", 8192, 8192, 32, rate=200),
    Row("unary-1m", "unary, 1 MiB request and answer", MIB, MIB, 8, rate=20),
    Row("burst", "burst streams, 64 chunks at once, 1 kB request", 1024, 64, 32, True, rate=20),
    paced(200),
    paced(800),
    paced(1500, only=("fd-router",)),
    Row("pd-8k", "prefill/decode pair, 8 kB request and answer", 8192, 8192, 32, rate=200, pd=True),
    Row(
        "pd-burst",
        "prefill/decode pair, 64 chunks at once, 1 kB request",
        1024,
        64,
        32,
        True,
        rate=20,
        pd=True,
    ),
)
