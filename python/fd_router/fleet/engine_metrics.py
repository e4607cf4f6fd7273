"""An engine's own counts and the size of its cache, read from its Prometheus text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

RUNNING = "fastdeploy:num_requests_running"
WAITING = "fastdeploy:num_requests_waiting"
BLOCKS = "fastdeploy:max_gpu_block_num"
"""Blocks of the cache. Not `available_gpu_block_num` over a share: two gauges that are set at different moments."""
CONFIG = "fastdeploy:cache_config_info"
VLLM_CONFIG = "vllm:cache_config_info"
STARTED = "process_start_time_seconds"
"""When the process started, as the Prometheus clients of most languages say it."""
BLOCK_TOKENS = 64.0
"""Tokens of a FastDeploy block where it does not say it."""

_LABELS = r'(?:\{(?:[^"}\n]|"(?:[^"\\\n]|\\.)*")*\})?'
_SAMPLES = {
    name: re.compile(rf"^[ \t]*{re.escape(name)}{_LABELS}[ \t]+(\S+)", re.MULTILINE)
    for name in (RUNNING, WAITING, BLOCKS)
}
_INFOS = {
    name: re.compile(rf"^[ \t]*{re.escape(name)}({_LABELS})[ \t]", re.MULTILINE)
    for name in (CONFIG, VLLM_CONFIG)
}
_STARTED = re.compile(rf"^{STARTED}[ \t]+(\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\\n]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """Requests that an engine works on, and that wait inside it."""

    running: float
    waiting: float


def parse_engine_metrics(text: str) -> EngineMetrics:
    """Read both families; samples with different labels are summed. Raises `ValueError` naming what is wrong."""
    return EngineMetrics(_total(RUNNING, text), _total(WAITING, text))


def _total(name: str, text: str) -> float:
    values = _SAMPLES[name].findall(text)
    if not values:
        raise ValueError(f"no sample of {name}")
    try:
        total = sum(float(value) for value in values)
    except ValueError:
        total = math.nan
    # A load that is not a count would win or lose every comparison of workers.
    if not 0 <= total < math.inf:
        raise ValueError(f"{name}: found {' '.join(values[:3])}, accepted: number from 0")
    return total


def parse_cache_tokens(text: str) -> float | None:
    """Tokens that the cache holds, by FastDeploy's or vLLM's families; None where the text does not say it.

    Gauges of FastDeploy come once for each of its processes, and one of them has the number. vLLM has a sample, and a
    cache, for each engine behind the port; where `kv_cache_size_tokens` is there, blocks are of several sizes.
    """
    blocks = max(map(_size, _SAMPLES[BLOCKS].findall(text)), default=0.0)
    sizes = [_size(labels.get("block_size")) for labels in _infos(CONFIG, text)]
    tokens = blocks * (max(sizes, default=0.0) or BLOCK_TOKENS)
    for labels in _infos(VLLM_CONFIG, text):
        tokens += _size(labels.get("kv_cache_size_tokens")) or (
            _size(labels.get("num_gpu_blocks")) * _size(labels.get("block_size"))
        )
    return tokens or None


def parse_start(text: str) -> float | None:
    """When the engine started, in seconds since the epoch; None where the text does not say it."""
    found = _STARTED.search(text)
    return (_size(found[1]) or None) if found is not None else None


def _infos(name: str, text: str) -> list[dict[str, str]]:
    return [dict(_LABEL.findall(labels)) for labels in _INFOS[name].findall(text)]


def _size(value: str | None) -> float:
    """A finite number above 0, else 0."""
    try:
        size = float(value or 0)
    except ValueError:
        return 0.0
    return size if 0 < size < math.inf else 0.0
