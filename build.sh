#!/usr/bin/env bash
# The one door: builds, installs, shows, checks and measures fd-router. `bash build.sh help` lists the verbs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

PYTHON=${PYTHON:-python3}
VENV=.venv
LOCK=.lock/python.txt

usage() {
    cat <<'TEXT'
usage: bash build.sh [VERB]
  (none)   build the wheel and install it: `fd-router` is then on PATH
  dev      make .venv with every development tool and the extension built from this tree
  demo     start a router and three mock engines, talk to them, stop them   [--keep] [--splitwise] [--replicas N]
  test     lint, Rust tests, Python tests, end-to-end tests, coverage       [--fast | PATH or pytest arguments]
           --fast: Rust tests and unit tests; with arguments: what pytest takes them for
  faults   every fault of tests/faults in its full form, one after the other; takes minutes   [pytest arguments]
  soak     a router under load, cancels, engine faults and restarts; what it holds, and whether all is accounted for
           [--minutes N] [--seed N]
  bench    time the benchmarks                                              [--compare REV] [pytest arguments]
           or `bench peers ...`: other routers side by side, `bench http ...`: policies
           on a recorded trace through the real router, `bench quality [--gate]`: policies
           in virtual time and least_work's bars, see bench/README.md for all
  lint     formatting, clippy, ruff, import-linter, mypy, stubtest
  fmt      format all code
TEXT
}

say() { printf '\n== %s\n' "$*"; }
die() { printf 'build.sh: %s\n' "$*" >&2; exit 1; }

# Shows what a command prints only when it fails.
quietly() {
    local out status=0
    out=$(mktemp)
    "$@" >"$out" 2>&1 || status=$?
    [ "$status" -eq 0 ] || cat "$out" >&2
    rm -f "$out"
    return "$status"
}

need_rust() {
    command -v cargo >/dev/null || die 'cargo is missing: install Rust 1.95 or newer (https://rustup.rs)'
}

need_python() {
    command -v "$PYTHON" >/dev/null || die "$PYTHON is missing: install Python 3.10 or newer"
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || die "$PYTHON is too old: install Python 3.10 or newer"
}

need_venv() {
    "$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || die "$PYTHON lacks venv: install it (Debian: apt-get install python3-venv)"
}

# Python's own marker (PEP 668) says whether pip may install here; a virtual environment always may.
externally_managed() {
    "$PYTHON" - <<'PY'
import pathlib, sys, sysconfig
in_venv = sys.prefix != sys.base_prefix
managed = pathlib.Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
sys.exit(0 if managed and not in_venv else 1)
PY
}

make_venv() {
    need_python
    need_venv
    [ -x "$VENV/bin/python" ] || { say "making $VENV"; "$PYTHON" -m venv "$VENV"; }
}

# The environment of every verb but the bare one: exact versions, rebuilt only when the lock or the manifest changed.
dev_env() {
    need_rust
    make_venv
    local stamp want
    stamp=$VENV/.fd-router-dev
    want=$(cat "$LOCK" pyproject.toml | cksum)
    if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
        say 'installing development tools'
        "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
        "$VENV/bin/python" -m pip install --quiet -c "$LOCK" --group dev
        printf '%s\n' "$want" >"$stamp"
    fi
    # shellcheck source=/dev/null
    . "$VENV/bin/activate"
    say 'building the extension (the first time takes a few minutes)'
    PIP_CONSTRAINT=$PWD/$LOCK quietly maturin develop --release --locked
}

# What `fd-router --version` says of its sources: commit, whether they were changed since, and the commit's time.
built_from() {
    local dirty=false
    git diff --quiet HEAD 2>/dev/null || dirty=true
    git log -1 --date=iso-strict --format="%H $dirty %cd" 2>/dev/null || true
}

install_wheel() {
    need_rust
    need_python
    if externally_managed; then
        make_venv
        PYTHON=$VENV/bin/python
    fi
    say 'building the wheel'
    rm -rf dist
    # The tag says which C library the wheel needs, at least; it is the one of this machine.
    MATURIN_PEP517_ARGS='--compatibility pypi' FD_ROUTER_BUILT_FROM=$(built_from) \
        "$PYTHON" -m pip wheel --quiet --no-deps --wheel-dir dist .
    say 'installing the wheel'
    "$PYTHON" -m pip install --quiet -c "$LOCK" --force-reinstall --no-deps dist/fd_router-*.whl
    "$PYTHON" -m pip install --quiet -c "$LOCK" dist/fd_router-*.whl
    if command -v pyenv >/dev/null; then pyenv rehash; fi
    local bin
    bin=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))')
    "$bin/fd-router" --version >/dev/null
    if [ "$PYTHON" = "$VENV/bin/python" ]; then
        say "installed: enter the environment with 'source $VENV/bin/activate', then run 'fd-router'"
    elif command -v fd-router >/dev/null; then
        say "installed: run 'fd-router'"
    else
        say "installed in $bin, which is not on PATH: add it, then run 'fd-router'"
    fi
}

