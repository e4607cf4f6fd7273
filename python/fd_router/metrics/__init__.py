"""Prometheus metrics: what is counted, and the text that `/metrics` answers."""

from fd_router.metrics.families import FAMILIES, Family, markdown_table
from fd_router.metrics.metrics import ENDPOINTS, METHODS, Metrics
from fd_router.metrics.text import CONTENT_TYPE

__all__ = ["CONTENT_TYPE", "ENDPOINTS", "FAMILIES", "METHODS", "Family", "Metrics", "markdown_table"]
