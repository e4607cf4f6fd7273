"""Prometheus metrics: what is counted, and the text that `/metrics` answers."""

from fd_router.observe.metrics.families import FAMILIES, Family, markdown_table
from fd_router.observe.metrics.metrics import Metrics
from fd_router.observe.metrics.text import CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "FAMILIES", "Family", "Metrics", "markdown_table"]
