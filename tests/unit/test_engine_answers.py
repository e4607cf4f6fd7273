"""What engines say in JSON, and the router says again."""

from __future__ import annotations

import orjson
import pytest

from fd_router.upstream.engines import EngineError, parsed


@pytest.mark.parametrize("depth", [1, 100, 240])
def test_what_can_be_said_again(depth: int) -> None:
    said = parsed(b"[" * depth + b"]" * depth)
    assert orjson.dumps({"workers": [{"answer": said}]})


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 254 + b"]" * 254, b"[" * 1000 + b"]" * 1000])
def test_what_cannot(content: bytes) -> None:
    with pytest.raises(EngineError, match="answer is n"):
        parsed(content)
