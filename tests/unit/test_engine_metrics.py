"""An engine's Prometheus text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.fleet.engine_metrics import (
    RUNNING,
    WAITING,
    EngineMetrics,
    parse_cache_tokens,
    parse_engine_metrics,
    parse_start,
)


def page(running: str, waiting: str = "0") -> str:
    return f"{RUNNING} {running}\n{WAITING} {waiting}\n"


def test_text_of_an_engine() -> None:
    text = (
        f"# HELP {RUNNING} Number of requests currently running\n# TYPE {RUNNING} gauge\n{RUNNING} 5.0\n"
        f"# HELP {WAITING} Number of requests currently waiting\n# TYPE {WAITING} gauge\n{WAITING} 2.0\n"
        "fastdeploy:available_gpu_block_num 100.0\n"
    )
    assert parse_engine_metrics(text) == EngineMetrics(running=5.0, waiting=2.0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("7", 7.0),
        ("1e3", 1000.0),
        ("1.5E+2", 150.0),
        ("+4", 4.0),
        (".5", 0.5),
        ("3 1700000000000", 3.0),
        ("0", 0.0),
    ],
)
def test_every_notation_of_a_number(value: str, expected: float) -> None:
    assert parse_engine_metrics(page(value)).running == expected


def test_labelled_samples_are_summed() -> None:
    labels = ['{model="a"}', '{model="b",path="}{ \\" x"}', "{}", '{ rank = "0" , }']
    text = (
        "".join(f"{RUNNING}{label} {index + 1}\r\n" for index, label in enumerate(labels)) + f"{WAITING}\t1\n"
    )
    assert parse_engine_metrics(text) == EngineMetrics(running=10.0, waiting=1.0)


@pytest.mark.parametrize("missing", [RUNNING, WAITING])
def test_a_missing_family_is_named(missing: str) -> None:
    kept = WAITING if missing == RUNNING else RUNNING
    text = f"# TYPE {missing} gauge\n{missing}_total 3\nx{missing} 3\n{kept} 1\n"
    with pytest.raises(ValueError, match=f"^no sample of {missing}$"):
        parse_engine_metrics(text)


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1", "abc", "0x10", "1e999"])
def test_what_is_no_count_is_named(value: str) -> None:
    with pytest.raises(ValueError, match=RUNNING):
        parse_engine_metrics(page(value))


@given(st.lists(st.tuples(st.text(max_size=10), st.integers(0, 10**6)), min_size=1, max_size=8))
def test_any_label_value(samples: list[tuple[str, int]]) -> None:
    def escaped(value: str) -> str:
        return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    lines = [f'{RUNNING}{{m="{escaped(label)}"}} {count}' for label, count in samples]
    text = "\n".join([*lines, f"{WAITING} 0"])
    assert parse_engine_metrics(text).running == sum(count for _, count in samples)


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no sample of"):
        parse_engine_metrics(text)


@pytest.mark.parametrize("junk", ['{a="', '{a="b\\', "{a", '{a="b"', "{" + 'a="' * 1_000])
def test_labels_that_never_end_do_not_swallow_the_page(junk: str) -> None:
    text = f"{RUNNING}{junk}\n" * 20_000 + page("1")
    assert parse_engine_metrics(text).running == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fastdeploy:max_gpu_block_num 100.0", 6400),
        ('fastdeploy:max_gpu_block_num{pid="1"} 0.0\nfastdeploy:max_gpu_block_num{pid="2"} 100.0', 6400),
        (
            'fastdeploy:cache_config_info{a="x",block_size="128",b="}"} 1.0\nfastdeploy:max_gpu_block_num 10',
            1280,
        ),
        ('fastdeploy:cache_config_info{block_size="None"} 1.0\nfastdeploy:max_gpu_block_num 10', 640),
        ("fastdeploy:available_gpu_block_num 10\nfastdeploy:free_gpu_block_num 5", None),
        ("fastdeploy:max_gpu_block_num 0", None),
        ("fastdeploy:max_gpu_block_num NaN", None),
        ('vllm:cache_config_info{block_size="16",num_gpu_blocks="9000"} 1.0', 144_000),
        (
            'vllm:cache_config_info{block_size="64",kv_cache_size_tokens="862437",num_gpu_blocks="9120"} 1.0',
            862_437,
        ),
        (
            'vllm:cache_config_info{block_size="16",kv_cache_size_tokens="None",num_gpu_blocks="10"} 1.0',
            160,
        ),
        (
            'vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="10"} 1.0\n'
            'vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="20"} 1.0',
            480,
        ),
        ('vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0', None),
        ("", None),
    ],
)
def test_size_of_the_cache(text: str, expected: float | None) -> None:
    assert parse_cache_tokens(f"# TYPE x gauge\n{text}\nother 1\n") == expected


@given(st.text(max_size=300))
def test_a_size_of_any_text_is_none(text: str) -> None:
    assert parse_cache_tokens(text) is None


@pytest.mark.parametrize(
    ("line", "started"),
    [
        ("process_start_time_seconds 1.75e+09", 1.75e9),
        ("process_start_time_seconds 1750000000.5", 1_750_000_000.5),
        ("process_start_time_seconds NaN", None),
        ("process_start_time_seconds 0", None),
        ("process_start_time_seconds soon", None),
        ('process_start_time_seconds{pid="7"} 5', None),
        ("other_process_start_time_seconds 5", None),
    ],
)
def test_the_start_of_an_engine(line: str, started: float | None) -> None:
    assert parse_start(f"# TYPE process_start_time_seconds gauge\n{line}\nother 1\n") == started
