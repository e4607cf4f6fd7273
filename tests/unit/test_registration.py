"""Registration: coercions, order of checks, exact messages. Case numbers are those of the conformance list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.config import load_register_file
from fd_router.errors import ConfigError, RegistrationError
from fd_router.fleet.registration import (
    MAX_BODY_BYTES,
    instance_from_mapping,
    parse_instance,
    to_item,
    unregister_url,
)
from fd_router.fleet.registration.fields import Fields
from fd_router.types import Instance

BAD_JSON = "Invalid InstanceInfo JSON format: "
BAD_FORMAT = "invalid InstanceInfo format:"
MIXED = {"role": "mixed", "host_ip": "127.0.0.1", "port": 8080}
PREFILL = {**MIXED, "role": "prefill"}
ABSENT = object()


def body(base: dict[str, Any], **changes: object) -> bytes:
    return json.dumps(
        {key: value for key, value in {**base, **changes}.items() if value is not ABSENT}
    ).encode()


def refusal(raw: bytes, *, splitwise: bool = False) -> str:
    with pytest.raises(RegistrationError) as caught:
        parse_instance(raw, splitwise=splitwise)
    assert caught.value.status == 400
    return str(caught.value)


def mixed(**changes: object) -> Instance:
    return parse_instance(body(MIXED, **changes), splitwise=False)


def prefill(**changes: object) -> Instance:
    return parse_instance(body(PREFILL, **changes), splitwise=True)


def test_case_13_the_least_that_registers() -> None:
    assert mixed() == Instance(role="mixed", host="127.0.0.1", port=8080, metrics_port="8080")


@pytest.mark.parametrize("role", ["MIXED", "Mixed", 0, None])
@pytest.mark.parametrize("port", ["8080", 8080, "08080", "+8080"])
def test_cases_14_15_spellings_of_role_and_port(role: object, port: object) -> None:
    assert mixed(role=role, port=port) == mixed()


@pytest.mark.parametrize(
    ("role", "name"), [(1, "prefill"), ("PreFill", "prefill"), (2, "decode"), ("DECODE", "decode")]
)
def test_roles_of_pd_mode(role: object, name: str) -> None:
    assert prefill(role=role).role == name


@pytest.mark.parametrize("role", ["prefill", "decode", 1, 2])
def test_case_16_pd_roles_are_refused_in_mixed_mode(role: object) -> None:
    assert refusal(body(MIXED, role=role)) == "only MIXED instances are allowed"


@pytest.mark.parametrize("role", ["mixed", 0, None])
def test_case_17_mixed_is_refused_in_pd_mode(role: object) -> None:
    message = refusal(body(MIXED, role=role), splitwise=True)
    assert message == "splitwise mode only supports PREFILL/DECODE instances"


MIXED_REFUSALS = [
    (18, {"role": ABSENT}, f"{BAD_FORMAT}role is required"),
    (18, {"role": ""}, f"{BAD_FORMAT}role is required"),
    (19, {"role": "foo"}, f"{BAD_FORMAT}invalid role: foo"),
    (19, {"role": "FOO"}, f"{BAD_FORMAT}invalid role: FOO"),
    (19, {"role": "0"}, f"{BAD_FORMAT}invalid role: 0"),
    (20, {"role": 7}, f"{BAD_JSON}invalid role integer: 7"),
    (20, {"role": -1}, f"{BAD_JSON}invalid role integer: -1"),
    (20, {"role": 1.0}, f"{BAD_JSON}role: found number 1.0, accepted: name or number of a role"),
    (20, {"role": True}, f"{BAD_JSON}role: found boolean, accepted: name or number of a role"),
    (21, {"host_ip": ABSENT}, f"{BAD_FORMAT}host_ip is required"),
    (21, {"host_ip": None}, f"{BAD_FORMAT}host_ip is required"),
    (21, {"host_ip": "localhost"}, f"{BAD_FORMAT}invalid host_ip: localhost"),
    (21, {"host_ip": "http://localhost"}, f"{BAD_FORMAT}invalid host_ip: http://localhost"),
    (21, {"host_ip": "127.0.0.01"}, f"{BAD_FORMAT}invalid host_ip: 127.0.0.01"),
    (21, {"host_ip": "127.0.0.1:80"}, f"{BAD_FORMAT}invalid host_ip: 127.0.0.1:80"),
    (21, {"host_ip": "[127.0.0.1]"}, f"{BAD_FORMAT}invalid host_ip: [127.0.0.1]"),
    (21, {"host_ip": "fe80::1%eth0"}, f"{BAD_FORMAT}invalid host_ip: fe80::1%eth0"),
    (21, {"host_ip": 5}, f"{BAD_JSON}host_ip: found integer, accepted: string"),
    (23, {"port": ABSENT}, f"{BAD_FORMAT}port is required"),
    (23, {"port": ""}, f"{BAD_FORMAT}port is required"),
    (23, {"port": 0}, f"{BAD_FORMAT}invalid port: 0"),
    (23, {"port": None}, f"{BAD_FORMAT}invalid port: 0"),
    (23, {"port": 70000}, f"{BAD_FORMAT}invalid port: 70000"),
    (23, {"port": "70000"}, f"{BAD_FORMAT}invalid port: 70000"),
    (23, {"port": "abc"}, f"{BAD_FORMAT}invalid port: abc"),
    (23, {"port": "-1"}, f"{BAD_FORMAT}invalid port: -1"),
    (23, {"port": " 80"}, f"{BAD_FORMAT}invalid port:  80"),
    (23, {"port": "8_0"}, f"{BAD_FORMAT}invalid port: 8_0"),
    (23, {"port": "٨٠"}, f"{BAD_FORMAT}invalid port: ٨٠"),
    (23, {"port": 8080.0}, f"{BAD_JSON}port: found number 8080.0, accepted: integer or string"),
    (23, {"port": True}, f"{BAD_JSON}port: found boolean, accepted: integer or string"),
    (23, {"port": [1]}, f"{BAD_JSON}port: found list, accepted: integer or string"),
    (27, {"transfer_protocol": ["tcp"]}, f"{BAD_FORMAT}invalid protocol: tcp"),
    (27, {"transfer_protocol": ["ipc", "RDMA"]}, f"{BAD_FORMAT}invalid protocol: RDMA"),
    (27, {"transfer_protocol": [None]}, f"{BAD_FORMAT}invalid protocol: "),
    (
        27,
        {"transfer_protocol": "ipc"},
        f"{BAD_JSON}transfer_protocol: found string, accepted: list of strings",
    ),
    (27, {"transfer_protocol": [1]}, f"{BAD_JSON}transfer_protocol[0]: found integer, accepted: string"),
    (29, {"device_ids": [1.5]}, f"{BAD_JSON}element 0: 1.5 not integer"),
    (29, {"device_ids": [0, True]}, f"{BAD_JSON}element 1: type bool unsupported"),
    (29, {"rdma_ports": [None]}, f"{BAD_JSON}element 0: type <nil> unsupported"),
    (29, {"rdma_ports": [{}]}, f"{BAD_JSON}element 0: type map[string]interface {{}} unsupported"),
    (29, {"rdma_ports": [[]]}, f"{BAD_JSON}element 0: type []interface {{}} unsupported"),
    (29, {"device_ids": "0,1"}, f"{BAD_JSON}device_ids: found string, accepted: list of integers or strings"),
    (29, {"device_ids": {}}, f"{BAD_JSON}device_ids: found object, accepted: list of integers or strings"),
    (30, {"metrics_port": 0}, f"{BAD_FORMAT}invalid metrics_port: 0"),
    (30, {"metrics_port": None}, f"{BAD_FORMAT}invalid metrics_port: 0"),
    (30, {"metrics_port": "x"}, f"{BAD_FORMAT}invalid metrics_port: x"),
    (37, {"tp_size": "4"}, f"{BAD_JSON}tp_size: found string, accepted: integer"),
    (37, {"tp_size": True}, f"{BAD_JSON}tp_size: found boolean, accepted: integer"),
    (0, {"cache_tokens": "4"}, f"{BAD_JSON}cache_tokens: found string, accepted: integer"),
    (0, {"endpoints": "/a"}, f"{BAD_JSON}endpoints: found string, accepted: list of strings"),
    (0, {"endpoints": ["a"]}, f"{BAD_FORMAT}invalid endpoint: a"),
    (0, {"endpoints": ["/a?b"]}, f"{BAD_FORMAT}invalid endpoint: /a?b"),
    (0, {"endpoints": ["/a"] * 65}, f"{BAD_FORMAT}more than 64 endpoints"),
    (0, {"cache_tokens": 0}, f"{BAD_FORMAT}invalid cache_tokens: 0"),
    (0, {"cache_tokens": -1}, f"{BAD_FORMAT}invalid cache_tokens: -1"),
]


@pytest.mark.parametrize(("case", "changes", "message"), MIXED_REFUSALS)
def test_refusals_in_mixed_mode(case: int, changes: dict[str, object], message: str) -> None:
    assert refusal(body(MIXED, **changes)) == message, case


@pytest.mark.parametrize("host", ["127.0.0.1", "http://127.0.0.1"])
def test_case_22_http_may_stand_before_the_address(host: str) -> None:
    assert mixed(host_ip=host).url == "http://127.0.0.1:8080"


def test_https_is_kept() -> None:
    assert mixed(host_ip="https://10.0.0.1").url == "https://10.0.0.1:8080"


@pytest.mark.parametrize("host", ["::1", "[::1]", "0:0:0:0:0:0:0:1", "http://::1", "http://[::1]"])
def test_ipv6_is_shown_with_brackets_and_is_one_worker(host: str) -> None:
    assert mixed(host_ip=host).url == "http://[::1]:8080"


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        (24, {"connector_port": "x"}, "invalid connector_port: x"),
        (24, {"connector_port": None}, "invalid connector_port: 0"),
        (24, {"connector_port": 0}, "invalid connector_port: 0"),
        (24, {"engine_worker_queue_port": "x"}, "invalid engine_worker_queue_port: x"),
        (24, {"engine_worker_queue_port": None}, "invalid engine_worker_queue_port: 0"),
        (26, {"rdma_ports": [7100, "bad"]}, "rdma_ports[1] invalid port: bad"),
        (26, {"rdma_ports": ["70000"]}, "rdma_ports[0] invalid port: 70000"),
        (26, {"rdma_ports": [""]}, "rdma_ports[0] invalid port: "),
    ],
)
def test_cases_24_26_transfer_ports_are_checked_in_pd_mode(
    case: int, changes: dict[str, object], message: str
) -> None:
    assert refusal(body(PREFILL, **changes), splitwise=True) == f"{BAD_FORMAT}{message}", case


@pytest.mark.parametrize(("sent", "kept"), [("x", "x"), (None, "0"), (0, "0"), ("", ""), (8200, "8200")])
def test_case_25_transfer_ports_are_not_checked_in_mixed_mode(sent: object, kept: str) -> None:
    instance = mixed(connector_port=sent, engine_worker_queue_port=sent, rdma_ports=["bad"])
    assert (instance.connector_port, instance.engine_worker_queue_port) == (kept, kept)
    assert instance.rdma_ports == ("bad",)


def test_empty_transfer_ports_are_not_sent_ones() -> None:
    instance = prefill(connector_port="", engine_worker_queue_port="")
    assert (instance.connector_port, instance.engine_worker_queue_port) == ("", "")


def test_case_28_device_ids_of_any_notation() -> None:
    assert to_item(mixed(device_ids=[0, "1", 2.0, "gpu7"]))["device_ids"] == ["0", "1", "2", "gpu7"]


def test_null_lists() -> None:
    item = to_item(mixed(rdma_ports=None, device_ids=None, transfer_protocol=None))
    assert (item["rdma_ports"], item["device_ids"], item["transfer_protocol"]) == ([], [], None)


@pytest.mark.parametrize(
    ("sent", "kept"), [(ABSENT, "8080"), ("", "8080"), (9090, "9090"), ("09090", "9090")]
)
def test_case_30_metrics_port_is_the_port_by_default(sent: object, kept: str) -> None:
    assert mixed(metrics_port=sent).metrics_port == kept


@pytest.mark.parametrize(
    "raw", [b"invalid json", b"", b"[]", b"5", b'"x"', b"{", b'{"role":NaN}', b"\xff", b"{} {}"]
)
def test_case_31_bodies_that_are_no_object(raw: bytes) -> None:
    assert refusal(raw).startswith(BAD_JSON)


def test_case_31_null_is_an_instance_without_fields() -> None:
    assert refusal(b"null") == f"{BAD_FORMAT}role is required"


@pytest.mark.parametrize("raw", [b"[" * 60_000, b'{"role":' * 7_000])
def test_deep_nesting_is_refused(raw: bytes) -> None:
    assert refusal(raw).startswith(BAD_JSON)


def test_bodies_are_bounded() -> None:
    raw = body(MIXED, device_ids=["x" * MAX_BODY_BYTES])
    assert refusal(raw) == f"{BAD_JSON}{len(raw)} bytes, accepted: up to {MAX_BODY_BYTES}"


def test_case_37_unknown_fields_and_tp_size() -> None:
    assert to_item(mixed(tp_size=4, brand_new={"a": [1]}))["tp_size"] == 4


def test_size_of_the_cache_is_shown_where_it_was_sent() -> None:
    sent = mixed(cache_tokens=5000)
    assert (sent.cache_tokens, list(to_item(sent))[-1]) == (5000, "cache_tokens")
    assert mixed(cache_tokens=None) == mixed()
    assert "cache_tokens" not in to_item(mixed())


def test_keys_are_taken_in_any_case_and_the_last_one_wins() -> None:
    raw = b'{"ROLE":"mixed","Host_IP":"127.0.0.1","port":1,"PORT":8080}'
    assert parse_instance(raw, splitwise=False) == mixed()


def test_leading_zeros_do_not_make_a_second_worker() -> None:
    assert mixed(port="018101").url == mixed(port=18101).url == "http://127.0.0.1:18101"


CHECKS_IN_ORDER = [
    ("role", "foo", "prefill", "invalid role: foo"),
    ("host_ip", "localhost", "127.0.0.1", "invalid host_ip: localhost"),
    ("port", "0", 1, "invalid port: 0"),
    ("connector_port", "c", 2, "invalid connector_port: c"),
    ("engine_worker_queue_port", "q", 3, "invalid engine_worker_queue_port: q"),
    ("transfer_protocol", ["tcp"], ["ipc"], "invalid protocol: tcp"),
    ("rdma_ports", ["r"], [4], "rdma_ports[0] invalid port: r"),
    ("metrics_port", "m", 5, "invalid metrics_port: m"),
]


def test_checks_come_in_the_order_of_upstream() -> None:
    fields: dict[str, object] = {name: bad for name, bad, _, _ in reversed(CHECKS_IN_ORDER)}
    for name, _, good, message in CHECKS_IN_ORDER:
        assert refusal(json.dumps(fields).encode(), splitwise=True) == f"{BAD_FORMAT}{message}"
        fields[name] = good
    assert parse_instance(json.dumps(fields).encode(), splitwise=True).port == 1


def test_decoding_comes_before_checks_and_checks_before_the_mode() -> None:
    assert refusal(body(MIXED, role="foo", tp_size="4")).startswith(BAD_JSON)
    assert refusal(body(MIXED, role="prefill", port=0)) == f"{BAD_FORMAT}invalid port: 0"


def test_first_wrong_type_is_named() -> None:
    assert refusal(b'{"tp_size":"x","role":7}').startswith(f"{BAD_JSON}tp_size")
    assert refusal(b'{"role":7,"tp_size":"x"}').startswith(f"{BAD_JSON}invalid role integer")


def test_item_has_the_keys_in_order() -> None:
    sent = {
        "connector_port": 1,
        "engine_worker_queue_port": 2,
        "transfer_protocol": ["ipc", "rdma"],
        "rdma_ports": [3, "4"],
        "device_ids": [0],
        "metrics_port": 5,
        "tp_size": 2,
    }
    assert list(to_item(prefill(**sent)).items()) == [
        ("url", "http://127.0.0.1:8080"),
        ("worker_type", "prefill"),
        ("connector_port", "1"),
        ("engine_worker_queue_port", "2"),
        ("transfer_protocol", ["ipc", "rdma"]),
        ("rdma_ports", ["3", "4"]),
        ("device_ids", ["0"]),
        ("metrics_port", "5"),
        ("tp_size", 2),
    ]


def test_item_of_the_least_that_registers() -> None:
    assert list(to_item(mixed()).values()) == [
        "http://127.0.0.1:8080", "mixed", "", "", None, None, None, "8080", 0,
    ]  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(Fields.__slots__), JSON) | JSON, st.booleans())
def test_anything_is_an_instance_or_a_400(sent: object, splitwise: bool) -> None:
    try:
        instance = instance_from_mapping(sent, splitwise=splitwise)
    except RegistrationError as error:
        status = error.status
    else:
        status = 200
        assert parse_instance(json.dumps(sent).encode(), splitwise=splitwise) == instance
    assert status in (200, 400)


@given(st.binary(max_size=100), st.booleans())
def test_any_bytes_are_an_instance_or_a_400(raw: bytes, splitwise: bool) -> None:
    with pytest.raises(RegistrationError) as caught:
        parse_instance(raw, splitwise=splitwise)
    assert caught.value.status == 400


def test_register_file_has_the_same_fields_and_rules() -> None:
    text = """
    instances:
      - {role: MIXED, host_ip: 127.0.0.1, port: "08080", unknown: 1}
      - {role: mixed, host_ip: '::1', port: 018101}
      - {role: mixed, host_ip: 127.0.0.1, port: 80:80}
      - 5
    """
    first, second, third, fourth = load_register_file(text)
    assert instance_from_mapping(first, splitwise=False) == mixed()
    assert instance_from_mapping(second, splitwise=False).url == "http://[::1]:18101"
    for entry, message in (
        (third, f"{BAD_FORMAT}invalid port: 80:80"),
        (fourth, f"{BAD_JSON}found int, accepted: object"),
    ):
        with pytest.raises(RegistrationError) as caught:
            instance_from_mapping(entry, splitwise=False)
        assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", "instances:", "other: 1", "instances: []"])
def test_register_file_without_instances(text: str) -> None:
    assert load_register_file(text) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "the file: accepted: mapping with the key instances"),
        ("instances: {a: 1}", "instances: accepted: list of mappings"),
        (
            "instances: [",
            "yaml: line 1: while parsing a flow node, expected the node content, but found '<stream end>'",
        ),
        ("instances: [{port: 1, port: 2}]", 'yaml: line 1: key "port" is there twice'),
        (
            "instances: !!python/object:os.system []",
            "yaml: line 1: could not determine a constructor for the tag",
        ),
    ],
)
def test_register_file_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_register_file(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("raw", "url"),
    [
        (b'{"url":"http://127.0.0.1:8080"}', "http://127.0.0.1:8080"),
        (b'{"url":"127.0.0.1:8080/"}', "http://127.0.0.1:8080"),
        (b'{"url":"https://[::1]:08080"}', "https://[::1]:8080"),
        (b'{"host_ip":"127.0.0.1","port":8080}', "http://127.0.0.1:8080"),
        (b'{"host_ip":"::1","port":"8080","role":"mixed"}', "http://[::1]:8080"),
        (b'{"host_ip":"https://10.0.0.1","port":1}', "https://10.0.0.1:1"),
    ],
)
def test_unregister_names_the_worker_as_registration_does(raw: bytes, url: str) -> None:
    assert unregister_url(raw) == url


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"x", b"[]", b"null", b"{}", b'{"url":""}', b'{"url":5}', b'{"url":"http://localhost:1"}',
        b'{"url":"http://1.2.3.4"}', b'{"url":"http://1.2.3.4:0"}', b'{"host_ip":"1.2.3.4"}', b'{"port":[]}',
    ],
)  # fmt: skip
def test_unregister_without_a_worker(raw: bytes) -> None:
    with pytest.raises(RegistrationError) as caught:
        unregister_url(raw)
    assert caught.value.status == 400


def test_one_that_serves_endpoints_by_itself_needs_no_pair() -> None:
    alone = {"role": "mixed", "host_ip": "10.0.0.1", "port": 8000, "connector_port": None}
    with pytest.raises(RegistrationError, match="invalid connector_port: 0"):
        instance_from_mapping(alone, splitwise=True)
    taken = instance_from_mapping({**alone, "endpoints": ["/tokenize"]}, splitwise=True)
    assert (taken.role, taken.endpoints) == ("mixed", ("/tokenize",))
    assert to_item(taken)["endpoints"] == ["/tokenize"]
    assert "endpoints" not in to_item(mixed())
