"""The YAML file of static workers that `manager.register-path` names."""

from __future__ import annotations

from fd_router.config.document import construct
from fd_router.errors import ConfigError


def load_register_file(text: str | bytes) -> list[object]:
    """The entries under `instances:`, as they are, for `registration.instance_from_mapping`; `[]` if none.

    Raises `ConfigError` for what is not YAML, or has no list there.
    """
    document = construct(text)
    if document is None:
        return []
    if not isinstance(document, dict):
        raise ConfigError("the file: accepted: mapping with the key instances")
    instances = document.get("instances")
    if instances is None:
        return []
    if not isinstance(instances, list):
        raise ConfigError("instances: accepted: list of mappings")
    return instances
