"""The roots for everything that is not the relay."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from typing import TYPE_CHECKING

import pytest

from fd_router.errors import ConfigError
from fd_router.upstream.trust import Trust
from rig.certificates import Authority

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def names(context: ssl.SSLContext) -> list[str]:
    return [str(dict(pair[0] for pair in root["subject"])["commonName"]) for root in context.get_ca_certs()]  # type: ignore[misc]


def test_another_file_is_another_set_and_all_are_told(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    first, second = Authority(tmp_path / "1", "first"), Authority(tmp_path / "2", "second")
    ca.write_bytes(first.root.read_bytes())
    told: list[str] = []

    async def run() -> None:
        trust = Trust(str(ca))
        trust.on_change(lambda: told.append("changed"))
        context = await trust.context()
        assert names(context) == ["first"]
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        await trust.round()
        assert await trust.context() is context
        # While a new version is put there, none may be for a moment.
        ca.unlink()
        await trust.round()
        assert await trust.context() is context
        assert told == []
        ca.write_bytes(first.root.read_bytes() + second.root.read_bytes())
        await trust.round()
        assert sorted(names(await trust.context())) == ["first", "second"]

    asyncio.run(run())
    assert told == ["changed"]


def test_the_file_of_the_environment_counts_where_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path / "1", "environment").root))
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert names(asyncio.run(Trust().context())) == ["environment"]
    named = Authority(tmp_path / "2", "named").root
    assert names(asyncio.run(Trust(str(named)).context())) == ["named"]


def test_a_file_without_certificates_is_told(tmp_path: Path) -> None:
    for content in ("", "nonsense"):
        (tmp_path / "ca.pem").write_text(content)
        with pytest.raises(ConfigError, match=r"upstream\.ca-file: .*ca\.pem"):
            Trust(str(tmp_path / "ca.pem")).check()
    with pytest.raises(ConfigError, match=r"upstream\.ca-file: .*none\.pem.*No such file"):
        Trust("/none.pem").check()
    Trust().check()
