"""The grammar of the log: every line that the router may write, as its users' scripts expect it.

Written from the format and not from the code that writes it, so the two can disagree. `check` reads a whole run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

URL = r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d+"
IP = r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*|-)"
ERR = r"\S.*"
TS = r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3}"
MAP = rf"map\[(?:{URL}:\d+(?: {URL}:\d+)*)?\]"
LIST = rf"\[(?:{URL}(?: {URL})*)?\]"
DURATION = r"(?:(?:\d+h)?\d+m)?\d+(?:\.\d+)?s|\d+(?:\.\d+)?(?:ns|µs|ms)"
CACHE = "cache-aware prefill:"
STRATEGY = rf"{CACHE} final strategy:"

LINE = re.compile(
    r"\[(?P<level>INFO|WARN|ERROR|DEBUG)\] (?P<date>\d{4}/\d{2}/\d{2}) (?P<time>\d{2}:\d{2}:\d{2}) logger\.go:\d+: "
    r"(?P<tags>(?:\[trace_id:[^\]]+\] )?(?:\[req_id:[^\]]+\] )?(?:\[session_id:[^\]]+\] )?(?:\[request_id:[^\]]+\] )?)"
    r"(?P<message>.*)"
)
JSON_TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d")
IDS = {"trace_id", "req_id", "session_id", "request_id"}
TAG = re.compile(r"\[(session_id|request_id|trace_id|req_id):([^\]]+)\]")

TEMPLATES: dict[str, tuple[str, str]] = {
    "starting": ("INFO", r"Starting server on :\d+"),
    "access": (
        "INFO",
        rf"\[(?P<method>[A-Z]+)\] (?P<path>/\S*) HTTP/1\.1 (?P<status>\d{{1,3}}) (?P<latency>{DURATION}) (?P<ip>{IP})",
    ),
    "parsed": ("INFO", r"Parsing completed; starting worker selection\."),
    "before prefill": ("INFO", rf"before SelectWorker prefill\. ts_ms={TS}"),
    "before decode": ("INFO", rf"before SelectWorker decode, after prefill\. ts_ms={TS}"),
    "after decode": ("INFO", rf"after SelectWorker decode, before return\. ts_ms={TS}"),
    "select": (
        "INFO",
        rf"select worker \((?:(?P<prefill>prefill)|(?P<role>decode|mixed))\): (?P<url>{URL}), "
        r"(?(prefill)tokens|count): (?P<count>\d+)",
    ),
    "release": ("INFO", rf"release worker: (?P<url>{URL}), count: (?P<count>\d+)"),
    "release tokens": ("INFO", rf"release prefill tokens: (?P<url>{URL}), tokens: (?P<count>\d+)"),
    "decode selection failed": (
        "INFO",
        rf"\[SelectWorkerPair\] decode selection failed, releasing prefill counter url={URL}",
    ),
    "prefill first chunk": ("INFO", rf"\[prefill\] first chunk received, release counter url={URL}"),
    "prefill done": ("INFO", rf"\[prefill\] non-stream prefill response done, release counter url={URL}"),
    "prefill fallback": (
        "INFO",
        rf"\[prefill\] release in defer \(fallback\) url={URL}, isStream=(?:true|false)",
    ),
    "prefill error path": (
        "INFO",
        rf"\[prefill\] release in CommonCompletions defer \(error path\) url={URL}",
    ),
    "completed": ("INFO", r"Request completed successfully\."),
    "completed with an error": ("INFO", r"Request completed with an error: status \d{3}\."),
    "scored": (
        "INFO",
        rf"{STRATEGY} cache_aware_scoring, selected=(?P<url>{URL}), "
        rf"loads=(?P<loads>{MAP}), hitRatios=(?P<hits>{MAP})\. ts_ms={TS}",
    ),
    "imbalanced": ("INFO", rf"{STRATEGY} process_tokens, reason: load imbalanced, loads={MAP}\. ts_ms={TS}"),
    "not tokenized": ("INFO", rf"{STRATEGY} process_tokens, reason: tokenize failed: {ERR}\. ts_ms={TS}"),
    "not initialized": ("INFO", rf"{STRATEGY} process_tokens, reason: strategy not initialized"),
    "stats": (
        "INFO",
        rf"\[stats\] total_running=(?P<running>\d+), workers: \[(?P<workers>(?:{URL}: running=\d+"
        rf"(?:, {URL}: running=\d+)*)?)\], cache_hit_rate=\d+\.\d\d% \(hits=\d+/total=\d+\)",
    ),
    "preserved": ("INFO", rf"unhealthy worker counter preserved \(inflight requests\): {URL}, count: \d+"),
    "tokens preserved": (
        "INFO",
        rf"unhealthy worker token counter preserved \(inflight requests\): {URL}, tokens: \d+",
    ),
    "cleaned": ("INFO", rf"cleanup unhealthy worker counter: {URL}"),
    "tokens cleaned": ("INFO", rf"cleanup unhealthy worker token counter: {URL}"),
    "counters removed": ("INFO", rf"removed counters for \d+ unhealthy workers: {LIST}"),
    "counters preserved": ("INFO", rf"preserved counters for \d+ workers with inflight requests: {LIST}"),
    "healthy": ("INFO", rf"Server {URL} is healthy"),
    "static registered": ("INFO", r"Successfully registered instance from index \d+"),
    "no static": ("INFO", r"No instances found in config file .+"),
    "unhealthy": ("WARN", rf"Server {URL} is not healthy"),
    "tokenizer failed": ("WARN", rf"{CACHE} tokenizer failed, fallback to char tokens: {ERR}"),
    "remote metrics failed": (
        "WARN",
        rf"GetRemoteMetrics failed for {URL}, falling back to local counter: {ERR}",
    ),
    "removed": ("ERROR", rf"Removed unhealthy (?:prefill|decode|mixed) instance: {URL}"),
    "register failed": ("ERROR", rf"Failed to register instance: {ERR}"),
    "register unread": ("ERROR", rf"Failed to read register request body: {ERR}"),
    "register invalid": ("ERROR", rf"Failed to unmarshal register request JSON: {ERR}"),
    "yaml unread": ("ERROR", rf"Failed to read YAML file .+?: {ERR}"),
    "yaml invalid": ("ERROR", rf"Failed to unmarshal YAML file .+?: {ERR}"),
    "static failed": ("ERROR", rf"Failed to register instance from index \d+: {ERR}"),
    "probe failed": ("ERROR", rf"failed to send request to {URL}\S* with error: {ERR}"),
    "body unread": ("ERROR", rf"Failed to read request body: {ERR}"),
    "body invalid": ("ERROR", rf"Failed to unmarshal request JSON: {ERR}"),
    "role not selected": ("ERROR", rf"Failed to select (?:mixed|prefill|decode) worker: {ERR}"),
    "worker not selected": ("ERROR", rf"Failed to select worker: {ERR}"),
    "disaggregate failed": ("ERROR", rf"Failed to build disaggregate_info: {ERR}"),
    "encode failed": ("ERROR", rf"Failed to encode modified request: {ERR}"),
    "leg failed": ("ERROR", rf"(?:Decode|Prefill|Backend) request failed for {URL}\S*: {ERR}"),
    "attempt failed": ("ERROR", rf"Request failed \(attempt \d+/\d+\): {ERR}"),
    "connect failed": ("ERROR", rf"Failed to connect to backend service: {ERR}"),
    "scanner error": ("ERROR", rf"scanner error: {ERR}"),
    "prefill read error": ("ERROR", rf"\[prefill\] (?:scanner|copy) error: {ERR}"),
    "panic": ("ERROR", rf"Panic recovered: {ERR}"),
    "healthy instances": ("DEBUG", rf"Healthy instances: prefill={LIST}, decode={LIST}, mixed={LIST}"),
    "tree evicted": ("DEBUG", r"radix eviction: removed=\d+ nodeCount=\d+"),
    "own access": ("WARN", rf"\[fd-router\] access: {ERR}"),
    "own client": ("INFO", rf"\[fd-router\] client: {ERR}"),
    "own cluster": ("INFO WARN ERROR", rf"\[fd-router\] cluster: {ERR}"),
    "own config": ("WARN ERROR", rf"\[fd-router\] config: {ERR}"),
    "own drain": ("INFO", rf"\[fd-router\] drain: {ERR}"),
    "own control": ("INFO WARN", rf"\[fd-router\] control: {ERR}"),
    "own eject": ("INFO WARN", rf"\[fd-router\] eject: {ERR}"),
    "own health": ("INFO WARN", rf"\[fd-router\] health: {ERR}"),
    "own limit": ("INFO WARN", rf"\[fd-router\] limit: {ERR}"),
    "own loop": ("ERROR", rf"\[fd-router\] loop: {ERR}"),
    "own over": ("INFO", rf"\[fd-router\] over: {ERR}; it lasted \d+\.\d s, and was met \d+ times"),
    "own pair": ("WARN", rf"\[fd-router\] pair: {ERR}"),
    "own process": ("INFO WARN ERROR", rf"\[fd-router\] process: {ERR}"),
    "own pressure": ("WARN", rf"\[fd-router\] pressure: {ERR}"),
    "own reload": ("INFO WARN ERROR", rf"\[fd-router\] reload: {ERR}"),
    "own register": ("INFO WARN", rf"\[fd-router\] register: {ERR}"),
    "own record": ("WARN", r"\[fd-router\] record: \d+ lines of the recording are lost: .+"),
    "own trace": ("WARN", rf"\[fd-router\] trace: spans are lost: {ERR}"),
    "own tls": ("INFO WARN", r"\[fd-router\] tls: .*"),
    "own state": ("INFO WARN ERROR", rf"\[fd-router\] state: {ERR}"),
    "own retry": ("WARN", rf"\[fd-router\] retry: {ERR}"),
}
"""Name to (levels, message); the most specific of those that match stands first."""

_COMPILED = [
    (name, levels.split(), re.compile(pattern, re.DOTALL)) for name, (levels, pattern) in TEMPLATES.items()
]


class GrammarError(AssertionError):
    """A line that the router must not write."""


@dataclass(frozen=True)
class Line:
    """A line taken apart; `kind` is its template's name and `parts` that template's named groups."""

    level: str
    tags: dict[str, str]
    message: str
    kind: str
    parts: dict[str, str | None] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What JSON has behind the message."""


