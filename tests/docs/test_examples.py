"""The example files carry every key and are accepted as they are."""

from __future__ import annotations

from pathlib import Path

from fd_router.config import Config, ServerConfig, example_yaml, load_config, load_register_file
from fd_router.fleet.registration import instance_from_mapping
from fd_router.fleet.registration.fields import Fields

EXAMPLES = Path(__file__).parents[2] / "config"


def test_config_example_is_made_from_the_schema() -> None:
    assert (EXAMPLES / "config.example.yaml").read_text() == example_yaml(), (
        "python -c 'from fd_router.config import example_yaml; print(example_yaml(), end=\"\")' "
        "> config/config.example.yaml"
    )


def test_config_example_loads_to_the_defaults_without_a_notice() -> None:
    config, notices = load_config(str(EXAMPLES / "config.example.yaml"), port=None, splitwise=False)
    assert config == Config(ServerConfig(port=8080))
    assert notices == []


def test_register_example_is_a_pair_that_would_be_accepted() -> None:
    entries = load_register_file((EXAMPLES / "register.example.yaml").read_text())
    instances = [instance_from_mapping(entry, splitwise=True) for entry in entries]
    assert [instance.role for instance in instances] == ["prefill", "decode"]
    assert all(
        instance.tp_size == 1 and instance.rdma_ports and instance.device_ids for instance in instances
    )


def test_register_example_shows_every_field() -> None:
    entry = load_register_file((EXAMPLES / "register.example.yaml").read_text())[0]
    assert isinstance(entry, dict)
    assert set(entry) == set(Fields.__slots__)
