"""What is measured: one row per kind of traffic, as data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .routers import OURS_BEFORE_NAME, OURS_NAME, OURS_PD_NAME, RUST_PEERS

MIB = 1 << 20


@dataclass(frozen=True)
class Row:
    """One kind of traffic.

    Throughput and CPU come from a closed loop (`connections`); latency, and CPU at that rate, from an open loop at
    `rate`, where there is one, so that a slow router cannot slow the offered load down. Paced streams are both at
    once: how many are live and how fast they run is given.
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
    seconds: float = 1.0
    """Length of one slice of the closed loop."""
    open_seconds: float = 2.0
    """Length of one slice of the open loop."""
    each: int | None = None
    """Requests per connection, where that ends the closed loop instead of `seconds`."""
    ramp_ms: int = 0
    anchor: str = OURS_NAME
    """The router that is measured before and after every other, and that ratios are of."""
    only: tuple[str, ...] = ()
    """Other routers that the row is for; empty for all that serve mixed engines."""

    @property
    def loops(self) -> tuple[str, ...]:
        return ("open", "closed") if self.rate else ("closed",)

    def takes(self, router: str) -> bool:
        others = router in self.only if self.only else router != OURS_PD_NAME
        return router == self.anchor or others

    def anchored(self, router: str) -> Row:
        """The same row with `router` in the place of fd-router, which is one of the others then.

        Pairs of engines stay beside fd-router.
        """
        if self.anchor != OURS_NAME or router == OURS_NAME:
            return self
        return replace(self, anchor=router, only=(OURS_NAME, *self.only) if self.only else ())

    def shortened(self) -> Row:
        """The same traffic for a quick look."""
        return replace(
            self,
            seconds=self.seconds if self.each else self.seconds / 2,
            open_seconds=self.open_seconds / 2,
            each=1 if self.each else None,
        )


def paced(live: int, body: int = 1024, only: tuple[str, ...] = ()) -> Row:
    """`live` streams of 80 chunks, 50 ms apart; each connection runs two, the first ones begin over 2 s."""
    title = f"paced streams, {live} live (80 chunks, one each 50 ms; request {body} B)"
    return Row(
        f"paced-{live}",
        title,
        body,
        plan=50 * 10_000 + 80,
        connections=live,
        stream=True,
        seconds=60.0,
        each=2,
        ramp_ms=2000,
        only=only,
    )


def pair(row: Row) -> Row:
    """The same traffic on prefill/decode pairs, beside fd-router on mixed engines."""
    return replace(
        row,
        name=f"pd-{row.name.removeprefix('unary-')}",
        title=f"prefill/decode pairs beside mixed engines: {row.title}",
        anchor=OURS_PD_NAME,
        only=(OURS_NAME,),
    )


UNARY_8K = Row("unary-8k", "unary, 8 kB request and answer", 8192, 8192, 32, rate=200)
BURST = Row("burst", "burst streams, 64 chunks at once, 1 kB request", 1024, 64, 32, True, rate=20)


ROWS: tuple[Row, ...] = (
    Row("unary-200", "unary, 200 B request, 256 B answer", 200, 256, 32, rate=200),
    UNARY_8K,
    Row("unary-1m", "unary, 1 MiB request and answer", MIB, MIB, 8, rate=20),
    BURST,
    paced(200),
    paced(800),
    paced(1500, only=(OURS_BEFORE_NAME,)),
    # The plain proxy of httpx does not carry so many.
    paced(2000, only=(*RUST_PEERS, "nginx", "granian+relay", OURS_BEFORE_NAME)),
    pair(UNARY_8K),
    pair(BURST),
)
