"""YAML as the Go router's decoder reads it, so that the same file means the same.

PyYAML follows YAML 1.1 to the letter: `1e3` is text there, `80:80` a number in base 60, `2026-01-01` a date,
and of two equal keys the first is lost in silence. Here numbers are numbers, the rest is text, and equal keys
are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from fd_router.config.setting import shown
from fd_router.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_TAG = "tag:yaml.org,2002:"


class _Loader(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                problem = f'key "{shown(key.value)}" is there twice'
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else None)
        self.flatten_mapping(node)
        return node


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF", "tTfFyYnNoO"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+)", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?[0-9]+[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", "<<", "<"),
    ("null", "|~|null|Null|NULL", ["", "~", "n", "N"]),
):
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"(?:{_pattern})$"), list(_first))


def compose(data: str | bytes) -> yaml.Node | None:
    """The document as nodes that know their lines; None if it is empty. Raises `ConfigError`, one line."""
    node: yaml.Node | None = _run(data, lambda loader: loader.get_single_node())
    return node


def construct(data: str | bytes) -> Any:
    """The document as plain values. Raises `ConfigError`, one line."""
    return _run(data, lambda loader: loader.get_single_data())


def type_of(node: yaml.Node) -> str:
    """What YAML takes a node for: `null`, `bool`, `int`, `float`, `str`, `seq`, `map`, or another tag."""
    tag: str = node.tag
    return tag.removeprefix(_TAG)


def _run(data: str | bytes, step: Callable[[_Loader], Any]) -> Any:
    try:
        loader = _Loader(data)
        try:
            return step(loader)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        what = ", ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(f"yaml: {where}{what}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"yaml: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise ConfigError("yaml: nested too deeply") from error
