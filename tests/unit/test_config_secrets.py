"""Keys in the configuration: in the file, in the environment, in a file of their own; and never in what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fd_router.config import Config, effective_yaml, load_config
from fd_router.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def load(folder: Path, server: str, manager: str = "") -> Config:
    path = folder / "config.yaml"
    path.write_text(f"server:\n  port: 1\n  {server}\nmanager:\n  {manager}\n")
    return load_config(str(path), port=None, splitwise=False)[0]


def refusal(folder: Path, server: str, manager: str = "") -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, server, manager)
    return str(caught.value)


def values(config: Config) -> list[str]:
    return [key.value for key in config.server.api_keys]


def test_keys_from_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_KEY", "from-env")
    (tmp_path / "keys").write_text("# teams\nfile-1\n\n  file-2  \n")
    config = load(tmp_path, f'api-keys: [plain, "${{CLIENT_KEY}}", "file:{tmp_path}/keys", 123, plain]')
    assert values(config) == ["plain", "from-env", "file-1", "file-2", "123"]
    (tmp_path / "token").write_text("t0\n")
    config = load(tmp_path, "admin-key: ${CLIENT_KEY}", f"register-token: file:{tmp_path}/token")
    assert (config.server.admin_key.value, config.manager.register_token.value) == ("from-env", "t0")


def test_what_is_shown_has_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT_KEY", "sesame-env")
    (tmp_path / "keys").write_text("sesame-1\nsesame-2\n")
    config = load(
        tmp_path,
        f'api-keys: [sesame-yaml, "${{CLIENT_KEY}}", "file:{tmp_path}/keys"]',
        "register-token: sesame-yaml",
    )
    shown = effective_yaml(config)
    assert "sesame" not in shown + repr(config) + str(config)
    assert "${CLIENT_KEY}" in shown
    assert f"file:{tmp_path}/keys" in shown
    # What is hidden is no key itself: the shown configuration does not start with another one than was meant.
    (tmp_path / "config.yaml").write_text(shown)
    with pytest.raises(ConfigError, match=r"server\.api-keys .*a value that is not shown"):
        load_config(str(tmp_path / "config.yaml"), port=None, splitwise=False)


@pytest.mark.parametrize(
    ("server", "said"),
    [
        ("admin-key: ${NOT_SET}", "server.admin-key (line 3): ${NOT_SET} is not set in the environment"),
        (
            "admin-key: file:/none",
            "server.admin-key (line 3): file:/none cannot be read: no such file or dir",
        ),
        ('admin-key: "sesame open"', "found a value that is not shown, accepted: visible ASCII"),
        ("admin-key: [sesame]", "found a value that is not shown"),
        ("api-keys: sesame", "server.api-keys (line 3): found a value that is not shown, accepted: list"),
        ('api-keys: [""]', "server.api-keys (line 3): found a value that is not shown"),
        ("api-keys: [ok, {sesame: 1}]", "found a value that is not shown"),
        (
            "trusted-proxies: [10.0.0.1/8]",
            'server.trusted-proxies (line 3): found "10.0.0.1/8", accepted: network',
        ),
        ("trusted-proxies: [nowhere]", "server.trusted-proxies (line 3)"),
        ("tls-cert: /c", "server.tls-cert: needs server.tls-key"),
        ("tls-key: /k", "server.tls-key: needs server.tls-cert"),
        ("tls-client-ca: /k", "server.tls-client-ca: needs server.tls-cert and server.tls-key"),
        ("admin-port: 1", "server.admin-port: 1 is server.port"),
        ("admin-port: 70000", "server.admin-port (line 3): found 70000"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, server: str, said: str) -> None:
    message = refusal(tmp_path, server)
    assert said in message
    assert "sesame" not in message


def test_a_file_of_many_keys_is_no_single_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("a\nb\n")
    assert "holds 2 keys, accepted: one" in refusal(tmp_path, f"admin-key: file:{tmp_path}/keys")
    (tmp_path / "keys").write_text("# none\n")
    assert "holds no key" in refusal(tmp_path, f"api-keys: ['file:{tmp_path}/keys']")
    (tmp_path / "keys").write_text("two words\n")
    assert "a value that is not shown" in refusal(tmp_path, f"api-keys: ['file:{tmp_path}/keys']")


def test_a_file_of_keys_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    """The rest of a key that was cut would open too."""
    (tmp_path / "keys").write_text("#" * 65_534 + "\nsesame\n")
    said = refusal(tmp_path, f'api-keys: ["file:{tmp_path}/keys"]')
    assert said.endswith(f"file:{tmp_path}/keys is larger than 65536 bytes")
    (tmp_path / "keys").write_text("#" * 65_528 + "\nsesame\n")
    assert values(load(tmp_path, f'api-keys: ["file:{tmp_path}/keys"]')) == ["sesame"]


def test_networks(tmp_path: Path) -> None:
    config = load(tmp_path, "trusted-proxies: [10.0.0.0/8, 127.0.0.1]", "allowed-networks: [fd00::/8]")
    assert config.server.trusted_proxies == ("10.0.0.0/8", "127.0.0.1/32")
    assert config.manager.allowed_networks == ("fd00::/8",)
    said = refusal(tmp_path, "splitwise: false", "allowed-networks: [10.0.0.0/33]")
    assert 'manager.allowed-networks (line 5): found "10.0.0.0/33", accepted: network' in said