lint() {
    say 'lint: cargo fmt, clippy'
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
    say 'lint: ruff, import-linter, mypy, stubtest'
    ruff check .
    ruff format --check .
    quietly lint-imports
    mypy
    mypy bench/conftest.py
    (cd python && python -m mypy.stubtest fd_router._core)
}

# Installs a Debian package for a command that is not on PATH, where that may be done; nothing of it is started. Without
# the command its tests are skipped, each with its reason.
LACKING=()
debian_tool() {
    local command=$1 package=$2
    if ! command -v "$command" >/dev/null && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
        say "installing $package, which has $command"
        quietly apt_install "$package" || true
    fi
    command -v "$command" >/dev/null || LACKING+=("$command (Debian: apt-get install $package)")
}

apt_install() (
    policy=/usr/sbin/policy-rc.d # asked before a package's service is started; 101 forbids it
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
    fi
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$1"
)

# Built without optimisation, apart from the extension: quick to build, and overflows are seen.
rust_tests() {
    say 'Rust tests'
    cargo test --locked --quiet --workspace --exclude fd-router-py
}

# Side by side, two more than there are cores, as much of a test is waiting; neighbours share fixtures, so each process
# takes a run of them and helps out at the end. Of thousands of tests beside each other one meets a pause of the machine
# now and then: what starts processes has a second try, and the summary names it (tests/conftest.py).
python_tests() {
    local processes=$(($(python -c 'import os; print(len(os.sched_getaffinity(0)))') + 2))
    python -m pytest -q -n "$processes" --dist worksteal --benchmark-disable --durations=20 --durations-min=1 --reruns 1 "$@"
}

run_tests() {
    dev_env
    if [ $# -eq 0 ]; then
        lint
        debian_tool promtool prometheus
        debian_tool chromium chromium
        rust_tests
        say 'Python and end-to-end tests, and each benchmark once as a test'
        python_tests tests bench --cov
    elif [ "$1" = --fast ]; then
        shift
        rust_tests
        say 'unit tests'
        python_tests tests/unit "$@"
    else
        python -m pytest "$@"
    fi
    if [ ${#LACKING[@]} -eq 0 ]; then
        say 'all tests passed'
    else
        say "all tests passed, but for those that were skipped for want of ${LACKING[*]}"
    fi
}

# One at a time: what they measure, such as delays and memory, is not to be disturbed by others.
run_faults() {
    dev_env
    say 'Rust: anything at all, sent to the scan and to the relay'
    PROPTEST_CASES=5000 cargo test --locked --quiet -p fd-router-core -p fd-router-relay fuzz
    say 'faults'
    # Larger numbers take longer.
    FAULTS_FULL=1 python -m pytest tests/faults --timeout 900 --durations=20 --durations-min=1 "$@"
}

run_bench() {
    if [ "${1:-}" = quality ]; then need_rust; else dev_env; fi
    case "${1:-}" in
        --compare)
            [ $# -eq 2 ] || die 'bench --compare takes one revision'
            python bench/compare.py "$2"
            ;;
        peers)
            shift
            python bench/peers.py "$@"
            ;;
        http)
            shift
            python bench/over_http.py "$@"
            ;;
        quality)
            shift
            cargo run --locked --quiet --release -p fd-router-quality -- "$@"
            ;;
        *)
            # A measurement takes as long as it takes.
            python -m pytest bench --benchmark-only --timeout 0 "$@"
            ;;
    esac
}

verb=${1:-}
[ $# -eq 0 ] || shift
case "$verb" in
    '') install_wheel ;;
    dev) dev_env; say "ready: enter the environment with 'source $VENV/bin/activate'" ;;
    demo) dev_env; python tests/rig/demo.py "$@" ;;
    test) run_tests "$@" ;;
    faults) run_faults "$@" ;;
    soak) dev_env; python tests/soak/soak.py "$@" ;;
    bench) run_bench "$@" ;;
    lint) dev_env; lint; say 'lint passed' ;;
    fmt) dev_env; cargo fmt --all; ruff format .; ruff check --fix . ;;
    help | -h | --help) usage ;;
    *) usage >&2; die "unknown verb '$verb'" ;;
esac
