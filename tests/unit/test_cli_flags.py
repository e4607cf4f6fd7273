"""The command line by the rules of Go's `flag` package."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fd_router.cli.flags import COMMANDS, MEANINGS, FlagError, Options, parse, usage


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Options()),
        (["-port", "1"], Options(port="1")),
        (["--port", "1"], Options(port="1")),
        (["-port=1"], Options(port="1")),
        (["--port=1"], Options(port="1")),
        (["--port="], Options(port="")),
        (["--port", "--splitwise"], Options(port="--splitwise")),
        (["--port", "1", "--port", "2"], Options(port="2")),
        (["--config_path", "a=b"], Options(config_path="a=b")),
        (["--config_path=a=b"], Options(config_path="a=b")),
        (["--splitwise"], Options(splitwise=True)),
        (["--splitwise=true"], Options(splitwise=True)),
        (["--splitwise=T"], Options(splitwise=True)),
        (["--splitwise=0"], Options(splitwise=False)),
        (["--splitwise=false"], Options(splitwise=False)),
        (["--splitwise", "false", "--port", "1"], Options(splitwise=True)),
        (["word", "--port", "1"], Options()),
        (["--port", "1", "--", "--splitwise"], Options(port="1")),
        (["-", "--port", "1"], Options()),
        (["-version"], Options(version=True)),
        (["--version"], Options(version=True)),
        (["-V"], Options(version=True)),
        (["--V"], Options(version=True)),
        (["-h"], Options(help=True)),
        (["--help", "--nonsense"], Options(help=True)),
        (["--check", "--port", "1"], Options(check=True, port="1")),
    ],
)
def test_accepted(arguments: list[str], expected: Options) -> None:
    assert parse(arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-x"], "flag provided but not defined: -x"),
        (["--nope=1"], "flag provided but not defined: -nope"),
        (["-v"], "flag provided but not defined: -v"),
        (["--config-path", "x"], "flag provided but not defined: -config-path"),
        (["--version", "-x"], "flag provided but not defined: -x"),
        (["--port"], "flag needs an argument: -port"),
        (["--splitwise=no"], 'invalid boolean value "no" for -splitwise: parse error'),
        (["-V="], 'invalid boolean value "" for -V: parse error'),
        (["---port"], "bad flag syntax: ---port"),
        (["-=1"], "bad flag syntax: -=1"),
        (["--=1"], "bad flag syntax: --=1"),
    ],
)
def test_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(arguments)
    assert str(caught.value) == message


@given(st.lists(st.text("-=porthV1 ", max_size=8), max_size=4))
def test_any_command_line_is_read_or_refused(arguments: list[str]) -> None:
    try:
        options = parse(arguments)
    except FlagError:
        return
    assert isinstance(options.port, str)


def test_usage_names_every_flag_with_its_meaning() -> None:
    told, _, commands = usage().partition("\nCommands:\n")
    lines = told.splitlines()
    assert lines[0] == "Usage of fd-router:"
    assert [line.split()[0] for line in commands.splitlines()] == list(COMMANDS)
    assert [line.split()[0].lstrip("-") for line in lines[1:]] == list(MEANINGS)
    assert all(line.endswith(meaning) for line, meaning in zip(lines[1:], MEANINGS.values(), strict=True))
    assert set(Options.__slots__) <= set(MEANINGS)
