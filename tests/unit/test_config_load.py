"""Loading: what is accepted, what is refused and in which words, what is only noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.config import POLICIES, SECTIONS, Config, Notice, ServerConfig, load_config
from fd_router.config.load import MAX_FILE_BYTES
from fd_router.config.schema import settings_of
from fd_router.config.setting import Integer, Number
from fd_router.errors import ConfigError

Load = Callable[..., tuple[Config, list[Notice]]]

INTERVALS = [
    "manager.health-check-timeout-secs",
    "manager.health-check-interval-secs",
    "manager.metrics-interval-secs",
    "scheduler.eviction-interval-secs",
    "scheduler.eviction-duration-mins",
    "scheduler.tokenizer-timeout-secs",
    "scheduler.stats-interval-secs",
    "upstream.keep-alive-secs",
]
ZERO_IS_A_VALUE = [
    "server.queue-timeout-secs",
    "server.max-body-memory-mb",
    "server.drain-delay-secs",
    "server.max-in-flight",
    "server.drain-timeout-secs",
    "manager.forget-after-secs",
    "scheduler.balance-abs-threshold",
    "scheduler.balance-rel-threshold",
    "scheduler.hit-ratio-weight",
    "scheduler.load-balance-weight",
    "scheduler.waiting-weight",
    "upstream.connect-timeout-secs",
    "upstream.max-idle-per-worker",
    "log.max-age-days",
    "log.max-total-size-mb",
    "log.cleanup-interval-secs",
]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(
        text: str | bytes, port: str | None = "9000", splitwise: bool = False
    ) -> tuple[Config, list[Notice]]:
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(str(path), port=port, splitwise=splitwise)

    return load


def value_of(config: Config, path: str) -> object:
    section, key = path.split(".")
    return getattr(getattr(config, section), key.replace("-", "_"))


def one_key(path: str, value: str) -> str:
    section, key = path.split(".")
    return f"{section}:\n  {key}: {value}\n"


def outcome(path: Path) -> str:
    """The message with which a file is refused, empty if it is taken."""
    try:
        load_config(str(path), port="1", splitwise=False)
    except ConfigError as error:
        return str(error)
    return ""


def refusal(load: Load, text: str | bytes, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(text, **flags)
    return str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "server:", 'server: {port: ""}', "server: {port: null}", "server: {name: x}"]
)
def test_no_port_in_the_file(load: Load, text: str) -> None:
    assert refusal(load, text, port="") == "failed to set router listen port"


def test_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^failed to read config file: open .*: is a directory$"):
        load_config(str(tmp_path), port="1", splitwise=False)


def test_endless_file_is_not_read(load: Load) -> None:
    assert "is larger than" in refusal(load, b"#" * (MAX_FILE_BYTES + 1))


@pytest.mark.parametrize("port", ["8080", '"8080"', "08080", '"08080"', "8_080"])
def test_port_as_number_or_text(load: Load, port: str) -> None:
    config, notices = load(f"server: {{port: {port}}}", port=None)
    assert config == Config(ServerConfig(port=8080))
    assert notices == []


@pytest.mark.parametrize(
    ("text", "flag", "expected"),
    [
        ("server: {splitwise: true}", False, True),
        ("server: {splitwise: yes}", False, True),
        ("server: {splitwise: false}", True, True),
        ("server: {splitwise: false}", False, False),
        ("", True, True),
    ],
)
def test_splitwise_can_only_be_switched_on(load: Load, text: str, flag: bool, expected: bool) -> None:
    assert load(text, splitwise=flag)[0].server.splitwise is expected


def test_unknown_keys_are_noticed_each_with_its_path(load: Load) -> None:
    config, notices = load("topology: {etcd: 1}\nserver:\n  afd: true\nlog: {levels: info, 7: x, [a]: b}\n")
    assert config == Config(ServerConfig(port=9000))
    assert notices == [
        Notice("WARN", "topology (line 1): unknown key, ignored"),
        Notice("WARN", "server.afd (line 3): unknown key, ignored"),
        Notice("WARN", "log.levels (line 4): unknown key, ignored; did you mean log.level?"),
        Notice("WARN", "log.7 (line 4): unknown key, ignored"),
        Notice("WARN", "log.(a list) (line 4): unknown key, ignored"),
    ]


def test_underscores_are_recognised_as_a_slip(load: Load) -> None:
    _, [notice] = load("manager: {health_check_timeout_secs: 1}")
    assert notice.message.endswith("did you mean manager.health-check-timeout-secs?")


@pytest.mark.parametrize("role", ["policy", "prefill-policy", "decode-policy"])
def test_case_70_unknown_policy_starts_as_random_and_says_so(load: Load, role: str) -> None:
    config, notices = load(f"scheduler:\n  {role}: nonsense\n")
    assert value_of(config, f"scheduler.{role}") == "random"
    assert notices == [
        Notice(
            "ERROR",
            f'scheduler.{role} (line 2): found "nonsense", accepted: {", ".join(POLICIES)}; continuing with random',
        )
    ]


@pytest.mark.parametrize("name", POLICIES)
def test_known_policies(load: Load, name: str) -> None:
    config, notices = load(f"scheduler: {{policy: {name}}}")
    assert (config.scheduler.policy, notices) == (name, [])


@pytest.mark.parametrize("level", ["loud", "INFO", "off", "5"])
def test_unknown_log_level_prints_errors_only_and_says_so(load: Load, level: str) -> None:
    config, [notice] = load(f"log: {{level: {level}}}")
    assert config.log.level == "error"
    assert notice.level == "ERROR"
    assert notice.message.startswith("log.level (line 1): found ")
    assert "accepted: debug, info, warn, error; continuing with error" in notice.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {port: 0}", "server.port (line 1): found 0, accepted: whole number from 1 to 65535"),
        (
            "server: {port: 70000}",
            "server.port (line 1): found 70000, accepted: whole number from 1 to 65535",
        ),
        ("server: {port: abc}", 'server.port (line 1): found "abc", accepted: whole number from 1 to 65535'),
        ("server: {port: true}", "server.port (line 1): found true, accepted: whole number from 1 to 65535"),
        ("server: {port: [1]}", "server.port (line 1): found a list, accepted: whole number from 1 to 65535"),
        ("server: {mode: fast}", 'server.mode (line 1): found "fast", accepted: debug, release, test'),
        ("server: {splitwise: 1}", "server.splitwise (line 1): found 1, accepted: true or false"),
        ('server: {splitwise: "true"}', 'server.splitwise (line 1): found "true", accepted: true or false'),
        (
            "server: {workers: 2}",
            "server.workers (line 1): found 2, accepted: 1 "
            "(workers are processes and would split the counters and the prefix tree)",
        ),
        (
            "manager: {health-failure-threshold: true}",
            "manager.health-failure-threshold (line 1): found true, accepted: whole number from 1 to 1000",
        ),
        (
            'scheduler: {waiting-weight: "1"}',
            'scheduler.waiting-weight (line 1): found "1", accepted: number from 0 up to 1000000',
        ),
        (
            "scheduler: {cache-block-size: 1.5}",
            "scheduler.cache-block-size (line 1): found 1.5, accepted: whole number from 1 to 1048576",
        ),
        (
            "manager: {health-check-endpoint: health}",
            'manager.health-check-endpoint (line 1): found "health", accepted: path that starts with /, without spaces',
        ),
        (
            "scheduler: {tokenizer-url: 'ftp://x'}",
            'scheduler.tokenizer-url (line 1): found "ftp://x", '
            "accepted: host:port, or a URL with http:// or https://",
        ),
        (
            "scheduler: {policy: [random]}",
            f"scheduler.policy (line 1): found a list, accepted: {', '.join(POLICIES)}",
        ),
        ("log: {format: xml}", 'log.format (line 1): found "xml", accepted: text, json'),
        ("server: 5", "server (line 1): found 5, accepted: mapping of keys to values"),
        ("- server", "the file (line 1): found a list, accepted: mapping of keys to values"),
    ],
)
def test_wrong_values_are_refused_with_path_line_and_what_is_accepted(
    load: Load, text: str, message: str
) -> None:
    assert refusal(load, text) == f"failed to parse config: {message}"


def test_all_that_is_wrong_comes_at_once(load: Load) -> None:
    message = refusal(load, "server: {workers: 2}\nlog:\n  max-age-days: -1\n")
    assert "server.workers (line 1): found 2" in message
    assert "; log.max-age-days (line 3): found -1" in message


@pytest.mark.parametrize("port", ["abc", "0", "65536", "8080 ", "-1", "²", "9" * 50])
def test_port_of_the_flag_is_checked(port: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, port=port, splitwise=False)
    assert str(caught.value) == (
        f'failed to parse config: --port: found "{port}", accepted: whole number from 1 to 65535'
    )


@pytest.mark.parametrize("path", INTERVALS)
@pytest.mark.parametrize("value", ["0", "-1", "-0.5", ".inf", ".nan", "-.inf", "1e400"])
def test_intervals_are_above_zero_and_finite(load: Load, path: str, value: str) -> None:
    assert f"{path} (line 2): found {value}, accepted: number above 0" in refusal(load, one_key(path, value))


@pytest.mark.parametrize("path", ["manager.health-failure-threshold", "manager.health-success-threshold"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "1e300"])
def test_thresholds_of_probes_are_at_least_one(load: Load, path: str, value: str) -> None:
    assert f"{path} (line 2): found {value}" in refusal(load, one_key(path, value))


@pytest.mark.parametrize("path", ZERO_IS_A_VALUE)
def test_zero_is_a_value(load: Load, path: str) -> None:
    assert value_of(load(one_key(path, "0"))[0], path) == 0


def test_negative_cleanup_interval_is_accepted_as_upstream_does(load: Load) -> None:
    assert load("log: {cleanup-interval-secs: -1}")[0].log.cleanup_interval_secs == -1


@pytest.mark.parametrize("empty", ["", '""', "~", "null"])
@pytest.mark.parametrize(
    "path", ["scheduler.policy", "log.level", "server.mode", "manager.health-check-endpoint"]
)
def test_empty_is_the_default(load: Load, path: str, empty: str) -> None:
    config, notices = load(one_key(path, empty))
    assert (config, notices) == (Config(ServerConfig(port=9000)), [])


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("server.name", "off", "off"),
        ("server.name", "1e3", "1e3"),
        ("server.name", "2026-01-01", "2026-01-01"),
        ("server.name", "80:80", "80:80"),
        ("scheduler.waiting-weight", "1e3", 1000.0),
        ("scheduler.waiting-weight", "10", 10.0),
        ("scheduler.waiting-weight", ".5", 0.5),
        ("scheduler.cache-block-size", "4.0", 4),
        ("scheduler.cache-block-size", "0x40", 64),
        ("scheduler.tokenizer-url", "127.0.0.1:8000", "127.0.0.1:8000"),
        ("scheduler.tokenizer-url", "http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("log.output", "file", "file"),
    ],
)
def test_yaml_is_read_as_upstream_reads_it(load: Load, path: str, text: str, value: object) -> None:
    config, notices = load(one_key(path, text))
    found = value_of(config, path)
    assert (found, type(found), notices) == (value, type(value), [])


def test_merge_keys_are_followed(load: Load) -> None:
    text = "shared: &s {health-check-timeout-secs: 2, health-check-interval-secs: 3}\nmanager: {<<: *s, health-check-interval-secs: 4}\n"  # noqa: E501
    manager = load(text)[0].manager
    assert (manager.health_check_timeout_secs, manager.health_check_interval_secs) == (2.0, 4.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: {port: 1, port: 2}", 'yaml: line 1: key "port" is there twice'),
        ("log:\n  level: info\nlog: {}\n", 'yaml: line 3: key "log" is there twice'),
        (
            "a: 1\n---\nb: 2\n",
            "yaml: line 2: expected a single document in the stream, but found another document",
        ),
        ("[" * 10_000, "yaml: nested too deeply"),
    ],
)
def test_what_is_not_our_yaml(load: Load, text: str, message: str) -> None:
    assert refusal(load, text) == f"failed to parse config: {message}"


@pytest.mark.parametrize("text", ["a: [", "\tx: 1", "a: *b", b"\xff\xff\xff", b"\x00", "a: 'x"])
def test_broken_yaml_is_one_line_with_the_prefix_of_upstream(load: Load, text: str | bytes) -> None:
    message = refusal(load, text)
    assert message.startswith("failed to parse config: yaml: ")
    assert "\n" not in message


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_does_worse_than_config_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(data)
    message = outcome(path)
    assert message.isprintable()
    assert len(message) < 1_000


@given(st.data())
def test_any_value_is_taken_or_refused_with_its_path(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    section = data.draw(st.sampled_from(sorted(SECTIONS)))
    key = data.draw(st.sampled_from(sorted(settings_of(SECTIONS[section]))))
    value = data.draw(
        st.integers() | st.floats() | st.booleans() | st.sampled_from(["x", "[]", "{}", "'1'", "-"])
    )
    path = tmp_path_factory.getbasetemp() / "value.yaml"
    path.write_text(one_key(f"{section}.{key}", str(value)))
    message = outcome(path)
    where = f"failed to parse config: {section}.{key}"
    assert not message or message.startswith(
        (f"{where} (line 2): found ", f"{where}: needs ", "failed to parse config: yaml: ")
    )


def test_values_in_messages_are_cut_and_escaped(load: Load) -> None:
    message = refusal(load, 'log: {format: "a\\nb\\e[31m' + "x" * 500 + '"}')
    assert '"a\\nb\\x1b[31mxxx' in message
    assert len(message) < 200


def test_defaults_are_accepted_by_their_own_ranges() -> None:
    for section in SECTIONS.values():
        for key, setting in settings_of(section).items():
            if isinstance(setting.kind, (Integer, Number)) and setting.default is not None:
                assert setting.kind.low <= setting.default <= setting.kind.high, key


def test_extra_paths_and_origins(load: Load) -> None:
    text = """
