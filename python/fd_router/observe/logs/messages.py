"""The text of the log lines that Python words: operators grep it and scripts parse it.

Worded elsewhere are the `[stats]` line (`observe/stats_line.py`) and, in Rust, the lines of the hot path: of a
decision, its lease and the end of its answer (`rust/core/src/policy/explain.rs`, `rust/core/src/scheduler/lines.rs`)
and of an HTTP request (`rust/journal/src/access.rs`).

Most lines are those of upstream (the Go router), letter for letter. Lines of our own begin with `[fd-router] ` and a
topic out of `TOPICS`, so that neither a script nor an eye takes one for the other. No line ever holds a prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.errors import SHOWN_MODEL, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fd_router.types import Role

SHOWN_MODELS = 8
"""Names of models that a line shows."""

TOPICS = {
    "access": "WARN: a listener that others reach asks for no key",
    "client": "INFO: a client left before it was answered in full",
    "cluster": "INFO: other replicas are reached; WARN: they are not; ERROR: a worker of another one is not let in",
    "config": "WARN, or ERROR for an unknown policy: a setting that is accepted and does not do what it says",
    "control": "INFO: a control call was passed on to every worker; WARN: not every one did as it was told",
    "drain": "INFO: an operator takes a worker out of choosing or lets it back in, or it has nothing to do any more",
    "eject": "WARN: a worker's requests fail, and it is taken out for a while; INFO: it serves again",
    "health": "INFO: a worker that was removed answers its probes again, or must wait; WARN: it is forgotten for good",
    "loop": "ERROR: a request came back to the router that sent it",
    "limit": "WARN: a request or a connection was turned away because a limit of the router is reached; INFO: at start",
    "over": "INFO: a condition that was told of has ended, how long it lasted and how often it was met",
    "pair": "WARN: a leg failed, and another pair is chosen",
    "process": "ERROR: the process that serves died, another starts; WARN: requests outlast the end; INFO: a signal",
    "pressure": "WARN: a worker refuses requests for load, and is passed over for a while",
    "record": "WARN: lines of the recording of decisions are lost",
    "reload": "INFO: the configuration was read again; WARN: a new value waits for a restart; ERROR: it was refused",
    "register": "INFO: a worker came, changed its role, address or models, or was taken out; WARN: one is waited for",
    "retry": "WARN: a request goes to another worker",
    "trace": "WARN: spans of requests cannot be handed over",
    "tls": "INFO: the listeners' certificate was replaced; WARN: its files cannot be used",
    "state": "INFO: a snapshot is used, an engine was started anew; WARN: a worker of before a restart is not well,"
    " a snapshot is of no use; ERROR: what is kept cannot be read or written",
}
"""What may follow `[fd-router] `, with its levels and meaning."""

PARSED = "Parsing completed; starting worker selection."
LOOP = "[fd-router] loop: a request came back to this router, which is registered at itself"
BEFORE_PREFILL = "before SelectWorker prefill"
BEFORE_DECODE = "before SelectWorker decode, after prefill"
AFTER_DECODE = "after SelectWorker decode, before return"
"""In PD mode, each with the time in milliseconds (`Log.stamped`)."""

# Start and registration


def starting(port: int | str) -> str:
    """INFO, at start."""
    return f"Starting server on :{port}"


def register_failed(error: object) -> str:
    """ERROR."""
    return f"Failed to register instance: {error}"


def register_body_unread(error: object) -> str:
    """ERROR."""
    return f"Failed to read register request body: {error}"


def register_body_invalid(error: object) -> str:
    """ERROR."""
    return f"Failed to unmarshal register request JSON: {error}"


def yaml_unread(path: str, error: object) -> str:
    """ERROR: the file of static instances."""
    return f"Failed to read YAML file {path}: {error}"


def yaml_invalid(path: str, error: object) -> str:
    """ERROR: the file of static instances."""
    return f"Failed to unmarshal YAML file {path}: {error}"


def no_static_instances(path: str) -> str:
    """INFO."""
    return f"No instances found in config file {path}"


def static_registered(index: int) -> str:
    """INFO."""
    return f"Successfully registered instance from index {index}"


def static_failed(index: int, error: object) -> str:
    """ERROR."""
    return f"Failed to register instance from index {index}: {error}"


# A request: edge


def body_unread(error: object) -> str:
    """ERROR."""
    return f"Failed to read request body: {error}"


def body_invalid(error: object) -> str:
    """ERROR."""
    return f"Failed to unmarshal request JSON: {error}"


def connect_failed(error: object) -> str:
    """ERROR: the request got its 502."""
    return f"Failed to connect to backend service: {error}"


def panic(error: object) -> str:
    """ERROR: a defect of the router; where it was in a request, that got a 500."""
    return f"Panic recovered: {str(error) or type(error).__name__}"


# A request: selection


def decode_selection_failed(prefill_url: str) -> str:
    """INFO: the prefill worker that was booked for nothing."""
    return f"[SelectWorkerPair] decode selection failed, releasing prefill counter url={prefill_url}"


def tokenizer_failed(error: object) -> str:
    """WARN."""
    return f"cache-aware prefill: tokenizer failed, fallback to char tokens: {error}"


def remote_metrics_failed(url: str, error: object) -> str:
    """WARN."""
    return f"GetRemoteMetrics failed for {url}, falling back to local counter: {error}"


def models_listed(url: str, names: Sequence[str]) -> str:
    """INFO."""
    shown = ", ".join(printable(name[:SHOWN_MODEL]) for name in names[:SHOWN_MODELS])
    more = f" and {len(names) - SHOWN_MODELS} more" if len(names) > SHOWN_MODELS else ""
    return f"[fd-router] register: {url} serves {shown}{more}"


def models_unknown(url: str, why: str) -> str:
    """INFO."""
    return f"[fd-router] register: {url} does not list its models and takes any: {why}"


def selection_failed(role: Role, error: object) -> str:
    """ERROR; `worker_not_selected` follows."""
    return f"Failed to select {role} worker: {error}"


def worker_not_selected(error: object) -> str:
    """ERROR, mixed mode."""
    return f"Failed to select worker: {error}"


def disaggregate_failed(error: object) -> str:
    """ERROR, PD mode."""
    return f"Failed to build disaggregate_info: {error}"


# A request: upstream


def attempt_failed(attempt: int, attempts: int, error: object) -> str:
    """ERROR, mixed mode."""
    return f"Request failed (attempt {attempt}/{attempts}): {error}"


def backend_failed(url: str, error: object) -> str:
    """ERROR, mixed mode."""
    return f"Backend request failed for {url}: {error}"


def scanner_error(error: object) -> str:
    """ERROR: the worker failed in the middle of its answer."""
    return f"scanner error: {error}"


def prefill_failed(url: str, error: object) -> str:
    """ERROR, PD mode."""
    return f"Prefill request failed for {url}: {error}"


def decode_failed(url: str, error: object) -> str:
    """ERROR, PD mode."""
    return f"Decode request failed for {url}: {error}"


def prefill_first_chunk(url: str) -> str:
    """INFO: a streamed answer gives the prefill worker back at its first chunk."""
    return f"[prefill] first chunk received, release counter url={url}"


def prefill_done(url: str) -> str:
    """INFO: an answer that is not streamed gives the prefill worker back at its end."""
    return f"[prefill] non-stream prefill response done, release counter url={url}"


def prefill_fallback(url: str, stream: bool) -> str:
    """INFO: the request ended before the prefill answer did."""
    return f"[prefill] release in defer (fallback) url={url}, isStream={'true' if stream else 'false'}"


def prefill_error_path(url: str) -> str:
    """INFO: the request failed before the prefill answer was read."""
    return f"[prefill] release in CommonCompletions defer (error path) url={url}"


def prefill_copy_error(error: object) -> str:
    """ERROR; upstream puts the whole prompt after it."""
    return f"[prefill] copy error: {error}"


# Health and counters


def server_healthy(url: str) -> str:
    """INFO, `/health_generate` only."""
    return f"Server {url} is healthy"


def server_unhealthy(url: str) -> str:
    """WARN, `/health_generate` only."""
    return f"Server {url} is not healthy"


def removed_unhealthy(role: Role, url: str) -> str:
    """ERROR."""
    return f"Removed unhealthy {role} instance: {url}"


def probe_failed(url: str, error: object) -> str:
    """ERROR; `url` with the health endpoint. An answer other than 200 logs nothing."""
    return f"failed to send request to {url} with error: {error}"


def healthy_instances(prefill: Iterable[str], decode: Iterable[str], mixed: Iterable[str]) -> str:
    """DEBUG, each round of probes."""
    return f"Healthy instances: prefill={go_list(prefill)}, decode={go_list(decode)}, mixed={go_list(mixed)}"


def counter_preserved(url: str, count: int) -> str:
    """INFO: a removed worker still has requests."""
    return f"unhealthy worker counter preserved (inflight requests): {url}, count: {count}"


def token_counter_preserved(url: str, tokens: int) -> str:
    """INFO: a removed worker still has prompts to prefill."""
    return f"unhealthy worker token counter preserved (inflight requests): {url}, tokens: {tokens}"


def counter_cleaned(url: str) -> str:
    """INFO: a removed worker had nothing to do."""
    return f"cleanup unhealthy worker counter: {url}"


def token_counter_cleaned(url: str) -> str:
    """INFO: a removed worker had no prompts to prefill."""
    return f"cleanup unhealthy worker token counter: {url}"


def counters_removed(urls: Sequence[str]) -> str:
    """INFO, periodic."""
    return f"removed counters for {len(urls)} unhealthy workers: {go_list(urls)}"


def counters_preserved(urls: Sequence[str]) -> str:
    """INFO, periodic."""
    return f"preserved counters for {len(urls)} workers with inflight requests: {go_list(urls)}"


def tree_evicted(blocks: int, nodes: int) -> str:
    """DEBUG: blocks dropped for age, nodes left."""
    return f"radix eviction: removed={blocks} nodeCount={nodes}"


def go_list(items: Iterable[str]) -> str:
    """A list as Go prints it: `[a b]`."""
    return f"[{' '.join(items)}]"


# Lines of our own


def client_left(what: str) -> str:
    """INFO; `what` says during what."""
    return f"[fd-router] client: {what}"


def retrying(failed_url: str, error: object) -> str:
    """WARN, mixed mode."""
    return f"[fd-router] retry: trying another worker, {failed_url} failed: {error}"


def pair_again(role: str, url: str, error: object) -> str:
    """WARN, PD mode."""
    return f"[fd-router] pair: choosing another, {role} {url} failed: {error}"


def came_back(role: Role, url: str) -> str:
    """INFO."""
    return f"[fd-router] health: {role} {url} answers again and is back in rotation"


def held(role: Role, url: str, seconds: float) -> str:
    """INFO: a registration of a worker that was lost too often."""
    return f"[fd-router] health: {role} {url} registered again, but waits {seconds:.1f} s more for coming and going"


def ejected(url: str, seconds: float, faults: int, why: str) -> str:
    """WARN."""
    return f"[fd-router] eject: {url} is out for {seconds:.1f} s, {faults} requests in a row failed, the last by {why}"


def trial_passed(url: str) -> str:
    """INFO."""
    return f"[fd-router] eject: {url} serves again and is back"


def passed_over(url: str, seconds: float, status: int) -> str:
    """WARN."""
    return f"[fd-router] pressure: {url} answered {status} and is passed over for {seconds:.1f} s"


def written_off(peer: str, seconds: float) -> str:
    """WARN."""
    return (
        f"[fd-router] limit: client {peer} took no byte for {seconds:g} s (server.write-timeout-secs), closed"
    )


def forgotten(role: Role, url: str, seconds: float) -> str:
    """WARN."""
    return f"[fd-router] health: {role} {url} forgotten, it did not come back within {seconds:g} s"


def displaced(role: Role, url: str) -> str:
    """WARN."""
    return f"[fd-router] health: {role} {url} forgotten, a new worker takes its place (manager.max-workers)"


def config_notice(text: str) -> str:
    """WARN, or ERROR for an unknown policy; `text` begins with the key path."""
    return f"[fd-router] config: {text}"


def reloaded(keys: Sequence[str]) -> str:
    """INFO; the keys of which a new value is in force."""
    what = f"changed: {', '.join(keys)}" if keys else "nothing changed"
    return f"[fd-router] reload: the configuration was read again, {what}"


def restart_needed(keys: Sequence[str]) -> str:
    """WARN."""
    return f"[fd-router] reload: not taken over without a restart: {', '.join(keys)}"


def reload_refused(error: object) -> str:
    """ERROR."""
    return f"[fd-router] reload: refused, the configuration in force stays: {error}"


def over(what: str, seconds: float, times: int) -> str:
    """INFO; `what` names a condition that lasted."""
    return f"[fd-router] over: {what}; it lasted {seconds:.1f} s, and was met {times} times"


def exposed(what: str) -> str:
    """WARN; `what` names the listener and the setting."""
    return f"[fd-router] access: {what}"


def added(role: Role, url: str) -> str:
    """INFO."""
    return f"[fd-router] register: {role} {url} added"


def role_changed(url: str, old: Role, new: Role) -> str:
    """INFO."""
    return f"[fd-router] register: {url} changed its role from {old} to {new}"


def awaited(role: Role, url: str) -> str:
    """WARN."""
    return (
        f"[fd-router] register: {role} {url} of the register file is not well yet, and is probed until it is"
    )


def dropped(role: Role, url: str) -> str:
    """INFO."""
    return f"[fd-router] register: {role} {url} taken out, the register file does not name it any more"


def moved(name: str, before: str, now: str) -> str:
    """INFO."""
    return f"[fd-router] register: {name} is at {now} now, not at {before}"


def ordered(url: str, order: str, running: int) -> str:
    """INFO; `order` is drain or eject."""
    return f"[fd-router] drain: {url} gets no new work, {order} was ordered; {running} requests under way"


def drained(role: Role, url: str) -> str:
    """INFO."""
    return f"[fd-router] drain: {role} {url} is drained, nothing is under way"


def order_ended(url: str, order: str) -> str:
    """INFO; `order` is drain or eject."""
    return f"[fd-router] drain: {url} may have work again, {order} is over"


def unregistered(role: Role, url: str) -> str:
    """INFO."""
    return f"[fd-router] register: {role} {url} taken out on request"


def slow_heads(count: int, seconds: float) -> str:
    """WARN."""
    return (
        f"[fd-router] limit: {count} client connections without a whole head within {seconds:g} s"
        " (server.header-timeout-secs), closed"
    )


def connections_full(count: int, what: str, closed: int) -> str:
    """WARN; `what` names them and their limit, `closed` is since the last one."""
    ended = f"{closed} idle ones closed to make room" if closed else "none of them idle; others wait"
    return f"[fd-router] limit: {count} {what}, {ended}"


def handshakes(files: int) -> str:
    """ERROR; the process ends with it."""
    return (
        f"[fd-router] process: {files} descriptors (ulimit -n) are taken, by unfinished TLS handshakes: "
        "the worker process ends, and another one starts"
    )


def certificates_replaced() -> str:
    """INFO."""
    return "[fd-router] tls: the listeners' certificate was replaced"


def certificates_refused(problem: object) -> str:
    """WARN."""
    return f"[fd-router] tls: the listeners keep their certificate: {problem}"


def limit_reached(what: str) -> str:
    """WARN; `what` names the limit and its setting."""
    return f"[fd-router] limit: {what}"


def called(method: str, path: str, workers: int, failed: int) -> str:
    """INFO, WARN where some failed."""
    return f"[fd-router] control: {method} {path} passed on to {workers} workers, {failed} of them failed"


def recording_lost(lines: int, error: str | None) -> str:
    """WARN: `lines` since the last such line; `error` is the disk's, None where the queue was full."""
    return f"[fd-router] record: {lines} lines of the recording are lost: {error or 'they come too fast'}"


