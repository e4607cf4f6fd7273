"""What can be made to go wrong: one schema for `--fault key=value` and for `POST /mock/fault`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class FaultError(ValueError):
    """A fault that does not exist, or a value that it does not take."""


def knob(default: Any, meaning: str, accepted: tuple[str, ...] = ()) -> Any:
    """A field with its meaning and, for words, those accepted."""
    return field(default=default, metadata={"meaning": meaning, "accepted": accepted})


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults in force. The defaults are a sound engine."""

    health_status: int = knob(200, "status of /health")
    health_delay: float = knob(0.0, "seconds before /health answers")
    health_hang: bool = knob(False, "/health never answers")
    connect: str = knob(
        "serve",
        "what becomes of a new connection: refused, accepted and reset, accepted and never read",
        ("serve", "refuse", "reset", "hang"),
    )
    cut: str = knob(
        "never",
        "where an answer breaks off; first-token is after the first frame, the mid ones after cut_chunks "
        "frames, mid-frame within a frame, mid-char within a character",
        ("never", "before-head", "after-head", "first-token", "mid-stream", "mid-frame", "mid-char"),
    )
    cut_how: str = knob("close", "how it breaks off", ("close", "reset", "stall"))
    cut_chunks: int = knob(2, "whole frames sent before a mid-stream, mid-frame or mid-char cut")
    status: int = knob(0, "answer inference with this status; 0: none")
    status_body: str = knob("", "body of that answer; empty: a JSON error")
    status_headers: Mapping[str, str] = field(
        default_factory=dict, metadata={"meaning": "headers of that answer, a JSON object", "accepted": ()}
    )
    length_off: int = knob(0, "added to the Content-Length of answers that are not streamed")
    kv: str = knob("send", "what prefill does with the KV", ("send", "drop", "corrupt"))
    token_bytes: int = knob(0, "pad the text of each token to this many bytes: big answers, long lines")
    trickle_bytes: int = knob(0, "send bodies in pieces of this size; 0: whole")
    trickle_secs: float = knob(0.0, "pause between those pieces")
    idle_secs: float = knob(0.0, "close a kept connection after this long without a request; 0: never")
    times: int = knob(0, "cut, status and length_off hit the next N inference requests only; 0: all")

    def with_changes(self, changes: Mapping[str, object]) -> Faults:
        """A copy with some faults set. Raises `FaultError`."""
        known = {entry.name: entry for entry in fields(self)}
        for name, value in changes.items():
            if name not in known:
                raise FaultError(f"no fault {name!r}; known: {', '.join(known)}")
            accepted = known[name].metadata["accepted"]
            if accepted and value not in accepted:
                raise FaultError(f"{name} is {value!r}; accepted: {', '.join(accepted)}")
            wanted = type(getattr(SOUND, name))
            if type(value) is not wanted and not (wanted is float and type(value) is int):
                raise FaultError(f"{name} is {value!r}; accepted: {wanted.__name__}")
        checked: dict[str, Any] = dict(changes)
        return replace(self, **checked)

    def healed(self) -> Faults:
        """A copy without what `times` limits."""
        return replace(self, cut="never", status=0, length_off=0, times=0)


SOUND = Faults()


class FaultSwitch:
    """The faults in force now."""

    def __init__(self, faults: Faults) -> None:
        self.now = faults

    def take(self) -> Faults:
        """The faults for one inference request; counts down `times`."""
        faults = self.now
        if faults.times == 1:
            self.now = faults.healed()
        elif faults.times > 1:
            self.now = replace(faults, times=faults.times - 1)
        return faults


def parse_assignment(text: str) -> tuple[str, object]:
    """`key=value` of the command line; the value is JSON where it parses as JSON, else a word."""
    name, equals, value = text.partition("=")
    if not equals:
        raise FaultError(f"{text!r} is not key=value")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def describe() -> str:
    """The table of faults for `--help`."""
    lines = []
    for entry in fields(Faults):
        accepted = entry.metadata["accepted"]
        choice = f" ({'|'.join(accepted)})" if accepted else ""
        lines.append(f"  {entry.name}{choice}\n      {entry.metadata['meaning']}")
    return "\n".join(lines)