def parse(text: str) -> Line:
    """A line of either format. Raises `GrammarError`."""
    if text.startswith("{"):
        members = json.loads(text)
        names = list(members)
        before = names.index("message")
        if names[:2] != ["level", "ts"] or not JSON_TS.fullmatch(members["ts"]):
            raise GrammarError(f"level and time do not come first: {text!r}")
        tags = {name: members[name] for name in names[2:before]}
        if not set(tags) <= IDS:
            raise GrammarError(f"no ids: {text!r}")
        facts = {name: members[name] for name in names[before + 1 :]}
        return replace(_known(members["level"], tags, members["message"]), facts=facts)
    match = LINE.fullmatch(text)
    if match is None:
        raise GrammarError(f"not a log line: {text!r}")
    return _known(match["level"], dict(TAG.findall(match["tags"])), match["message"])


def _known(level: str, tags: dict[str, str], message: str) -> Line:
    for name, levels, pattern in _COMPILED:
        match = pattern.fullmatch(message)
        if match is not None:
            if level not in levels:
                raise GrammarError(f"{name} at level {level}: {message!r}")
            return Line(level, tags, message, name, match.groupdict())
    raise GrammarError(f"unknown message: {message!r}")


@dataclass
class Report:
    """What a whole run's log says; `problems` is empty when all is well."""

    lines: list[Line] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """How many lines of a kind there are."""
        return sum(line.kind == kind for line in self.lines)


