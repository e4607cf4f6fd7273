"""The endpoints of engines that requests go to, and where each has what a policy looks at.

Those of vLLM and sglang are here under the paths that these have, with `/v1` and without it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Reading: TypeAlias = Literal["chat", "prompt", "texts", "json", "form", "any"]
"""How a body is read; see `READINGS`."""

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
MESSAGES = "/v1/messages"

SERVED: dict[str, Reading] = {
    CHAT: "chat",
    COMPLETIONS: "prompt",
    "/v1/responses": "texts",
    MESSAGES: "texts",
    "/generate": "texts",
    "/v1/embeddings": "texts",
    "/pooling": "texts",
    "/v1/reward": "texts",
    "/v1/rerank": "texts",
    "/rerank": "texts",
    "/v1/score": "texts",
    "/score": "texts",
    "/tokenize": "json",
    "/v1/tokenize": "json",
    "/detokenize": "json",
    "/v1/detokenize": "json",
    "/v1/messages/count_tokens": "json",
    "/v1/audio/transcriptions": "form",
}

READINGS: dict[Reading, str] = {
    "chat": "`messages` and `tools`",
    "prompt": "`prompt`",
    "texts": "`input`, `text`, `system` and `messages`, `query` and `documents`, ...",
    "json": "nothing: it leaves nothing in an engine's cache, and goes by load",
    "form": "nothing: a form is not looked into but for its `model`, and goes by load",
}
"""Where the text of a prompt is looked for. `any`, of `server.extra-paths`, is whatever it can be read as."""

PAIRED = frozenset[Reading]({"chat", "prompt"})
"""What a prefill and a decode worker serve together in PD mode."""
