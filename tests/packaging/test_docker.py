"""The container image's recipe: what a linter says, and what can be tried without an engine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import recipe
from recipe import DOCKERFILE, ROOT

from fd_router.cli import flags

if TYPE_CHECKING:
    from collections.abc import Callable

    from rig import Router

HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.fixture(scope="module")
def stages() -> list[recipe.Stage]:
    return recipe.stages()


def lint(text: str) -> list[str]:
    """What hadolint says of a Dockerfile, down to its notes on style."""
    done = subprocess.run(
        [HADOLINT, "--no-color", "--failure-threshold", "style", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert (done.returncode == 0) == (not lines)
    return lines


def test_the_linter_has_nothing_to_say() -> None:
    assert lint(DOCKERFILE.read_text()) == []


@pytest.mark.parametrize(
    ("sound", "spoiled", "rule"),
    [
        (" --no-install-recommends", "", "DL3015"),
        ("pip install --no-cache-dir", "pip install", "DL3042"),
        ("COPY rust rust", "ADD rust rust", "DL3020"),
        ("USER 10001:10001", "USER root", "DL3002"),
    ],
)
def test_the_linter_sees(sound: str, spoiled: str, rule: str) -> None:
    text = DOCKERFILE.read_text()
    assert sound in text
    assert any(rule in line for line in lint(text.replace(sound, spoiled)))


def test_built_in_one_stage_and_run_in_another(stages: list[recipe.Stage]) -> None:
    build, final = stages
    assert build.name == "build"
    assert "rust" in build.image
    assert "rust" not in final.image


def test_base_images_are_pinned_and_of_one_debian(stages: list[recipe.Stage]) -> None:
    tags = [stage.image.rpartition(":")[2] for stage in stages]
    assert all(tag[0].isdigit() for tag in tags)
    assert len({tag.rpartition("-")[2] for tag in tags}) == 1


def test_rust_is_new_enough_for_every_crate(stages: list[recipe.Stage]) -> None:
    described = subprocess.run(
        ["cargo", "metadata", "--offline", "--locked", "--format-version", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    wanted = {
        package["name"]: version_of(package["rust_version"] or "0")
        for package in json.loads(described)["packages"]
    }
    ours = wanted["fd-router-core"]
    assert version_of(stages[0].image.partition(":")[2].partition("-")[0]) == ours
    assert {name: version for name, version in wanted.items() if version > ours} == {}


def version_of(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])


def test_not_root(stages: list[recipe.Stage]) -> None:
    assert stages[-1].all("USER") == ["10001:10001"]
    words = [word for word, _ in stages[-1].instructions]
    assert "RUN" not in words[words.index("USER") :]


def test_a_folder_for_the_state_that_its_user_may_write(stages: list[recipe.Stage]) -> None:
    final = stages[-1]
    (folder,) = final.all("ENV")
    name, _, path = folder.partition("=")
    assert name == "STATE_DIRECTORY"
    user, _, group = final.all("USER")[0].partition(":")
    made = f"install --directory --owner={user} --group={group} {path}"
    assert any(made in command for command in final.all("RUN"))


def test_copies_what_exists_and_the_crates_build_from_it(stages: list[recipe.Stage], tmp_path: Path) -> None:
    for sources, target in stages[0].copied():
        for source in map(ROOT.joinpath, sources):
            place = tmp_path / target / (source.name if target.endswith("/") else "")
            place.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, place, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
            else:
                shutil.copy(source, place)
    subprocess.run(
        ["cargo", "metadata", "--offline", "--locked", "--format-version", "1"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    manifest = (tmp_path / "pyproject.toml").read_text()
    assert all((tmp_path / name).exists() for name in ("README.md", "LICENSE", "python/fd_router/py.typed"))
    assert 'readme = "README.md"' in manifest


def test_context_lets_through_what_is_copied(stages: list[recipe.Stage]) -> None:
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().split()
    assert ignore[0] == "*"
    allowed = {line[1:] for line in ignore if line.startswith("!")} - {"config/*.example.yaml"}
    copied = {source for stage in stages for sources, _ in stage.copied() for source in sources}
    examples = {source for source in copied if source.startswith("config/")}
    assert copied - examples == allowed
    assert all(source.endswith(".example.yaml") for source in examples)


def test_command_is_a_router_on_the_exposed_port(stages: list[recipe.Stage]) -> None:
    final = stages[-1]
    assert json.loads(final.all("ENTRYPOINT")[0]) == ["fd-router"]
    assert flags.parse(json.loads(final.all("CMD")[0])).port == final.all("EXPOSE")[0]


def test_health_check_tells_a_router_that_serves_from_none(
    stages: list[recipe.Stage], start_router: Callable[..., Router]
) -> None:
    _, _, command = stages[-1].all("HEALTHCHECK")[0].partition("CMD ")
    program, *arguments = json.loads(command)
    port = stages[-1].all("EXPOSE")[0]
    router = start_router()

    def check() -> int:
        here = [argument.replace(f":{port}/", f":{router.port}/") for argument in arguments]
        done = subprocess.run([sys.executable, *here], capture_output=True, timeout=30, check=False)
        return done.returncode

    assert program == "python"
    assert check() == 0
    router.check_idle = False
    router.stop()
    assert check() == 1
