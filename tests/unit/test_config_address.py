"""The URL of the server that replicas share through: what is read of it, and that nothing of it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fd_router.config import effective_yaml, load_config
from fd_router.config.address import Address, parse
from fd_router.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("valkey://h", Address("h", 6379, "", "", 0, False)),
        ("redis://h:1/3", Address("h", 1, "", "", 3, False)),
        ("valkeys://[::1]:7", Address("::1", 7, "", "", 0, True)),
        ("rediss://u:p%40%2F@h", Address("h", 6379, "u", "p@/", 0, True)),
        ("valkey://:p@h", Address("h", 6379, "", "p", 0, False)),
        (
            "rediss://h?ca-file=/a&cert-file=/b&key-file=/c",
            Address("h", 6379, "", "", 0, True, "/a", "/b", "/c"),
        ),
    ],
)
def test_what_is_read(url: str, address: Address) -> None:
    assert parse(url) == address
    assert "p@/" not in f"{address} {address!r}"


BAD = [
    "http://sesame",
    "sesame",
    "valkey://",
    "valkey://:sesame@:6379",
    "valkey://sesame:0",
    "valkey://sesame:99999",
    "valkey://:sesame@h/x",
    "valkey://:sesame@h/-1",
    "valkey://:sesame@h?ca-file=/a",
    "valkeys://:sesame@h?cert-file=/a",
    "valkeys://:sesame@h?timeout=1",
    "valkeys://:sesame@h#x",
    "valkey://:sesame@[h",
]


@pytest.mark.parametrize("url", BAD)
def test_what_is_not(tmp_path: Path, url: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"server: {{port: 1}}\ncluster:\n  url: '{url}'\n")
    with pytest.raises(ConfigError) as caught:
        load_config(str(path), port=None, splitwise=False)
    message = str(caught.value)
    assert "cluster.url (line 3): found (not shown): " in message
    assert "accepted: valkey://, redis://" in message
    assert "sesame" not in message


def test_it_is_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("server: {port: 1}\ncluster: {url: 'valkey://:sesame@h'}\n")
    shown = effective_yaml(load_config(str(path), port=None, splitwise=False)[0])
    assert "sesame" not in shown
    assert "url: (not shown)" in shown
    monkeypatch.setenv("CLUSTER_URL", "valkey://:sesame@h")
    path.write_text("server: {port: 1}\ncluster: {url: '${CLUSTER_URL}', name: a.b-c_1}\n")
    config = load_config(str(path), port=None, splitwise=False)[0]
    assert parse(config.cluster.url.value).password == "sesame"
    assert "url: ${CLUSTER_URL}" in effective_yaml(config)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{a}", "x" * 65])
def test_names(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"server: {{port: 1}}\ncluster: {{name: '{name}'}}\n")
    if not name:
        assert load_config(str(path), port=None, splitwise=False)[0].cluster.name == "default"
        return
    with pytest.raises(ConfigError, match=r"cluster\.name .*accepted: 1 to 64 of"):
        load_config(str(path), port=None, splitwise=False)
