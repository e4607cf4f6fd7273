"""What `--check` and a reload ask: all for which the router would not start, or not as the configuration reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fd_router.config import Notice, load_register_file
from fd_router.edge.routes import table
from fd_router.errors import ConfigError, RegistrationError
from fd_router.fleet.registration import instance_from_mapping, with_host
from fd_router.process import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fd_router.config import Config


def findings(config: Config, notices: Iterable[Notice]) -> Iterator[Notice]:
    """The notices of loading, files for which the start would be refused, then what the static registrations would be
    refused for."""
    yield from notices
    for refusal in files.problems(config):
        yield Notice("ERROR", str(refusal))
    try:
        table(config.server.extra_paths)
    except ConfigError as error:
        yield Notice("ERROR", str(error))
    path = config.manager.register_path
    if path:
        for problem in _register_file(path, splitwise=config.server.splitwise):
            yield Notice("ERROR", f"manager.register-path: {path}: {problem}")


def _register_file(path: str, *, splitwise: bool) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            entries = load_register_file(file.read())
    except (OSError, ConfigError) as error:
        yield str(error)
        return
    for index, entry in enumerate(entries):
        try:
            # Where a name leads to is known when it is wanted.
            instance_from_mapping(with_host(entry, "127.0.0.1"), splitwise=splitwise)
        except RegistrationError as error:
            yield f"index {index}: {error}"
