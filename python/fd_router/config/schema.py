"""The schema: every key, its type, default, unit, accepted range and meaning. The one place for defaults.

Loading, error texts, the example file and the README's tables are all made from it. A YAML key is the
attribute's name with `-` for `_`. Where the Go router has a key, its name, default and meaning are the same.
"""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeAlias

from fd_router import _core
from fd_router.config.address import ClusterUrl
from fd_router.config.setting import (
    Choice,
    Cidr,
    Endpoint,
    Flag,
    HttpUrl,
    Integer,
    Key,
    Keys,
    ListOf,
    Name,
    Number,
    Origin,
    Path,
    Secret,
    Setting,
    Text,
    setting,
)

POLICIES = tuple(policy.name for policy in _core.POLICIES)
"""The policies by their wire names."""

_YEAR_SECS = 31_536_000
_PERIOD = Number(0, _YEAR_SECS, above=True)
_LIMIT = Number(0, _YEAR_SECS)
_WEIGHT = Number(0, 1_000_000)
_COUNT = Integer(0, 10_000_000)
_THRESHOLD = Integer(1, 1_000)
_NO_KEY = Secret()
_POLICY = Choice(POLICIES, fallback="random")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """`server`: where and how clients and engines are listened to."""

    port: int = setting(Integer(1, 65_535, quoted=True), None, "listen port; the flag `--port` wins")
    host: str = setting(Text(), "0.0.0.0", "address to listen on")
    name: str = setting(Text(), "", "accepted and not used, as upstream")
    mode: str = setting(Choice(("debug", "release", "test")), "release", "accepted and without effect")
    splitwise: bool = setting(Flag(), False, "PD mode; the flag `--splitwise` can only switch it on")
    threads: int = setting(Integer(1, 256), 1, "Rust threads of the HTTP server")
    workers: int = setting(
        Integer(1, 1, why="workers are processes and would split the counters and the prefix tree"),
        1,
        "processes that serve",
    )
    max_connections: int = setting(
        Integer(1, 1_000_000), 16_384, "client connections with a request at a time"
    )
    max_in_flight: int = setting(
        _COUNT, 10_000, "inference requests at a time, beyond it 503; 0: no limit", live=True
    )
    queue_timeout_secs: float = setting(
        _LIMIT,
        0.0,
        "how long a request beyond `max-in-flight` may wait for room; 0: it is turned away at once",
        "s",
        live=True,
    )
    max_body_mb: int = setting(Integer(1, 4_096), 64, "largest request body, beyond it 413", "MiB", live=True)
    header_timeout_secs: float = setting(
        _PERIOD, 30.0, "how long a client may take for a request's head, then its connection is closed", "s"
    )
    keep_alive_secs: float = setting(
        _PERIOD, 120.0, "how long an idle client connection is kept; longer than load balancers do", "s"
    )
    body_timeout_secs: float = setting(
        _LIMIT,
        30.0,
        "how long the next piece of a request's body may take, beyond it 408; 0: no limit",
        "s",
        live=True,
    )
    body_total_timeout_secs: float = setting(
        _LIMIT,
        0.0,
        "how long a whole body may take, beyond it 408; 0: no limit",
        "s",
        live=True,
    )
    max_body_memory_mb: int = setting(
        Integer(0, 16_777_216),
        1_024,
        "request bodies in memory at a time, beyond it 503; 0: no limit",
        "MiB",
        live=True,
    )
    write_timeout_secs: float = setting(
        _LIMIT,
        60.0,
        "how long a client may take no byte of its answer; 0: no limit",
        "s",
        live=True,
    )
    drain_delay_secs: float = setting(
        _LIMIT,
        0.0,
        "how long SIGTERM lets the router listen on, while `/ready` says 503 already",
        "s",
        live=True,
    )
    drain_timeout_secs: float = setting(
        _LIMIT, 30.0, "how long SIGTERM then waits for running requests", "s", live=True
    )
    state_path: str = setting(
        Text(),
        "",
        "folder in which registrations and a snapshot of what was learned outlive the router;"
        " empty: `$STATE_DIRECTORY`, and without it registrations outlive the process that serves",
    )
    expose_worker_urls: bool = setting(
        Flag(),
        True,
        "tell clients which worker serves them in `X-Router-Worker-URL`, in PD mode which pair in "
        "`X-Router-Prefill-URL` and `X-Router-Decode-URL`",
        live=True,
    )
    api_keys: tuple[Secret, ...] = setting(
        Keys(),
        (),
        "clients must send one of them as `Authorization: Bearer KEY`; empty: everybody is served",
        live=True,
    )
    admin_key: Secret = setting(
        Key(),
        _NO_KEY,
        "control endpoints ask for it, `/register` too; empty: everybody may use them",
        live=True,
    )
    admin_port: int = setting(
        Integer(0, 65_535), 0, "a port of their own for the control endpoints; 0: they are served on `port`"
    )
    admin_host: str = setting(Text(), "", "address of `admin-port`; empty: that of `host`")
    extra_paths: tuple[str, ...] = setting(
        ListOf(Endpoint()),
        (),
        "what of the engines is served beside the endpoints of the README; empty: nothing",
    )
    error_format: str = setting(
        Choice(("go", "openai")),
        "go",
        "errors of the router: as the Go router's, or as official clients show them",
    )
    cors_origins: tuple[str, ...] = setting(
        ListOf(Origin()), (), "origins whose pages may call the clients' endpoints; empty: none, CORS is off"
    )
    trusted_proxies: tuple[str, ...] = setting(
        ListOf(Cidr()),
        (),
        "proxies whose `X-Forwarded-For` is believed; empty: nobody's",
        live=True,
    )
    tls_cert: str = setting(Text(), "", "PEM file of the listeners' certificate and its chain; empty: no TLS")
    tls_key: str = setting(Text(), "", "PEM file of its key")
    tls_client_ca: str = setting(
        Text(),
        "",
        "PEM file of the authorities whose clients may connect; empty: no certificate is asked for",
    )