server:
  extra-paths: [/v2/embed, GET /version, /v2/embed, POST /a.b/~c:d@e-f_g]
  cors-origins: ["https://A.example", "http://[::1]:3000", "*"]
  error-format: openai
"""
    server = load(text)[0].server
    assert server.extra_paths == ("POST /v2/embed", "GET /version", "POST /a.b/~c:d@e-f_g")
    assert server.cors_origins == ("https://a.example", "http://[::1]:3000", "*")
    assert server.error_format == "openai"


@pytest.mark.parametrize(
    "value",
    ["v2", "/", "/a/", "//a", "/a//b", "/a/../b", "/..", "/.", "/a?b", "/a#b", "/a/*", "/%2e", "HEAD /a", "get /a",
     "GET  /a", "GET /a\\n", "/a b", "/ä"],
)  # fmt: skip
def test_extra_paths_that_are_none(load: Load, value: str) -> None:
    with pytest.raises(
        ConfigError, match=r"server\.extra-paths \(line 1\): found .*accepted: list, each a path"
    ):
        load(f'server: {{extra-paths: ["{value}"]}}')


@pytest.mark.parametrize(
    "value", ["a.example", "https://", "https://a/", "https://a/b", "https://*.a", "null", ""]
)
def test_origins_that_are_none(load: Load, value: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.cors-origins \(line 1\): "):
        load(f'server: {{cors-origins: ["{value}"]}}')


@pytest.mark.parametrize("content", ["", " \n\n"])
def test_an_empty_file_is_told_of_as_an_error(tmp_path: Path, content: str) -> None:
    """A reload refuses it: it may be half written, and would take keys away."""
    path = tmp_path / "config.yaml"
    path.write_text(content)
    config, notices = load_config(str(path), port="1", splitwise=False)
    assert config.server.port == 1
    assert [(each.level, each.message) for each in notices] == [
        ("ERROR", f"{path} is empty; continuing with the defaults")
    ]


@pytest.mark.parametrize(
    ("given", "told", "taken"),
    [
        ("", None, ""),
        ("", "/var/lib/a", "/var/lib/a"),
        ("", "/var/lib/a:/var/lib/b", "/var/lib/a"),
        ("/kept", "/var/lib/a", "/kept"),
    ],
)
def test_the_folder_of_the_state_is_the_file_s_or_the_environment_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, told: str | None, taken: str
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    if told is not None:
        monkeypatch.setenv("STATE_DIRECTORY", told)
    path = tmp_path / "config.yaml"
    path.write_text(f'server: {{port: 1, state-path: "{given}"}}')
    config, notices = load_config(str(path), port=None, splitwise=False)
    assert (config.server.state_path, notices) == (taken, [])
