"""Errors as types: each knows its HTTP status, a stable code, which side failed, and whether a retry is safe."""

from __future__ import annotations

from typing import ClassVar, Literal

Side = Literal["client", "router", "upstream"]


def printable(text: str) -> str:
    """Text of others as it may stand in a message: what cannot be printed is escaped, so it stays on one line."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else escaped(char) for char in text)


def escaped(char: str) -> str:
    """One character as Python escapes it: `\\n`, `\\x5d`, `\\ud800`."""
    code = char.encode("unicode_escape").decode("ascii")
    return code if code not in (char, "\\\\") else f"\\x{ord(char):02x}"


class RouterError(Exception):
    """Root of everything the router raises on purpose. `str()` is the message for the client and the log."""

    status: int = 500
    code: ClassVar[str] = "internal"
    side: ClassVar[Side] = "router"
    retry_safe: ClassVar[bool] = False
    """Whether nobody has worked on the request, so that sending it again is safe: the answer says `Retry-After`."""
    headers: ClassVar[tuple[tuple[bytes, bytes], ...]] = ()
    """What else the answer's head says."""


SHOWN_MODEL = 256
"""Characters of a model's name that an answer or a log line shows."""


class ConfigError(RouterError):
    """A configuration that cannot be used: the key path, what is wrong and what is accepted."""

    code = "config"


class BadRequestError(RouterError):
    """The client's request cannot be read."""

    status = 400
    code = "bad_request"
    side = "client"


class BodyTooLargeError(BadRequestError):
    """The client's body is over the limit."""

    status = 413
    code = "body_too_large"


class RequestTimeoutError(BadRequestError):
    """The client's body did not come in time."""

    status = 408
    code = "request_timeout"


class UnsupportedCodingError(BadRequestError):
    """The client's body is compressed; the router must read it."""

    status = 415
    code = "unsupported_coding"
    headers = ((b"accept-encoding", b"identity"),)


class NotFoundError(RouterError):
    """There is no such endpoint. Said in JSON where `server.error-format` is `openai`."""

    status = 404
    code = "not_found"
    side = "client"


class UnknownRequestError(RouterError):
    """No decision is kept about a request of this id."""

    status = 404
    code = "unknown_request"
    side = "client"


class ClientGoneError(RouterError):
    """The client left before it was answered; 499 stands in logs and metrics only.

    One whose body breaks off is answered with 400 all the same: it may have closed its own direction only.
    """

    status = 499
    code = "client_gone"
    side = "client"

    def __init__(self, phase: Literal["waiting", "answer"]) -> None:
        super().__init__(_LEFT[phase])
        self.phase = phase


_LEFT = {
    "waiting": "left before it was answered",
    "answer": "left while it was being answered",
}


class RegistrationError(RouterError):
    """An instance is refused; `status` is that of the answer."""

    code = "registration"
    side = "client"

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ReloadError(RouterError):
    """A reload is refused: the configuration cannot be used, and the old one stays in force."""

    status = 400
    code = "reload"
    side = "client"


class UnauthorizedError(RouterError):
    """The request lacks the key that its endpoint asks for."""

    status = 401
    code = "unauthorized"
    side = "client"
    headers = ((b"www-authenticate", b"Bearer"),)


class ForeignPageError(RouterError):
    """A web page of another site asks a browser to send an order, where no key is asked for."""

    status = 403
    code = "foreign_page"
    side = "client"


class UndecodableError(RegistrationError):
    """An instance is refused because it cannot be read at all."""


class UnknownWorkerError(RouterError):
    """An order is about a worker that is not registered."""

    status = 404
    code = "unknown_worker"
    side = "client"


class OrderConflictError(RouterError):
    """An order does not fit to the one that is in force."""

    status = 409
    code = "order_conflict"
    side = "client"


class ModelNotFoundError(RouterError):
    """Nobody serves the model that the request asks for. Its answer has OpenAI's shape, whatever others have."""

    status = 404
    code = "model_not_found"
    side = "client"

    def __init__(self, model: str) -> None:
        super().__init__(f"The model `{printable(model[:SHOWN_MODEL])}` does not exist: no worker serves it")

    def payload(self) -> dict[str, object]:
        """The answer."""
        error = {"message": str(self), "type": "invalid_request_error", "param": "model", "code": self.code}
        return {"error": error}


class NoWorkerError(RouterError):
    """Mixed mode has no worker."""

    status = 502
    code = "no_worker"
    retry_safe = True


class NoPairError(RouterError):
    """PD mode lacks a prefill or a decode worker."""

    status = 503
    code = "no_pair"
    retry_safe = True


class EndpointUnservedError(RouterError):
    """PD mode has no worker that says of itself that it serves the endpoint."""

    status = 501
    code = "endpoint_unserved"


class OverloadedError(RouterError):
    """A limit of the router is reached."""

    status = 503
    code = "overloaded"
    retry_safe = True


class CrowdedError(OverloadedError):
    """More connections ask for something than are served; this one had better end."""

    headers = ((b"connection", b"close"),)


DRAINING = "router is shutting down"
"""What clients are told whose requests the end of the router cuts short or does not take any more."""


class DrainingError(RouterError):
    """The router is about to end."""

    status = 503
    code = "draining"
    retry_safe = True


class BadGatewayError(RouterError):
    """No worker could be made to answer, and the client has seen nothing."""

    status = 502
    code = "bad_gateway"
    side = "upstream"


class GatewayTimeoutError(RouterError):
    """No worker answered in time, and the client has seen nothing."""

    status = 504
    code = "gateway_timeout"
    side = "upstream"


class LoopError(RouterError):
    """The request came from this router: it is registered at itself, or at one that it sends to."""

    status = 508
    code = "loop"


class PairBuildError(RouterError):
    """A chosen worker is not in the registry."""

    code = "pair_build"
