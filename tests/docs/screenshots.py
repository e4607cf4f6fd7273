"""Makes the pictures of the page in docs/: `python tests/docs/screenshots.py [--into FOLDER] [--secs N] [NAME ...]`.

Real routers with mock engines and made-up traffic, looked at by Debian's Chromium. The pictures in the repository were
made with the packages `fonts-inter` and `fonts-jetbrains-mono` installed, and made small by `pngquant`, which is used
where it is on PATH.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import httpx
from playwright.sync_api import sync_playwright

# Run as a program, this file's own folder is on the path instead of the one that holds `rig`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig import Stage, wait_for
from rig.router import chat_body

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser

    from rig import Router

DOCS = Path(__file__).resolve().parents[2] / "docs"
WIDE = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
CONFIG = """
scheduler: {policy: least_work, prefill-policy: least_work, decode-policy: request_num, cache-block-size: 64}
manager: {health-check-interval-secs: 1}
"""
options = argparse.Namespace(into=DOCS, secs=62.0)
"""`secs` is for how long a page is open before it is taken: the lines in it have the last minute."""
CLIENTS = 10
SESSIONS = 24
SYSTEM = "You are an assistant that answers in few words and never guesses. " * 24


def main() -> None:
    """Make the pictures of the scenes that are named, or all."""
    parser = argparse.ArgumentParser(
        prog="screenshots.py", description="Make the pictures of the page in docs/."
    )
    parser.add_argument("--into", type=Path, help="folder (default: docs)")
    parser.add_argument("--secs", type=float, help="to look at each (default: 62)")
    parser.add_argument(
        "scenes", nargs="*", choices=[*SCENES, []], metavar="SCENE", help=f"of {', '.join(SCENES)}"
    )
    parser.parse_args(namespace=options)
    chromium = shutil.which("chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name in options.scenes or SCENES:
            with tempfile.TemporaryDirectory(prefix="fd-router-pictures-") as folder:
                SCENES[name](browser, Stage(Path(folder)))
        browser.close()


@contextmanager
def traffic(router: Router, until: float = 1.0) -> Iterator[None]:
    """Clients with conversations that grow, all of them from one system prompt."""
    ended = Event()

    def talk(number: int) -> None:
        chance = random.Random(number)
        with httpx.Client(base_url=router.url, timeout=60, trust_env=False) as client:
            while not ended.is_set():
                session = chance.randrange(SESSIONS)
                text = (
                    f"{SYSTEM}Conversation {session}. "
                    + "What follows from that, and why? " * chance.randrange(4, 60)
                )
                body = chat_body(text, stream=chance.random() < 0.7, max_tokens=chance.randrange(8, 60))
                client.post("/v1/chat/completions", json=body)
                ended.wait(chance.random() * until)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for number in range(CLIENTS):
            pool.submit(talk, number)
        try:
            yield
        finally:
            ended.set()


def take(
    browser: Browser,
    router: Router,
    looks: dict[str, dict[str, Any]],
    act: Callable[[Any], None] | None = None,
) -> None:
    """Open a page for each of these looks, wait, and keep what it shows under the name."""
    pages = {}
    for name, look in looks.items():
        pages[name] = browser.new_context(device_scale_factor=1.5, **look).new_page()
        pages[name].goto(f"{router.url}/dashboard")
    until = time.monotonic() + options.secs
    wait_for(lambda: time.monotonic() > until, limit=2 * options.secs)
    for name, page in pages.items():
        if act is not None:
            act(page)
        picture = options.into / f"dashboard-{name}.png"
        page.screenshot(path=picture)
        page.context.close()
        if quantize := shutil.which("pngquant"):
            subprocess.run(
                [quantize, "--force", "--strip", "--speed", "1", "--output", picture, picture], check=True
            )
        print(f"{picture}: {picture.stat().st_size // 1024} KiB")


def engines(stage: Stage, router: Router, number: int, **flags: Any) -> list[Any]:
    pace = {
        "token_secs": 0.012,
        "block_secs": 0.006,
        "cache_blocks": 220,
        "block_size": 64,
        "register_secs": 2,
    }
    return stage.start_engines(number, router, **(pace | flags))


def well(browser: Browser, stage: Stage) -> None:
    """Everything is up: light, and dark."""
    router = stage.start_router(CONFIG)
    engines(stage, router, 6)
    router.wait_workers(mixed=6)
    with traffic(router):
        take(
            browser, router, {"well": {"viewport": WIDE}, "dark": {"viewport": WIDE, "color_scheme": "dark"}}
        )
    stage.close()


def ejected(browser: Browser, stage: Stage) -> None:
    """One engine fails, one is slow, one is drained; on a large screen and on a phone."""
    router = stage.start_router(CONFIG)
    fleet = engines(stage, router, 5)
    engines(stage, router, 1, block_secs=0.12)
    router.wait_workers(mixed=6)
    router.post("/workers/drain", {"url": fleet[4].url})
    with traffic(router):
        fleet[1].fault(status=500)
        take(
            browser,
            router,
            {
                "ejected": {"viewport": WIDE},
                "phone": {"viewport": PHONE, "is_mobile": True, "has_touch": True},
            },
        )
    stage.close()


def pd(browser: Browser, stage: Stage) -> None:
    """Prefill and decode engines, and a decision that is looked into."""
    router = stage.start_router(CONFIG, "--splitwise")
    engines(stage, router, 2, role="prefill")
    engines(stage, router, 3, role="decode")
    router.wait_workers(prefill=2, decode=3)
    with traffic(router):
        take(browser, router, {"pd": {"viewport": {"width": 1440, "height": 1240}}}, open_one)
    stage.close()


def open_one(page: Any) -> None:
    """Look into the first decision whose request is over."""
    page.locator("#decisions tr.entry", has_text="completed").first.get_by_role("button").click()


SCENES: dict[str, Callable[[Browser, Stage], None]] = {"well": well, "ejected": ejected, "pd": pd}

if __name__ == "__main__":
    main()
