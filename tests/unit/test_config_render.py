"""The schema as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fd_router.config import SECTIONS, Config, ServerConfig, effective_yaml, load_config, markdown_table
from fd_router.config.schema import settings_of


def test_effective_configuration_loads_to_itself(tmp_path: Path) -> None:
    config = Config(ServerConfig(port=8080, name="a: b # c", host="::1", splitwise=True))
    config = replace(
        config, scheduler=replace(config.scheduler, waiting_weight=0.0, balance_rel_threshold=1e-7)
    )
    path = tmp_path / "effective.yaml"
    path.write_text(effective_yaml(config))
    assert load_config(str(path), port=None, splitwise=False) == (config, [])


@pytest.mark.parametrize("section", SECTIONS)
def test_table_has_one_row_for_each_key(section: str) -> None:
    rows = markdown_table(section).splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [
        f"{section}.{key}" for key in settings_of(SECTIONS[section])
    ]
    assert {row.count("|") for row in rows} == {7}


def test_table_shows_defaults_as_people_write_them() -> None:
    table = markdown_table("scheduler")
    assert (
        "| `scheduler.eviction-duration-mins` | float | `30` | number above 0 up to 525600, in min | restart |"
        in table
    )
    assert '| `scheduler.tokenizer-url` | URL | `""` |' in table
    assert "| `server.port` | int | required |" in markdown_table("server")
    assert "| `server.splitwise` | bool | `false` |" in markdown_table("server")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_says_what_it_means_and_in_which_unit(section: str) -> None:
    for key, setting in settings_of(SECTIONS[section]).items():
        assert setting.meaning, key
        if key.endswith(("-secs", "-mins", "-days", "-mb")):
            assert setting.unit, key
