"""Where workers may be, and the one spelling of their addresses."""

from __future__ import annotations

import pytest

from fd_router.errors import RegistrationError
from fd_router.fleet.networks import Networks
from fd_router.fleet.registration import instance_from_mapping, unregister_url


def refusal(host: str, *allowed: str) -> str | None:
    instance = instance_from_mapping({"role": "mixed", "host_ip": host, "port": 1}, splitwise=False)
    try:
        Networks(allowed).require(instance)
    except RegistrationError as error:
        return f"{error.status} {error}"
    return None


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "0.0.0.1",
        "::ffff:0.0.0.1",
    ],
)
def test_some_addresses_are_always_refused(host: str) -> None:
    for allowed in ([], ["0.0.0.0/0", "::/0"]):
        said = refusal(host, *allowed)
        assert said is not None
        assert said.startswith("403 host_ip ")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "192.0.2.1", "::1", "2001:db8::1", "0.0.0.0", "::"]
)
def test_others_are_free_where_nothing_is_said(host: str) -> None:
    assert refusal(host) is None


def test_only_what_is_allowed() -> None:
    assert refusal("127.0.0.1", "127.0.0.0/31") is None
    assert "manager.allowed-networks" in (refusal("127.0.0.5", "127.0.0.0/31") or "")
    assert refusal("::1", "127.0.0.0/31")
    assert refusal("fd00::5", "127.0.0.0/31", "fd00::/64") is None
    assert refusal("0.0.0.0", "10.0.0.0/8"), "it would be loopback"


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "[::ffff:7f00:1]", "::ffff:0.0.0.0"]
)
def test_a_machine_has_one_spelling(host: str) -> None:
    instance = instance_from_mapping({"role": "mixed", "host_ip": host, "port": 80}, splitwise=False)
    assert instance.url == "http://127.0.0.1:80"
    assert unregister_url(f'{{"host_ip": "{host}", "port": 80}}'.encode()) == instance.url


def test_the_unspecified_address_of_ipv6_is_its_loopback() -> None:
    instance = instance_from_mapping({"role": "mixed", "host_ip": "::", "port": 80}, splitwise=False)
    assert instance.url == "http://[::1]:80"
