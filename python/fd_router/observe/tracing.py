"""Spans of requests, by OpenTelemetry's own SDK. The one file that knows it, imported only where `log.tracing` is on.

Where spans go, how many are taken and what the service is called is said by the environment, in `OTEL_*` variables.
A thread of the SDK sends them, out of a queue that is bounded (`OTEL_BSP_MAX_QUEUE_SIZE`); what it complains of is a
line of our log.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from fd_router.observe.logs import messages

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from fd_router.observe.logs import Log
    from fd_router.types import Headers

CLOSE_SECS = 2.0
"""How long the last spans may take to their collector when the router ends."""
_W3C = TraceContextTextMapPropagator()
_FIELDS = (b"traceparent", b"tracestate")


class Tracing:
    """Makes the spans of requests, from construction to `close`."""

    def __init__(self, log: Log) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.propagate = False
        logger.addHandler(_Complaints(log))
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "fd-router"}))
        # Ended by `close`, which knows a limit.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("fd_router")

    def request(self, name: str, headers: Headers, attributes: dict[str, str]) -> Trace:
        """Begin the span of a request, within the span that its `traceparent` names."""
        carrier = {key.decode(): value.decode("latin-1") for key, value in headers if key in _FIELDS}
        context = _W3C.extract(carrier)
        return Trace(
            self._tracer, self._tracer.start_span(name, context, SpanKind.SERVER, attributes=attributes)
        )

    def close(self) -> None:
        """Send what is left, for at most `CLOSE_SECS`. Blocks."""
        # The SDK's own limits are longer, and a collector that hangs must not hold the router.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSE_SECS)


class Part:
    """One span. Whatever is told of it after its end is lost, without a word: of that the SDK would complain."""

    def __init__(self, span: Span) -> None:
        self._span = span

    def tell(self, **facts: str | int | None) -> None:
        """Add what is known, as `fd_router.NAME`."""
        for name, value in facts.items():
            if value is not None and self._span.is_recording():
                self._span.set_attribute(f"fd_router.{name}", value)

    def answered(self, status: int) -> None:
        """It has an answer."""
        if self._span.is_recording():
            self._span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self.failed(str(status))

    def failed(self, why: str) -> None:
        """It did not come to what it should."""
        if self._span.is_recording():
            self._span.set_attribute("error.type", why)
            self._span.set_status(Status(StatusCode.ERROR))

    def event(self, name: str) -> None:
        """Something happened just now."""
        if self._span.is_recording():
            self._span.add_event(name)

    def carried(self, headers: Headers) -> Headers:
        """Headers by which whoever gets them makes spans within this one."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(self._span))
        return [pair for pair in headers if pair[0] not in _FIELDS] + [
            (name.encode(), value.encode()) for name, value in carrier.items()
        ]

    def end(self) -> None:
        """It is over. Idempotent."""
        if self._span.is_recording():
            self._span.end()


class Trace(Part):
    """The span of a request, and what belongs into it."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        super().__init__(span)
        self._tracer = tracer
        self._context = set_span_in_context(span)

    def choice(self) -> Part:
        """Begin the span of a choice of a worker."""
        return Part(self._tracer.start_span("select", self._context))

    def attempt(self, url: str) -> Part:
        """Begin the span of one send to a worker."""
        attributes = {"url.full": url}
        return Part(self._tracer.start_span("attempt", self._context, SpanKind.CLIENT, attributes=attributes))


class _Complaints(logging.Handler):
    """Writes what the SDK says to our log, where it would be a condition that lasts."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One complaint."""
        if self._log.lasting.met("spans cannot be handed over", events=True):
            self._log.warn(messages.spans_lost(record.getMessage()))
