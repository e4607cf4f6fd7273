"""The command line, which is also the one place of the defaults."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from fd_router.mock_engine.faults import FaultError, Faults, describe, parse_assignment

ROLES = ("mixed", "prefill", "decode")


@dataclass(frozen=True, slots=True)
class Options:
    """What one engine is told at start; see `--help` for the meaning of each."""

    name: str
    host: str
    port: int
    control_port: int | None
    metrics_port: int | None
    router: str | None
    register_secs: float
    role: str
    connector_port: int
    device_ids: tuple[str, ...]
    rdma_ports: tuple[str, ...]
    transfer_protocol: tuple[str, ...]
    tp_size: int
    kv_wait_secs: float
    endpoints: tuple[str, ...]
    model: str
    adapters: tuple[str, ...]
    block_size: int
    cache_blocks: int
    block_secs: float
    token_secs: float
    answer_tokens: int
    stream_interval: int
    max_prefills: int
    max_batch: int
    max_queue: int
    record: int
    faults: Faults


def build_parser() -> argparse.ArgumentParser:
    """The parser behind `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m fd_router.mock_engine",
        description="A stand-in for a FastDeploy engine, for demos and tests of a router. It serves no "
        "model: its answers are made-up words that name the engine.",
        epilog="faults, for --fault and as keys of POST /mock/fault (DELETE /mock/fault heals):\n"
        + describe(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_serving(parser)
    add_model(parser)
    add_pair(parser)
    return parser


def add_serving(parser: argparse.ArgumentParser) -> None:
    """Addresses, registration, faults."""
    group = parser.add_argument_group("serving")
    group.add_argument("--name", default="", help="names the engine in its answers (default: mock-PORT)")
    group.add_argument(
        "--host", default="127.0.0.1", help="IP to listen on and to register (default: %(default)s)"
    )
    group.add_argument("--port", type=port, default=0, help="0 takes a free port (default: %(default)s)")
    group.add_argument(
        "--control-port",
        type=port,
        help="serve everything here too, untouched by connection and health faults",
    )
    group.add_argument("--metrics-port", type=port, help="serve /metrics here too, and register it")
    group.add_argument(
        "--router", metavar="HOST:PORT", help="register there; without it the engine stays alone"
    )
    group.add_argument("--register-secs", type=seconds, default=5.0, help="period (default: %(default)s)")
    group.add_argument(
        "--record", type=count, default=32, help="last requests kept for /mock/stats (default: %(default)s)"
    )
    group.add_argument(
        "--fault", action="append", default=[], metavar="KEY=VALUE", help="see below; repeatable"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Cache, speed, capacity."""
    group = parser.add_argument_group("modelled engine (a token of a text prompt is one character)")
    group.add_argument("--model", default="mock", help="name in /v1/models (default: %(default)s)")
    group.add_argument(
        "--adapters", type=words, default=(), help="more names in /v1/models, comma-separated (default: none)"
    )
    group.add_argument(
        "--block-size", type=positive, default=64, help="tokens a cache block (default: %(default)s)"
    )
    group.add_argument(
        "--cache-blocks", type=count, default=8192, help="blocks the cache holds (default: %(default)s)"
    )
    group.add_argument(
        "--block-secs", type=seconds, default=0.001, help="prefill per uncached block (default: %(default)s)"
    )
    group.add_argument(
        "--max-prefills",
        type=positive,
        default=64,
        help="prompts computed at once, each at full speed (default: %(default)s)",
    )
    group.add_argument(
        "--token-secs", type=seconds, default=0.002, help="time per answered token (default: %(default)s)"
    )
    group.add_argument(
        "--answer-tokens",
        type=positive,
        default=16,
        help="where no max_tokens is asked (default: %(default)s)",
    )
    group.add_argument(
        "--stream-interval",
        type=positive,
        default=1,
        help="tokens a frame of a stream; the first has its own (default: %(default)s)",
    )
    group.add_argument(
        "--max-batch", type=positive, default=64, help="requests run at once (default: %(default)s)"
    )
    group.add_argument(
        "--max-queue", type=count, default=256, help="requests waiting, more get 429 (default: %(default)s)"
    )


def add_pair(parser: argparse.ArgumentParser) -> None:
    """Prefill/decode."""
    group = parser.add_argument_group("prefill/decode pair")
    group.add_argument("--role", choices=ROLES, default="mixed", help="(default: %(default)s)")
    group.add_argument("--connector-port", type=port, default=0, help="where KV arrives; 0 takes a free port")
    group.add_argument("--device-ids", type=words, default=("0",), help="comma-separated (default: 0)")
    group.add_argument("--rdma-ports", type=words, default=("7100",), help="comma-separated (default: 7100)")
    group.add_argument("--transfer-protocol", type=words, default=("ipc", "rdma"), help="(default: ipc,rdma)")
    group.add_argument(
        "--tp-size", type=count, default=1, help="registered; 0 leaves the key out (default: %(default)s)"
    )
    group.add_argument(
        "--endpoints",
        type=words,
        default=(),
        help="registered as served beside pairs: paths, comma-separated (default: none)",
    )
    group.add_argument(
        "--kv-wait-secs",
        type=seconds,
        default=30.0,
        help="decode waits for KV, then 504 (default: %(default)s)",
    )


def parse_options(argv: list[str] | None = None) -> Options:
    """Read the command line; a mistake ends the process with status 2, as argparse does."""
    parser = build_parser()
    values = vars(parser.parse_args(argv))
    try:
        faults = Faults().with_changes(dict(parse_assignment(text) for text in values.pop("fault")))
    except FaultError as error:
        parser.error(f"--fault: {error}")
    return Options(**values, faults=faults)


def port(text: str) -> int:
    """0 to 65535."""
    number = count(text)
    if number > 65_535:
        raise argparse.ArgumentTypeError(f"{text} is not a port; accepted: 0 to 65535")
    return number


def count(text: str) -> int:
    """0 or more."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of 0 or more")
    return int(text)


def positive(text: str) -> int:
    """1 or more."""
    number = count(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too small; accepted: 1 or more")
    return number


def seconds(text: str) -> float:
    """0 or more."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds")
    return number


def words(text: str) -> tuple[str, ...]:
    """Comma-separated words."""
    return tuple(word for word in text.split(",") if word)
