"""The engine's metrics under FastDeploy's names, in Prometheus text format."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fd_router.mock_engine.generation import Generator


def exposition(engine: Generator) -> bytes:
    """All gauges as text."""
    batch, capacity = engine.batch, engine.cache.capacity
    used = min(batch.blocks_in_use, capacity)
    gauges = [
        ("num_requests_running", "Number of requests currently running", batch.running),
        ("num_requests_waiting", "Number of requests currently waiting", batch.waiting),
        ("max_gpu_block_num", "Number of KV blocks", capacity),
        ("available_gpu_block_num", "Number of KV blocks that no running request holds", capacity - used),
        ("gpu_cache_usage_perc", "Share of KV blocks held by running requests", used / max(1, capacity)),
        ("hit_token_rate", "Share of prompt tokens found in the prefix cache", engine.cache.hit_rate),
        ("max_batch_size", "Requests that run at once", engine.options.max_batch),
    ]
    lines = []
    for name, meaning, value in gauges:
        lines += [
            f"# HELP fastdeploy:{name} {meaning}",
            f"# TYPE fastdeploy:{name} gauge",
            f"fastdeploy:{name} {value}",
        ]
    lines += [
        "# HELP fastdeploy:cache_config_info Configuration of the cache",
        "# TYPE fastdeploy:cache_config_info gauge",
        f'fastdeploy:cache_config_info{{block_size="{engine.cache.block_size}"}} 1',
    ]
    lines += [
        "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.",
        "# TYPE process_start_time_seconds gauge",
        f"process_start_time_seconds {engine.started}",
    ]
    return ("\n".join(lines) + "\n").encode()
