"""What a reload takes over: live keys, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from fd_router.config import Config, ManagerConfig, Secret, ServerConfig, changes

BEFORE = Config(ServerConfig(port=1, admin_key=Secret("file:/key", "old")))


def test_nothing_changes_where_nothing_is_new() -> None:
    found = changes(BEFORE, replace(BEFORE))
    assert (found.config, found.live, found.restart) == (BEFORE, (), ())


def test_live_keys_are_taken_and_others_wait() -> None:
    wanted = replace(
        BEFORE,
        server=replace(BEFORE.server, port=2, max_in_flight=3),
        manager=ManagerConfig(register_path="x", max_workers=4),
    )
    found = changes(BEFORE, wanted)
    assert found.live == ("server.max-in-flight", "manager.max-workers")
    assert found.restart == ("server.port", "manager.register-path")
    assert found.config == replace(
        BEFORE, server=replace(BEFORE.server, max_in_flight=3), manager=ManagerConfig(max_workers=4)
    )
    again = changes(found.config, wanted)
    assert (again.live, again.restart) == ((), found.restart)


def test_a_key_is_another_where_its_file_says_so() -> None:
    wanted = replace(BEFORE, server=replace(BEFORE.server, admin_key=Secret("file:/key", "new")))
    assert changes(BEFORE, wanted).live == ("server.admin-key",)
