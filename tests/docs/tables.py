"""The tables of the pages that are made from the code. Run as a program, this file writes them into the pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pages import PAGES, fill

from fd_router import config, errors
from fd_router.cli.flags import MEANINGS, Options
from fd_router.edge.served import PAIRED, READINGS, SERVED
from fd_router.fleet import ejection, orders, outcome, states
from fd_router.fleet.control_calls import CALLS
from fd_router.observe import metrics
from fd_router.observe.logs.messages import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

STATUSES = {"registration": "400, 403, 404, 408, 413, 415, 503"}
"""What the client of this error sees, as its class cannot say it with one number."""


def tables() -> dict[str, str]:
    """Every table by the name that stands in the page."""
    return {
        "flags": flags_table(),
        "errors": errors_table(),
        "topics": markdown(
            ["Topic", "Level and meaning"], ([f"`{key}`", text] for key, text in TOPICS.items())
        ),
        "served": served_table(),
        "calls": markdown(
            ["Method", "Path", "Engines", "Takes credit for prefixes away"],
            (
                [call.method, f"`{call.path}`", call.meaning, "yes" if call.empties else "no"]
                for call in CALLS
            ),
        ),
        "metrics": metrics.markdown_table(),
        "outcomes": documented_table(outcome),
        "conduct": documented_table(ejection),
        "states": documented_table(states),
        "orders": documented_table(orders),
        **{f"config {section}": config.markdown_table(section) for section in config.SECTIONS},
    }


def served_table() -> str:
    rows = (
        [
            "POST",
            f"`{path}`",
            READINGS[reading],
            "a pair" if reading in PAIRED else "a worker that names it",
        ]
        for path, reading in SERVED.items()
    )
    return markdown(["Method", "Path", "Text is read from", "In prefill/decode mode served by"], rows)


def flags_table() -> str:
    rows = []
    for name, meaning in MEANINGS.items():
        dashes = "-" if len(name) == 1 else "--"
        value = " VALUE" if isinstance(getattr(Options(), name, None), str) else ""
        rows.append([f"`{dashes}{name}{value}`", meaning])
    return markdown(["Flag", "Meaning"], rows)


def errors_table() -> str:
    rows = []
    for error in router_errors():
        status = STATUSES.get(error.code, str(error.status))
        meaning = (error.__doc__ or "").splitlines()[0]
        rows.append([f"`{error.code}`", status, error.side, "yes" if error.retry_safe else "no", meaning])
    return markdown(["Code", "Status", "Whose fault", "Safe to retry", "Meaning"], rows)


def router_errors() -> list[type[errors.RouterError]]:
    """The errors of requests, in the order of their definition. A configuration error ends the start, not a request."""
    found = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, errors.RouterError)
    ]
    # Of two with one code the first says what it means.
    by_code: dict[str, type[errors.RouterError]] = {}
    for each in found:
        if "code" in vars(each) and each not in (errors.RouterError, errors.ConfigError):
            by_code.setdefault(each.code, each)
    return list(by_code.values())


def documented_table(module: ModuleType) -> str:
    """The table in a module's documentation, its head with capitals."""
    rows = [line for line in (module.__doc__ or "").splitlines() if line.startswith("|")]
    head = " | ".join(cell.strip().capitalize() for cell in rows[0].strip("|").split(" | "))
    return "\n".join([f"| {head} |", *rows[1:]]) + "\n"


def markdown(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |\n" for cells in (head, *rows)]
    return "".join([lines[0], f"|{'---|' * len(head)}\n", *lines[1:]])


def main() -> None:
    made = tables()
    for page in PAGES:
        page.write_text(fill(page.read_text(), made))


if __name__ == "__main__":
    main()