def spans_lost(error: object) -> str:
    """WARN."""
    return f"[fd-router] trace: spans are lost: {error}"


def worker_died(pid: int, cause: str, pause: float) -> str:
    """ERROR, written by the supervisor."""
    when = f"in {pause:g} s" if pause else "at once"
    return f"[fd-router] process: worker process {pid} {cause}, another one starts {when}"


def worker_killed(pid: int) -> str:
    """ERROR, written by the supervisor."""
    return f"[fd-router] process: worker process {pid} did not end in time and was killed"


def signal_ignored(name: str) -> str:
    """INFO, written by the supervisor."""
    return f"[fd-router] process: {name} has no effect"


def log_reopened() -> str:
    """INFO."""
    return "[fd-router] process: log files are opened anew (SIGUSR1)"


def draining(requests: int) -> str:
    """INFO."""
    return f"[fd-router] process: asked to end, {requests} requests under way"


def cut(requests: int) -> str:
    """WARN."""
    return f"[fd-router] process: {requests} requests are ended, as the router ends now"


def expected(role: Role, url: str) -> str:
    """WARN: after a restart."""
    return (
        f"[fd-router] state: {role} {url} was registered before, is not healthy, and is probed for its return"
    )


def state_unread(error: object) -> str:
    """ERROR, at start."""
    return f"[fd-router] state: registrations that were kept cannot be read: {error}"


