"""Reads a router's log as the scripts of the Go router do, with the expressions that those use.

Written from the expressions and not from `rig.log_grammar`: a line that a script looks for must be found by it with
all its parts, or the script's figures are wrong without a word.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

URL = r"(?:https?://)?[A-Za-z0-9.-]+(?::\d+)?"
IPV4 = r"\d{1,3}(?:\.\d{1,3}){3}"

PREFIX = re.compile(r"^\[(INFO|ERROR|WARN|DEBUG)\] (\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) logger\.go:\d+:")
TAG = re.compile(r"\[(session_id|request_id|trace_id|req_id):([^\]]+)\]")
HTTP = re.compile(
    rf"\[(POST|GET|PUT|DELETE|HEAD|PATCH|OPTIONS)\]\s+(/\S*)\s+HTTP/\d\.\d\s+(\d{{3}})\s+(\S+)\s+({IPV4})"
)
LATENCY = re.compile(r"(?:\d+m)?\d+(?:\.\d+)?(?:s|ms|µs|ns)")
SELECT = re.compile(rf"select worker\s*(?:\((\w+)\))?:\s*({URL})")
SELECT_TOKENS = re.compile(rf"select worker \((\w+)\):\s*({URL}),\s*tokens:\s*(\d+)")
RELEASE = re.compile(rf"release worker\s*(?:\((\w+)\))?:\s*({URL})")
RELEASE_TOKENS = re.compile(rf"release (?:([a-zA-Z_]+)\s+)?tokens:\s*({URL}),\s*tokens:\s*(\d+)")
STRATEGY = re.compile(r"final strategy:\s*(\w+)")
SELECTED = re.compile(rf"selected=({URL})(?:,|\s|$)")
REASON = re.compile(r"reason:\s*(.+?)(?:,\s*loads=|\.?\s*ts_ms=|$)")
HIT_RATIOS = re.compile(r"hitRatios=(map\[.*?\])")
LOADS = re.compile(r"loads=(map\[.*?\])")
TOTAL_RUNNING = re.compile(r"total_running=(\d+)")
RUNNING = re.compile(rf"({URL}): running=(\d+)")
CACHE_HIT_RATE = re.compile(r"cache_hit_rate=([\d.]+)%\s*\(hits=(\d+)/total=(\d+)\)")
TS_MS = re.compile(r"ts_ms=(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d+)")
REMOVED = re.compile(rf"Removed unhealthy \w+ instance:\s*({URL})")
NOT_HEALTHY = re.compile(rf"({URL})\s+is not healthy")


class LossError(AssertionError):
    """A line that a script would miss, or read in part."""


@dataclass
class Lifecycle:
    """What the log says of one request."""

    accessed: bool = False
    parsed: bool = False
    completed: bool = False
    selected: list[str] = field(default_factory=list)
    released: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """The scripts' rule."""
        begun = self.accessed or self.parsed
        ended = self.completed or self.accessed
        return begun and ended and sorted(self.selected) == sorted(self.released)


@dataclass
class Strategy:
    """One `final strategy` line."""

    name: str
    selected: str | None
    reason: str | None
    loads: dict[str, int]
    hit_ratios: dict[str, int]


