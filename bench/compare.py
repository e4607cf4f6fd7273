"""`python bench/compare.py REV`: the working tree's benchmarks against those of another revision, in one run.

Both are built as wheels and unpacked side by side under `.bench/`, so that one interpreter with one set of libraries
runs either. Rounds alternate; what counts is each benchmark's minimum over all of its side's rounds, which noise can
only raise. A regression of more than 15 % in it fails, after a few more rounds to be sure.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".bench"
LIMIT = 1.15
ROUNDS = 3
MOST_ROUNDS = 6


@dataclass
class Side:
    """One of the two builds and the least time in seconds of each of its benchmarks."""

    name: str
    packages: Path
    least: dict[str, float] = field(default_factory=dict)

    def run(self, arguments: list[str]) -> None:
        """Time the working tree's benchmarks once with this side's package."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            command = [
                sys.executable,
                "-m",
                "pytest",
                str(ROOT / "bench"),
                "--benchmark-only",
                "-q",
                "--no-header",
            ]
            command += [f"--benchmark-json={report}", "-p", "no:cacheprovider", *arguments]
            environment = os.environ | {"PYTHONPATH": str(self.packages)}
            ran = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            if ran.returncode != 0:
                # A benchmark may fail on one side: the other revision may lack what it measures.
                print(f"{self.name}: {ran.stdout.strip().splitlines()[-1:]}", flush=True)
            if report.exists() and report.stat().st_size:
                self.take(json.loads(report.read_text()))

    def take(self, report: dict[str, list[dict[str, object]]]) -> None:
        """Keep the lower minimum of each benchmark."""
        for bench in report["benchmarks"]:
            name, least = str(bench["fullname"]), bench["stats"]["min"]  # type: ignore[index]
            self.least[name] = min(least, self.least.get(name, least))


def git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def build(source: Path, packages: Path) -> None:
    """Build the wheel of `source` and unpack it, without its dependencies, into `packages`."""
    with tempfile.TemporaryDirectory() as wheels:
        environment = os.environ | {"CARGO_TARGET_DIR": str(CACHE / "target")}
        maturin = [
            sys.executable,
            "-m",
            "maturin",
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--out",
            wheels,
        ]
        subprocess.run([*maturin, "--interpreter", sys.executable], cwd=source, env=environment, check=True)
        wheel = next(Path(wheels).glob("*.whl"))
        shutil.rmtree(packages, ignore_errors=True)
        install = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--target",
            str(packages),
            str(wheel),
        ]
        subprocess.run(install, check=True)


def build_revision(revision: str) -> Side:
    """Another revision, built once and kept."""
    commit = git("rev-parse", "--verify", f"{revision}^{{commit}}")
    packages = CACHE / "builds" / commit
    if not packages.exists():
        tree = CACHE / "trees" / commit
        git("worktree", "add", "--force", "--detach", str(tree), commit)
        try:
            build(tree, packages)
        finally:
            git("worktree", "remove", "--force", str(tree))
    return Side(revision, packages)


def build_here() -> Side:
    packages = CACHE / "builds" / "here"
    build(ROOT, packages)
    return Side("working tree", packages)


def regressions(before: Side, after: Side) -> list[str]:
    """Benchmarks of both sides that got slower by more than the limit."""
    common = before.least.keys() & after.least.keys()
    return sorted(name for name in common if after.least[name] > before.least[name] * LIMIT)


def table(before: Side, after: Side) -> str:
    lines = [f"{'benchmark':70} {before.name[:14]:>14} {after.name[:14]:>14} {'ratio':>7}"]
    for name in sorted(before.least.keys() | after.least.keys()):
        times = [side.least.get(name) for side in (before, after)]
        shown = ["-" if time is None else f"{time * 1e6:.2f} us" for time in times]
        ratio = f"{times[1] / times[0]:.2f}" if times[0] and times[1] else "-"
        lines.append(f"{name[-70:]:70} {shown[0]:>14} {shown[1]:>14} {ratio:>7}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Compare the benchmarks of the working tree with another revision's."
    )
    parser.add_argument("revision", help="anything that names a commit")
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="for pytest, such as -k NAME")
    known = parser.parse_args()
    print(f"building {known.revision} and the working tree", flush=True)
    try:
        before, after = build_revision(known.revision), build_here()
    except subprocess.CalledProcessError as error:
        print(f"cannot build: {error.stderr or error}")
        return 2
    for number in range(MOST_ROUNDS):
        if number >= ROUNDS and not regressions(before, after):
            break
        print(f"round {number + 1}", flush=True)
        for side in (before, after) if number % 2 == 0 else (after, before):
            side.run(known.arguments)
    print(table(before, after))
    if not before.least or not after.least:
        print("one side has no benchmark that ran: nothing was compared")
        return 2
    slower = regressions(before, after)
    print(
        f"{len(slower)} regressions over {LIMIT - 1:.0%} in the minimum"
        + "".join(f"\n  {name}" for name in slower)
    )
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