def state_unwritten(error: object) -> str:
    """ERROR."""
    return f"[fd-router] state: registrations cannot be kept: {error}"


def snapshot_used(blocks: int, workers: int) -> str:
    """INFO, at start."""
    return f"[fd-router] state: goes on from a snapshot of {blocks} blocks and {workers} workers"


def snapshot_unused(error: object) -> str:
    """WARN, at start."""
    return f"[fd-router] state: the snapshot is not used: {error}"


def snapshot_failed(error: object) -> str:
    """ERROR."""
    return f"[fd-router] state: no snapshot can be written: {error}"


def engine_restarted(url: str) -> str:
    """INFO, by what its metrics say."""
    return f"[fd-router] state: the engine of {url} was started anew, so its cache is empty"


def cluster_shared(name: str, replica: str, server: object) -> str:
    """INFO, as often as the router comes back to it."""
    return f"[fd-router] cluster: {name} is shared through {server}, as {replica}"


def cluster_alone(server: object, why: object) -> str:
    """WARN, once until it is shared again."""
    return f"[fd-router] cluster: alone, on what is known here; {server}: {why}"


def cluster_refused(url: str, error: object) -> str:
    """ERROR, once for each worker of another replica and reason."""
    return f"[fd-router] cluster: {printable(url[:128])} is not let in: {error}"


def descriptors(files: int | None, taken: int, wanted: int) -> str:
    """INFO, at start; WARN where they do not allow what is wanted."""
    found = "any number of" if files is None else str(files)
    short = f", fewer than server.max-connections, {wanted}" if taken < wanted else ""
    return f"[fd-router] limit: {found} descriptors (ulimit -n) allow {taken} client connections{short}"