@dataclass(frozen=True, slots=True)
class ManagerConfig:
    """`manager`: which workers there are and whether they are well."""

    register_path: str = setting(Text(), "", "YAML file of workers, looked at for changes; empty: none")
    health_failure_threshold: int = setting(
        _THRESHOLD,
        1,
        "probes tried back to back before a worker is taken for unhealthy",
        live=True,
    )
    health_success_threshold: int = setting(
        _THRESHOLD,
        1,
        "probes in a row that must succeed before a worker is accepted",
        live=True,
    )
    health_check_timeout_secs: float = setting(
        _PERIOD, 5.0, "limit of a probe and of a metrics poll", "s", live=True
    )
    health_check_interval_secs: float = setting(_PERIOD, 5.0, "period of the health monitor", "s", live=True)
    health_check_endpoint: str = setting(
        Path(), "/health", "path that is probed; well is the status 200", live=True
    )
    metrics_interval_secs: float = setting(
        _PERIOD,
        1.0,
        "period of polling the engines' metrics, where a policy needs them",
        "s",
        live=True,
    )
    models_interval_secs: float = setting(
        _LIMIT,
        30.0,
        "period of asking engines which models they serve; 0: they are not asked, and take any",
        "s",
    )
    engine_api_key: Secret = setting(
        Key(), _NO_KEY, "sent as `Authorization: Bearer KEY` with that question; empty: nothing is", live=True
    )
    forget_after_secs: float = setting(
        _LIMIT,
        300.0,
        "how long a lost worker is probed for its return; 0: it must register again",
        "s",
        live=True,
    )
    eject_after_failures: int = setting(
        Integer(0, 1_000),
        5,
        "failed requests in a row that take a worker out for a while; 0: never",
        live=True,
    )
    max_workers: int = setting(
        Integer(1, 4_096), 4_096, "workers that may be registered, beyond it 503", live=True
    )
    control_timeout_secs: float = setting(
        _PERIOD, 600.0, "limit of an engine's answer to a control call: new weights take minutes", "s"
    )
    register_token: Secret = setting(
        Key(),
        _NO_KEY,
        "`/register` asks for it, or for `server.admin-key`; empty: that key, or nothing",
        live=True,
    )
    allowed_networks: tuple[str, ...] = setting(
        ListOf(Cidr()),
        (),
        "networks that a worker's address must be in; empty: any but those always refused",
        live=True,
    )


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """`scheduler`: which worker serves a request."""

    policy: str = setting(_POLICY, "request_num", "policy of mixed mode", live=True)
    prefill_policy: str = setting(_POLICY, "process_tokens", "policy for prefill workers", live=True)
    decode_policy: str = setting(_POLICY, "request_num", "policy for decode workers", live=True)
    eviction_interval_secs: float = setting(
        _PERIOD,
        60.0,
        "period of dropping the counters of workers that are gone",
        "s",
        live=True,
    )
    eviction_duration_mins: float = setting(
        Number(0, _YEAR_SECS // 60, above=True), 30.0, "idle life of a block in the prefix tree", "min"
    )
    cache_block_size: int = setting(Integer(1, 1_048_576), 64, "size of a block of the prefix tree", "tokens")
    cache_max_memory_mb: int = setting(
        Integer(1, 1_048_576),
        512,
        "memory of the prefix tree, then the least recently used goes",
        "MiB",
    )
    tokenizer_url: str = setting(
        HttpUrl(),
        "",
        "service that makes tokens, path `/tokenize` if none is given; empty: characters",
    )
    tokenizer_timeout_secs: float = setting(_PERIOD, 2.0, "limit of one call, then characters are used", "s")
    balance_abs_threshold: float = setting(
        _WEIGHT,
        1.0,
        "cache_aware: imbalanced if loads differ by more than this, and",
        "requests",
        live=True,
    )
    balance_rel_threshold: float = setting(
        _WEIGHT,
        0.2,
        "cache_aware: by more than this share of the largest load",
        live=True,
    )
    hit_ratio_weight: float = setting(
        _WEIGHT, 1.0, "cache_aware: weight of the blocks that a worker lacks", live=True
    )
    load_balance_weight: float = setting(
        _WEIGHT, 1.0, "cache_aware: weight of a worker's running requests", live=True
    )
    waiting_weight: float = setting(
        _WEIGHT, 1.0, "metrics scores: weight of waiting beside running", live=True
    )
    copy_cost: float = setting(
        _WEIGHT,
        0.6,
        "least_work: by what share a prompt's uncached tokens count more than waiting ones",
        live=True,
    )
    base_running: float = setting(
        _WEIGHT,
        32.0,
        "least_work: running requests that each worker counts beside its own; more: the first byte matters more",
        "requests",
        live=True,
    )
    stats_interval_secs: float = setting(_PERIOD, 5.0, "period of the `[stats]` log line", "s", live=True)


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """`upstream`: how requests travel to workers."""

    threads: int = setting(Integer(1, 256), 1, "threads of the relay")
    connect_timeout_secs: float = setting(_LIMIT, 5.0, "limit of connecting; 0: none", "s")
    first_byte_timeout_secs: float = setting(_LIMIT, 600.0, "limit of waiting for the head; 0: none", "s")
    idle_timeout_secs: float = setting(_LIMIT, 300.0, "limit of silence inside an answer; 0: none", "s")
    keep_alive_secs: float = setting(
        _PERIOD, 4.0, "how long an idle connection is kept; shorter than the engine does", "s"
    )
    max_idle_per_worker: int = setting(_COUNT, 256, "idle connections kept for each worker")
    attempts: int = setting(
        Integer(1, 10), 3, "tries of a request that no worker has begun to answer", live=True
    )
    pair_attempts: int = setting(Integer(1, 10), 2, "PD mode: the same, in pairs of workers", live=True)
    retry_statuses: tuple[int, ...] = setting(
        ListOf(Integer(300, 599)),
        (429, 503, 304),
        "answers for which another worker is tried; empty: none",
        live=True,
    )
    ca_file: str = setting(
        Text(),
        "",
        "PEM file of the authorities that engines and tokenizer are verified with; empty: the system's, "
        "or `SSL_CERT_FILE` and `SSL_CERT_DIR`",
    )


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """`cluster`: what several routers before the same engines share, on a Valkey or a Redis."""

    url: Secret = setting(
        ClusterUrl(),
        _NO_KEY,
        "the server through which replicas share registrations, orders, prefixes and loads; empty: there is one router",
    )
    name: str = setting(Name(), "default", "of the fleet; replicas with the same name on one server share")
    stream_mb: int = setting(
        Integer(1, 65_536),
        64,
        "about how many bytes of prefixes the server keeps for replicas that start",
        "MiB",
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """`log`: what is written, and where."""

    level: str = setting(
        Choice(("debug", "info", "warn", "error"), fallback="error"),
        "info",
        "least level that is written",
        live=True,
    )
    output: str = setting(Text(), "", "`file`: files under `logs/`; else stdout, errors on stderr")
    format: str = setting(Choice(("text", "json")), "text", "the Go router's lines, or one object a line")
    max_age_days: int = setting(Integer(0, 36_500), 7, "older log files are deleted", "d")
    max_total_size_mb: int = setting(
        Integer(0, 10_000_000), 500, "beyond it the oldest ones are deleted", "MiB"
    )
    cleanup_interval_secs: float = setting(
        Number(-_YEAR_SECS, _YEAR_SECS), 3_600.0, "period of deleting log files; 0 or less: never", "s"
    )
    tracing: bool = setting(
        Flag(),
        False,
        "spans by OpenTelemetry, which goes by `OTEL_*` variables, see docs/logs.md; needs `fd-router[otel]`",
    )
    record: str = setting(
        Text(), "", "file that decisions are recorded in, see docs/recording.md; empty: they are not"
    )
    record_max_mb: int = setting(Integer(1, 1_000_000), 256, "size of a file of the recording", "MiB")
    record_files: int = setting(
        Integer(1, 1_000), 4, "files of the recording: the newest and older ones, `.1` and on", "files"
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the router can be told. `server.max_body_mb` is `server: {max-body-mb: ...}` in YAML."""

    server: ServerConfig
    manager: ManagerConfig = field(default_factory=ManagerConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    upstream: UpstreamConfig = field(default_factory=UpstreamConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    log: LogConfig = field(default_factory=LogConfig)


Section: TypeAlias = (
    ServerConfig | ManagerConfig | SchedulerConfig | UpstreamConfig | ClusterConfig | LogConfig
)

SECTIONS: dict[str, type[Section]] = {
    "server": ServerConfig,
    "manager": ManagerConfig,
    "scheduler": SchedulerConfig,
    "upstream": UpstreamConfig,
    "cluster": ClusterConfig,
    "log": LogConfig,
}


def key_of(entry: Field[Any]) -> str:
    """The YAML key of an attribute."""
    return entry.name.replace("_", "-")


def settings_of(section: type[Section]) -> dict[str, Setting]:
    """The settings of a section by YAML key, in their order."""
    return {key_of(entry): entry.metadata["setting"] for entry in fields(section)}
