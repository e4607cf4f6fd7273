"""Every metric family of `/metrics`: the one table that code, documentation and dashboard are held against.

The first five are those of upstream (the Go router), with its names, help texts and labels. Those of our own begin with
`fd_router_`; `process_*` come from the client library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fd_router._core import UPSTREAM_KINDS

Kind = Literal["counter", "gauge", "histogram", "summary"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric family. `values` are the known values of its last label: each is 0 from the start, where a `worker` is
    another label for the worker `""`, which stands for nobody in particular."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    unit: str
    help: str
    values: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    """Upper bounds of a histogram's buckets, in its unit."""


FIRST_BYTE_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
TOTAL_BOUNDS = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
    600.0,
    1800.0,
)

INFERENCE_REQUESTS = Family(
    "inference_requests_total",
    "counter",
    ("mixed_worker", "prefill_worker", "decode_worker", "status_code"),
    "requests",
    "Total number of inference requests",
)
CACHE_HITS = Family(
    "router_cache_hit_total",
    "counter",
    (),
    "requests",
    "Cumulative number of cache hits (same session_id routed to same prefill worker)",
)
CACHE_REQUESTS = Family(
    "router_cache_request_total",
    "counter",
    (),
    "requests",
    "Cumulative number of cache-aware scheduling requests with session_id",
)
HTTP_REQUESTS = Family(
    "http_requests_total",
    "counter",
    ("method", "endpoint", "status_code"),
    "requests",
    "Total number of HTTP requests",
)
HTTP_DURATION = Family(
    "http_request_duration_seconds",
    "summary",
    ("method", "endpoint"),
    "seconds",
    "Summary of the response latency (seconds) of HTTP requests",
)