@dataclass
class UpstreamLog:
    """A whole log, taken apart. Raises `LossError` while it is read."""

    http: list[tuple[str, str, int, str]] = field(default_factory=list)
    """Method, path, status and client of each access line."""
    selects: list[tuple[str, str]] = field(default_factory=list)
    """Role and url."""
    releases: list[str] = field(default_factory=list)
    token_selects: list[tuple[str, int]] = field(default_factory=list)
    token_releases: list[tuple[str, int]] = field(default_factory=list)
    strategies: list[Strategy] = field(default_factory=list)
    stats: list[tuple[int, dict[str, int], int, int]] = field(default_factory=list)
    """Total running, running by url, session hits and total."""
    removed: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    not_healthy: list[str] = field(default_factory=list)
    requests: dict[str, Lifecycle] = field(default_factory=lambda: defaultdict(Lifecycle))
    """By request id, else session id."""

    @classmethod
    def read(cls, text: str) -> UpstreamLog:
        log = cls()
        for line in text.splitlines():
            prefix = PREFIX.match(line)
            if prefix is None:
                raise LossError(f"no prefix: {line!r}")
            log._take(line[prefix.end() :])
        return log

    def _take(self, rest: str) -> None:
        tags = dict(TAG.findall(rest))
        name = tags.get("request_id", tags.get("session_id"))
        request = self.requests[name] if name else Lifecycle()
        request.parsed |= "Parsing completed" in rest
        request.completed |= "Request completed" in rest
        if " HTTP/1." in rest:
            self._take_access(rest, request)
        if "select worker" in rest:
            role, url = find(SELECT, rest)
            self.selects.append((role, url))
            request.selected.append(url)
        if "select worker (prefill)" in rest:
            _, url, tokens = find(SELECT_TOKENS, rest)
            self.token_selects.append((url, int(tokens)))
        if "release worker" in rest:
            url = find(RELEASE, rest)[1]
            self.releases.append(url)
            request.released.append(url)
        if "tokens: http" in rest and "release" in rest:
            _, url, tokens = find(RELEASE_TOKENS, rest)
            self.token_releases.append((url, int(tokens)))
        if "final strategy" in rest:
            self.strategies.append(strategy(rest))
        if "[stats]" in rest:
            self._take_stats(rest)
        if "Removed" in rest:
            self.removed.append(find(REMOVED, rest)[0])
        if "is not healthy" in rest:
            self.not_healthy.append(find(NOT_HEALTHY, rest)[0])
        if "ts_ms" in rest:
            find(TS_MS, rest)

    def _take_access(self, rest: str, request: Lifecycle) -> None:
        method, path, status, latency, client = find(HTTP, rest)
        if not LATENCY.fullmatch(latency):
            raise LossError(f"latency {latency!r}")
        self.http.append((method, path, int(status), client))
        request.accessed = True
        if (method, path, status) == ("POST", "/register", "200"):
            self.recovered += [
                url
                for url in self.removed
                if re.search(rf"//{re.escape(client)}:", url) and url not in self.recovered
            ]

    def _take_stats(self, rest: str) -> None:
        (total,) = find(TOTAL_RUNNING, rest)
        running = {url: int(count) for url, count in RUNNING.findall(rest)}
        if len(running) != rest.count("running=") - 1:
            raise LossError(f"workers of {rest!r}")
        rate, hits, asked = find(CACHE_HIT_RATE, rest)
        if f"{100 * int(hits) / max(1, int(asked)):.2f}" != rate:
            raise LossError(f"rate of {rest!r}")
        self.stats.append((int(total), running, int(hits), int(asked)))


def find(pattern: re.Pattern[str], text: str) -> tuple[str, ...]:
    """The groups of the one match. Raises `LossError`."""
    match = pattern.search(text)
    if match is None:
        raise LossError(f"{pattern.pattern!r} is not in {text!r}")
    return match.groups()


def strategy(rest: str) -> Strategy:
    """One `final strategy` line, whose parts depend on its name."""
    (name,) = find(STRATEGY, rest)
    scored = name == "cache_aware_scoring"
    return Strategy(
        name=name,
        selected=find(SELECTED, rest)[0] if scored else None,
        reason=None if scored else find(REASON, rest)[0],
        loads=go_map(find(LOADS, rest)[0]) if "loads=" in rest else {},
        hit_ratios=go_map(find(HIT_RATIOS, rest)[0]) if scored else {},
    )


def go_map(text: str) -> dict[str, int]:
    """`map[http://a:1:2 http://b:2:5]`: the number after the last colon is the value."""
    pairs = [entry.rpartition(":") for entry in text[len("map[") : -1].split()]
    return {url: int(value) for url, _, value in pairs}
