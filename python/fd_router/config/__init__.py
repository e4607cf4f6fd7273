"""Configuration: one schema, and all that follows from it."""

from fd_router.config.load import Notice, load_config
from fd_router.config.register_file import load_register_file
from fd_router.config.reload import Changes, changes
from fd_router.config.render import effective_yaml, example_yaml, fingerprint, markdown_table
from fd_router.config.schema import (
    POLICIES,
    SECTIONS,
    ClusterConfig,
    Config,
    LogConfig,
    ManagerConfig,
    SchedulerConfig,
    ServerConfig,
    UpstreamConfig,
)
from fd_router.config.setting import Secret

__all__ = [
    "POLICIES",
    "SECTIONS",
    "Changes",
    "ClusterConfig",
    "Config",
    "LogConfig",
    "ManagerConfig",
    "Notice",
    "SchedulerConfig",
    "Secret",
    "ServerConfig",
    "UpstreamConfig",
    "changes",
    "effective_yaml",
    "example_yaml",
    "fingerprint",
    "load_config",
    "load_register_file",
    "markdown_table",
]