WORKERS = Family("fd_router_workers", "gauge", ("role",), "workers", "Workers that may be chosen")
WORKER_UP = Family(
    "fd_router_worker_up",
    "gauge",
    ("worker", "role"),
    "",
    "Whether a known worker answers its probes and is not ejected for its failures: 1 or 0, whatever was ordered of it",
)
WORKER_RUNNING = Family(
    "fd_router_worker_running",
    "gauge",
    ("worker", "role"),
    "requests",
    "Requests in flight on a worker",
)
WORKER_TOKENS = Family(
    "fd_router_worker_tokens",
    "gauge",
    ("worker", "role"),
    "tokens",
    "Estimated prompt tokens still to be prefilled on a worker",
)
DECISIONS = Family(
    "fd_router_decisions_total",
    "counter",
    ("policy", "outcome"),
    "decisions",
    "Selections by the policy that decided in the end; outcome chosen, fallback or no_worker",
)
HIT_RATIO = Family(
    "fd_router_hit_ratio",
    "histogram",
    (),
    "ratio",
    "Predicted share of a prompt's blocks that the chosen worker has cached",
)
PROMPT_TOKENS = Family(
    "fd_router_prompt_tokens_total",
    "counter",
    (),
    "tokens",
    "Prompt tokens of the answers that say how many of them were cached",
)
PREDICTED_TOKENS = Family(
    "fd_router_predicted_cached_tokens_total",
    "counter",
    (),
    "tokens",
    "Of these prompt tokens, those that were predicted to be cached",
)
CACHED_TOKENS = Family(
    "fd_router_cached_tokens_total",
    "counter",
    (),
    "tokens",
    "Of these prompt tokens, those that the engines had cached",
)
OVERPREDICTED_TOKENS = Family(
    "fd_router_overpredicted_tokens_total",
    "counter",
    (),
    "tokens",
    "Of these prompt tokens, those that were predicted to be cached and were not",
)
WORKER_CACHE = Family(
    "fd_router_worker_cache_tokens",
    "gauge",
    ("worker",),
    "tokens",
    "Tokens that a worker's prefix cache is thought to hold, as told or learned; only where that is known",
)
TREE_BLOCKS = Family("fd_router_tree_blocks", "gauge", (), "blocks", "Blocks in the prefix tree")
TREE_NODES = Family("fd_router_tree_nodes", "gauge", (), "nodes", "Nodes in the prefix tree")
TREE_BYTES = Family("fd_router_tree_bytes", "gauge", (), "bytes", "Memory held by the prefix tree")
TREE_EVICTED = Family(
    "fd_router_tree_evicted_blocks_total",
    "counter",
    (),
    "blocks",
    "Blocks dropped from the prefix tree for space",
)
TREE_EXPIRED = Family(
    "fd_router_tree_expired_blocks_total",
    "counter",
    (),
    "blocks",
    "Blocks dropped from the prefix tree for age",
)
TTFT = Family(
    "fd_router_ttft_seconds",
    "histogram",
    ("worker", "status_class"),
    "seconds",
    "Time from an inference request's arrival to the first byte of its answer's body, by who answered (decode in PD "
    "mode) and how: 2xx, 3xx, 4xx or 5xx",
    bounds=FIRST_BYTE_BOUNDS,
)
PREFILL = Family(
    "fd_router_prefill_seconds",
    "histogram",
    ("worker",),
    "seconds",
    "PD mode: time from sending a request to a prefill worker to its first chunk, or to the end of a whole answer",
    bounds=FIRST_BYTE_BOUNDS,
)
CHUNK_GAP = Family(
    "fd_router_chunk_gap_seconds",
    "histogram",
    (),
    "seconds",
    "Time between two chunks of a streamed answer",
)
DURATION = Family(
    "fd_router_request_duration_seconds",
    "histogram",
    (),
    "seconds",
    "Time from an inference request's arrival to the end of its answer",
    bounds=TOTAL_BOUNDS,
)
UPSTREAM_ERRORS = Family(
    "fd_router_upstream_errors_total",
    "counter",
    ("worker", "kind"),
    "errors",
    "Exchanges with workers that failed",
    values=UPSTREAM_KINDS,
)
RETRIES_DENIED = Family(
    "fd_router_retries_denied_total",
    "counter",
    ("reason",),
    "requests",
    "Times that a request would have been sent again, but for a lack of budget or of somebody to send it to",
    values=("budget", "no_candidate"),
)
EJECTIONS = Family(
    "fd_router_ejections_total",
    "counter",
    ("worker",),
    "workers",
    "Times that a worker was taken out of choosing because its requests failed",
)
PASSED_OVER = Family(
    "fd_router_passed_over_total",
    "counter",
    ("worker",),
    "workers",
    "Times that a worker was passed over for a while because it refused a request for load",
)
RETRIES = Family(
    "fd_router_retries_total",
    "counter",
    ("worker",),
    "requests",
    "Times that a request was sent again, to another worker or pair, by the worker that had failed it",
)
PAIRS = Family(
    "fd_router_pairs_total",
    "counter",
    ("outcome",),
    "pairs",
    "Prefill/decode pairs by how they ended",
    values=(
        "completed",
        "prefill_failed",
        "prefill_failed_repaired",
        "prefill_refused",
        "decode_failed",
        "decode_failed_repaired",
        "decode_refused",
        "decode_cut",
    ),
)
PROBES = Family(
    "fd_router_probes_total",
    "counter",
    ("worker", "result"),
    "probes",
    "Health probes; those of workers that are not known yet have no worker",
    values=("ok", "failed"),
)
FLIPS = Family(
    "fd_router_health_flips_total",
    "counter",
    ("direction",),
    "flips",
    "Changes of a worker's health verdict",
    values=("up", "down"),
)
CLIENTS_GONE = Family(
    "fd_router_client_disconnects_total",
    "counter",
    ("phase",),
    "requests",
    "Clients that left before they were answered in full, by what the request was doing",
)
REJECTED = Family(
    "fd_router_rejected_requests_total",
    "counter",
    ("code",),
    "requests",
    "Errors that the router itself answered, by the error's code",
)
CLIENT_CONNECTIONS = Family(
    "fd_router_client_connections",
    "gauge",
    (),
    "connections",
    "Open connections of clients, looked at every few seconds",
)
WRITTEN_OFF = Family(
    "fd_router_clients_written_off_total",
    "counter",
    (),
    "connections",
    "Connections closed because their client took no byte of an answer for server.write-timeout-secs",
)
MADE_ROOM = Family(
    "fd_router_idle_clients_closed_total",
    "counter",
    (),
    "connections",
    "Connections without a request that were closed to make room for others",
)
EXCHANGES = Family(
    "fd_router_upstream_exchanges", "gauge", (), "exchanges", "Exchanges with workers under way"
)
IDLE_CONNECTIONS = Family(
    "fd_router_upstream_idle_connections",
    "gauge",
    (),
    "connections",
    "Connections to workers that are kept for reuse",
)
CONNECTIONS = Family(
    "fd_router_upstream_connections_total",
    "counter",
    (),
    "connections",
    "Connections to workers that were opened",
)
RESENDS = Family(
    "fd_router_upstream_resends_total",
    "counter",
    (),
    "requests",
    "Requests sent once more, as the kept connection that was taken first was being closed by the worker",
)
CHUNKS = Family(
    "fd_router_upstream_chunks_total", "counter", (), "chunks", "Chunks of answers read from workers"
)
BYTES = Family(
    "fd_router_upstream_bytes_total", "counter", (), "bytes", "Body bytes of answers read from workers"
)
REQUESTS = Family(
    "fd_router_requests",
    "gauge",
    ("state",),
    "requests",
    "Inference requests in the router: being served, or waiting for room (`server.max-in-flight`)",
    values=("served", "waiting"),
)
BODY_BYTES = Family(
    "fd_router_body_bytes",
    "gauge",
    (),
    "bytes",
    "Bytes of bodies of inference requests that are being served",
)
LOST_LINES = Family(
    "fd_router_log_lines_lost_total",
    "counter",
    (),
    "lines",
    "Log lines that could not be written",
)
RECORDED_LINES = Family(
    "fd_router_recording_lines_total",
    "counter",
    (),
    "lines",
    "Lines written to the recording of decisions",
)
LOST_RECORDED_LINES = Family(
    "fd_router_recording_lines_lost_total",
    "counter",
    (),
    "lines",
    "Lines of the recording that could not be written",
)
SNAPSHOT_AGE = Family(
    "fd_router_snapshot_age_seconds",
    "gauge",
    (),
    "seconds",
    "Time since the last snapshot was written, or since the start; 0 where none is kept",
)
SNAPSHOT_BYTES = Family(
    "fd_router_snapshot_bytes", "gauge", (), "bytes", "Size of the last snapshot that was written"
)
SNAPSHOT_FAILURES = Family(
    "fd_router_snapshot_failures_total", "counter", (), "snapshots", "Snapshots that could not be written"
)
SNAPSHOT_RESTORED = Family(
    "fd_router_snapshot_restored_blocks",
    "gauge",
    (),
    "blocks",
    "Blocks of the prefix tree that the router began with, from a snapshot",
)
CLUSTER_SHARING = Family(
    "fd_router_cluster_sharing",
    "gauge",
    (),
    "",
    "Whether other replicas are reached through `cluster.url`: 1, or 0 while the router goes on alone; absent without",
)
CLUSTER_REPLICAS = Family(
    "fd_router_cluster_replicas",
    "gauge",
    (),
    "replicas",
    "Other replicas that were heard in the last seconds",
)
CLUSTER_LOSSES = Family(
    "fd_router_cluster_losses_total", "counter", (), "losses", "Times that the server of the cluster was lost"
)
CLUSTER_PREFIXES = Family(
    "fd_router_cluster_prefixes_total",
    "counter",
    ("outcome",),
    "records",
    "Records of prefixes: of other replicas and taken over; of others and hung on nothing that is known here; our own"
    " that could not be told and went beyond the budget",
    values=("applied", "unknown", "dropped"),
)
CLUSTER_GARBAGE = Family(
    "fd_router_cluster_garbage_total",
    "counter",
    ("place",),
    "items",
    "What was found at the server of the cluster and no replica of this version wrote",
    values=("board", "loads", "prefixes"),
)
BUILD = Family(
    "fd_router_build_info", "gauge", ("version",), "", "Always 1; the label says which version runs"
)

