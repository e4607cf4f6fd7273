"""Router for LLM inference fleets: a drop-in for FastDeploy's Go router."""

from fd_router._core import __version__

__all__ = ["__version__"]
