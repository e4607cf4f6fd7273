"""The command `fd-router`: flags and start errors as the Go router has them, and `simulate`."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from fd_router.cli import flags
from fd_router.cli.version import version_block
from fd_router.config import Config, Notice, effective_yaml, load_config
from fd_router.errors import ConfigError, RouterError
from fd_router.process.check import findings

if TYPE_CHECKING:
    from fd_router.cli.flags import Options


def main() -> None:
    """Parse the command line, then serve, or do what a flag asks for. Exits 0, 1 (start error) or 2 (usage)."""
    if sys.argv[1:2] == ["simulate"]:
        # Imported late, as the server is.
        from fd_router.simulate.command import main as simulate  # noqa: PLC0415

        simulate(sys.argv[2:])
        return
    try:
        options = flags.parse(sys.argv[1:])
    except flags.FlagError as error:
        print(f"{error}\n{flags.usage()}", file=sys.stderr)
        sys.exit(2)
    if options.help:
        print(flags.usage())
    elif options.version:
        print(version_block())
    elif options.check:
        _check(*_load(options))
    else:
        _serve(options)


def _load(options: Options) -> tuple[Config, list[Notice]]:
    try:
        return _loader(options)()
    except ConfigError as error:
        _fatal(f"Failed to load config: {error}")


def _loader(options: Options) -> partial[tuple[Config, list[Notice]]]:
    """What reads the file, with the flags over it; a reload does so again."""
    return partial(load_config, options.config_path, port=options.port, splitwise=options.splitwise)


def _serve(options: Options) -> None:
    config, notices = _load(options)
    # Imported late: the other flags answer without loading a server.
    from fd_router.process.server import run  # noqa: PLC0415

    try:
        run(config, notices, _loader(options))
    except (RouterError, OSError) as error:
        _fatal(f"Failed to start server: {error}")


def _check(config: Config, notices: list[Notice]) -> None:
    found = [f"{each.level} {each.message}" for each in findings(config, notices)]
    if found:
        print("\n".join(found), file=sys.stderr)
        sys.exit(1)
    print(effective_yaml(config), end="")


def _fatal(message: str) -> NoReturn:
    print(time.strftime("%Y/%m/%d %H:%M:%S"), message, file=sys.stderr)
    sys.exit(1)