PROCESS = (
    Family("process_virtual_memory_bytes", "gauge", (), "bytes", "Virtual memory size in bytes."),
    Family("process_resident_memory_bytes", "gauge", (), "bytes", "Resident memory size in bytes."),
    Family(
        "process_start_time_seconds",
        "gauge",
        (),
        "seconds",
        "Start time of the process since unix epoch in seconds.",
    ),
    Family(
        "process_cpu_seconds_total",
        "counter",
        (),
        "seconds",
        "Total user and system CPU time spent in seconds.",
    ),
    Family("process_open_fds", "gauge", (), "descriptors", "Number of open file descriptors."),
    Family("process_max_fds", "gauge", (), "descriptors", "Maximum number of open file descriptors."),
)

FAMILIES: tuple[Family, ...] = (
    INFERENCE_REQUESTS,
    CACHE_HITS,
    CACHE_REQUESTS,
    HTTP_REQUESTS,
    HTTP_DURATION,
    WORKERS,
    WORKER_UP,
    WORKER_RUNNING,
    WORKER_TOKENS,
    DECISIONS,
    HIT_RATIO,
    PROMPT_TOKENS,
    PREDICTED_TOKENS,
    CACHED_TOKENS,
    OVERPREDICTED_TOKENS,
    WORKER_CACHE,
    TREE_BLOCKS,
    TREE_NODES,
    TREE_BYTES,
    TREE_EVICTED,
    TREE_EXPIRED,
    TTFT,
    PREFILL,
    CHUNK_GAP,
    DURATION,
    UPSTREAM_ERRORS,
    RETRIES,
    RETRIES_DENIED,
    EJECTIONS,
    PASSED_OVER,
    PAIRS,
    PROBES,
    FLIPS,
    CLIENTS_GONE,
    REJECTED,
    REQUESTS,
    BODY_BYTES,
    CLIENT_CONNECTIONS,
    WRITTEN_OFF,
    MADE_ROOM,
    EXCHANGES,
    IDLE_CONNECTIONS,
    CONNECTIONS,
    RESENDS,
    CHUNKS,
    BYTES,
    LOST_LINES,
    RECORDED_LINES,
    LOST_RECORDED_LINES,
    SNAPSHOT_AGE,
    SNAPSHOT_BYTES,
    SNAPSHOT_FAILURES,
    SNAPSHOT_RESTORED,
    CLUSTER_SHARING,
    CLUSTER_REPLICAS,
    CLUSTER_LOSSES,
    CLUSTER_PREFIXES,
    CLUSTER_GARBAGE,
    BUILD,
    *PROCESS,
)


def markdown_table() -> str:
    """All families as a Markdown table, for the documentation."""
    rows = ["| Name | Type | Labels | Unit | Meaning |", "|---|---|---|---|---|"]
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        meaning = family.help
        if family.values:
            meaning += ": " + ", ".join(f"`{value}`" for value in family.values)
        rows.append(f"| `{family.name}` | {family.kind} | {labels} | {family.unit} | {meaning} |")
    return "\n".join(rows) + "\n"