def check(text: str) -> Report:
    """Read the log of a run that has come to rest: no unknown line, every select released, last counts 0."""
    report = Report()
    for line in text.splitlines():
        try:
            report.lines.append(parse(line))
        except GrammarError as error:
            report.problems.append(str(error))
    if text and not text.endswith("\n"):
        report.problems.append("the last line has no end")
    report.problems += _balance(report.lines)
    return report


def _balance(lines: Iterable[Line]) -> list[str]:
    selects: Counter[str] = Counter()
    releases: Counter[str] = Counter()
    token_selects: Counter[str] = Counter()
    token_releases: Counter[str] = Counter()
    last: dict[tuple[str, str], str] = {}
    for line in lines:
        url = line.parts.get("url") or ""
        if line.kind == "select":
            selects[url] += 1
            token_selects[url] += line.parts["role"] != "decode"
        elif line.kind == "release":
            releases[url] += 1
            last[url, "running"] = line.parts["count"] or ""
        elif line.kind == "release tokens":
            token_releases[url] += 1
            last[url, "tokens"] = line.parts["count"] or ""
    problems = [f"{url}: last {what} is {count}" for (url, what), count in last.items() if count != "0"]
    for url in sorted(selects | releases):
        if selects[url] != releases[url]:
            problems.append(f"{url}: selected {selects[url]} times, released {releases[url]} times")
    for url in sorted(token_selects | token_releases):
        if token_selects[url] != token_releases[url]:
            problems.append(f"{url}: {token_selects[url]} prompts booked, {token_releases[url]} given back")
    return problems
