"""The page for operators in a real browser, with real routers and mock engines.

One Chromium serves all of these tests. A page must never break its content security policy, nor say anything in the
browser's console but what a test expects.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from rig import Stage, reply, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from rig import Engine, Router

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not on PATH (Debian: apt-get install chromium)"
)
KEY = "operators-key"
NAME = "router.example"
PHONE = {"width": 360, "height": 740}
QUICK = """
manager: {health-check-interval-secs: 0.2}
scheduler: {policy: round_robin}
"""

Open = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of no use without a browser

    with sync_playwright() as driver:
        # Chromium refuses its sandbox to root, who runs CI's containers; it sees pages of our own on loopback alone.
        # Of loopback it knows that nobody listens in between; by a name a router is as in a network.
        names = "--host-resolver-rules=MAP *.example 127.0.0.1"
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", names])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """For what several tests look at and none changes for good."""
    stage = Stage(tmp_path_factory.mktemp("dashboard"))
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def fleet(lasting: Stage) -> tuple[Router, list[Engine]]:
    """A router with three engines, the last of which is slow to its first byte; all have answered."""
    router = lasting.start_router(QUICK)
    engines = [*lasting.start_engines(2, router), lasting.start_engine(router, block_secs=0.4)]
    router.wait_workers(mixed=3)
    for _ in range(6):
        assert router.chat("hello", max_tokens=1).status_code == 200
    return router, engines


@pytest.fixture(scope="module")
def locked(lasting: Stage) -> Router:
    """A router that asks for a key."""
    router = lasting.start_router(f"server: {{admin-key: {KEY}}}", headers={"authorization": f"Bearer {KEY}"})
    assert router.register(lasting.start_engine().port).status_code == 200
    return router


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """`open_page(router, status=..., decisions=...)`: the page of a router, or with answers made up by the test.

    `expected` is text of console messages that are no fault.
    """
    contexts = []
    told: list[str] = []
    excused: list[str] = []

    def opened(
        router: Router,
        *,
        status: object = None,
        decisions: object = None,
        expected: tuple[str, ...] = (),
        clock: bool = False,
        **look: Any,
    ) -> Page:
        context = browser.new_context(**look)
        contexts.append(context)
        page = context.new_page()
        excused.extend(expected)
        page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told.append(f"error: {error}"))
        page.set_default_timeout(20_000)
        if clock:
            page.clock.install()
        if status is not None:
            page.route("**/status", answer(status))
        if decisions is not None:
            page.route("**/decisions?*", answer(decisions))
        page.goto(f"{router.url}/dashboard")
        return page

    yield opened
    for context in contexts:
        for page in context.pages:
            page.unroute_all(behavior="ignoreErrors")
        context.close()
    assert [line for line in told if not any(each in line for each in excused)] == []


def answer(payload: object) -> Callable[[Route], None]:
    """Answers with JSON; of a function with what it returns."""
    return lambda route: route.fulfill(json=payload() if callable(payload) else payload)


def row(page: Page, url: str) -> Any:
    return page.locator(f'#workers tr[data-url="{url}"]')


def button(page: Page, url: str, verb: str) -> Any:
    return row(page, url).locator(f'button[data-verb="{verb}"]')


def cell(page: Page, url: str, name: str) -> str:
    return str(row(page, url).locator(f".{name}").first.inner_text())


def wait_text(page: Page, selector: str, text: str) -> None:
    page.locator(selector).filter(has_text=text).wait_for()


def look(page: Page, *, hidden: bool) -> None:
    """Another tab is in front, or this one again."""
    page.evaluate(
        "(hidden) => { Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});"
        " document.dispatchEvent(new Event('visibilitychange')) }",
        hidden,
    )


def tabbed(page: Page, selector: str, limit: int = 60) -> None:
    """Press Tab until the element has the focus."""
    for _ in range(limit):
        if page.evaluate("(selector) => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} is not reached by Tab")


# ---- what is shown


def test_a_row_for_each_worker_and_the_fleet_above(
    fleet: tuple[Router, list[Engine]], open_page: Open
) -> None:
    router, engines = fleet
    page = open_page(router)
    row(page, engines[0].url).wait_for()
    assert page.locator("#workers tbody tr[data-url]").count() == 3
    for engine in engines:
        assert cell(page, engine.url, "worker").split()[:2] == [engine.url.removeprefix("http://"), "mixed"]
        assert cell(page, engine.url, "state").split("\n")[0] == "up"
        assert "ms" in cell(page, engine.url, "tail") or " s" in cell(page, engine.url, "tail")
        assert cell(page, engine.url, "errors").split()[0] == "0"
        assert "ago" in cell(page, engine.url, "probe")
    tiles = page.locator("#tiles").inner_text()
    assert "3 of 3" in tiles.replace("\n", " ")
    assert "6 since the start" in tiles
    assert page.locator("#connection-text").inner_text() == "live"
    assert page.locator("#mode").inner_text() == "mixed"
    assert page.locator("#policy").inner_text() == "round_robin"


def test_a_slow_worker_is_seen_at_a_glance(fleet: tuple[Router, list[Engine]], open_page: Open) -> None:
    router, (*quick, slow) = fleet
    page = open_page(router)
    row(page, slow.url).locator(".factor").filter(has_text="slow").wait_for()
    wait_text(page, "#attention-list", f"{slow.url.removeprefix('http://')} slow: first byte after 4")
    for engine in quick:
        assert row(page, engine.url).locator(".factor").inner_text() == ""
    assert page.title() == "1 worker slow · fd-router"
    page.locator("#filter").fill("slow")
    assert page.locator("#workers tbody tr[data-url]").count() == 1
    assert page.locator("#workers-count").inner_text() == "1 of 3"
    page.locator("#filter").fill("")
    page.get_by_role("button", name="First byte").click()
    first = page.locator("#workers tbody tr[data-url]").first
    assert first.get_attribute("data-url") == slow.url
    assert page.locator("th.first").get_attribute("aria-sort") == "descending"


def test_failing_and_lost_workers_stay_and_say_why(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine], open_page: Open
) -> None:
    router = start_router(QUICK)
    failing, lost, well = (start_engine(router) for _ in range(3))
    router.wait_workers(mixed=3)
    page = open_page(router)
    row(page, well.url).wait_for()
    failing.fault(status=500)
    for _ in range(24):
        router.chat("hi")
    lost.fault(health_status=503)
    row(page, failing.url).locator(
        ".state", has_text="requests in a row failed, the last by status 500"
    ).first.wait_for()
    row(page, lost.url).locator(".state", has_text="status 503").first.wait_for()
    assert cell(page, failing.url, "state").split("\n")[0] == "ejected"
    assert cell(page, lost.url, "state").split("\n")[0] == "probation"
    assert "\n500 " in cell(page, failing.url, "errors")
    assert "failed" in cell(page, lost.url, "probe")
    wait_text(page, "#attention-list", "probation: status 503")
    assert "2 workers out" in page.title()
    # Who looks with the ears hears of it.
    wait_text(page, "#announcer", "is probation: status 503")


def test_what_engines_say_is_text(fleet: tuple[Router, list[Engine]], open_page: Open) -> None:
    status = made_up(1)
    markup = '<img src=x onerror="document.title=1">'
    status["workers"][0]["version"] = markup
    page = open_page(fleet[0], status=status, expected=("requires 'TrustedHTML' assignment",))
    wait_text(page, "#workers", markup)
    assert page.locator("#workers img").count() == 0
    page.evaluate("() => { try { document.body.innerHTML = '<p>' } catch { document.title = 'refused' } }")
    assert page.title() == "refused", "the policy refuses markup of text, whoever writes it"


def decision(**changed: Any) -> dict[str, Any]:
    candidate = {
        "url": "http://10.0.0.1:80",
        "cost": 12.5,
        "running": 3,
        "pending": 400,
        "uncached": 64,
        "hit": 0.5,
    }
    return {
        "request_id": "one",
        "at": time.time() - 3,
        "path": "/v1/chat/completions",
        "stream": True,
        "attempt": 1,
        "role": "mixed",
        "policy": "least_work",
        "decided_by": "least_work",
        "fallback": None,
        "worker": "http://10.0.0.1:80",
        "margin": 0.25,
        "ties": 0,
        "candidates": 2,
        "excluded": [],
        "blocks": 9,
        "best": [candidate, candidate | {"url": "http://10.0.0.2:80", "cost": 15.625}],
        "best_hit": candidate,
        "lost": None,
        "error": None,
        "outcome": "completed",
        "status": 200,
        "first_byte_secs": 0.05,
        "duration_secs": 1.5,
        "predicted_hit": 0.5,
        "true_hit": 0.25,
        "fault": "index",
        "why": "It had the least to do.",
    } | changed


def test_decisions_with_their_terms(fleet: tuple[Router, list[Engine]], open_page: Open) -> None:
    router, _ = fleet
    second = {"attempt": 2, "worker": "http://10.0.0.2:80", "excluded": ["http://10.0.0.1:80"]}
    lost = {"request_id": "two", "outcome": "broken", "status": None, "lost": "refused"}
    told = {
        "decisions": [
            decision(request_id="two", **second),
            decision(**lost),
            decision(request_id="pair", role="decode", worker="http://10.0.0.4:80"),
            decision(request_id="pair", role="prefill", worker="http://10.0.0.3:80"),
            decision(),
        ]
    }
    page = open_page(router, decisions=told)
    entries = page.locator("#decisions tr.entry")
    entries.nth(2).wait_for()
    assert entries.count() == 3, "one for each request"
    assert "10.0.0.2:80" in entries.nth(0).inner_text()
    assert "attempt 2" in entries.nth(0).inner_text()
    legs = entries.nth(1).locator(".pair .leg").all_inner_texts()
    assert [leg.split() for leg in legs] == [["P", "10.0.0.3:80"], ["D", "10.0.0.4:80"]]
    assert "hit lost by index" in entries.nth(2).inner_text()
    toggle = entries.nth(0).get_by_role("button")
    toggle.click()
    assert toggle.get_attribute("aria-expanded") == "true"
    detail = page.locator("tr.detail")
    assert detail.locator(".decision").count() == 2
    text = detail.inner_text()
    assert "It had the least to do." in text
    assert "refused" in text
    assert detail.locator(".terms").first.locator("tr[data-chosen]").inner_text().split()[:4] == [
        "10.0.0.1:80",
        "chosen,",
        "best",
        "hit",
    ]
    toggle.click()
    assert page.locator("tr.detail").count() == 0


def test_a_decision_of_a_real_request(fleet: tuple[Router, list[Engine]], open_page: Open) -> None:
    router, _ = fleet
    answered = router.chat("hello", max_tokens=1, request_id="asked-by-the-test")
    assert answered.status_code == 200
    (told,) = router.get("/decisions/asked-by-the-test").json()["decisions"]
    assert told.keys() == decision().keys()
    assert told["best"][0].keys() == decision()["best"][0].keys()
    page = open_page(router)
    entry = page.locator("#decisions tr.entry", has_text="asked-by-the-test")
    entry.get_by_role("button").click()
    assert told["worker"].removeprefix("http://") in entry.inner_text()
    assert "completed 200" in entry.inner_text()
    text = page.locator("tr.detail").inner_text()
    assert told["why"] in text
    assert "chosen" in text


def test_a_router_without_decisions_has_no_panel_of_them(
    fleet: tuple[Router, list[Engine]], open_page: Open
) -> None:
    page = open_page(fleet[0], expected=("404",))
    page.unroute_all()
    page.route("**/decisions?*", lambda route: route.fulfill(status=404, body="404 page not found"))
    page.reload()
    wait_text(page, "#connection-text", "live")
    page.wait_for_function("() => document.getElementById('decisions').hidden")


# ---- orders and keys


def test_orders_by_hand(fleet: tuple[Router, list[Engine]], open_page: Open) -> None:
    router, (one, *others) = fleet
    page = open_page(router)
    for verb, state, back in (("drain", "drained", "undrain"), ("eject", "ejected", "readmit")):
        button(page, one.url, verb).click()
        dialog = page.get_by_role("dialog")
        assert one.url.removeprefix("http://") in dialog.inner_text()
        dialog.locator("#confirm-no").click()
        assert states(router) == dict.fromkeys([one.url, *(other.url for other in others)], "up")
        button(page, one.url, verb).click()
        dialog.locator("#confirm-yes").click()
        button(page, one.url, back).wait_for()
        assert states(router)[one.url] == state
        button(page, one.url, back).click()
        dialog.locator("#confirm-yes").click()
        button(page, one.url, verb).wait_for()
        assert states(router)[one.url] == "up"


def states(router: Router) -> dict[str, str]:
    return {each["url"]: each["state"] for each in router.get("/workers").json()["workers"]}


def test_everything_by_keyboard(locked: Router, open_page: Open) -> None:
    (url,) = states(locked)
    page = open_page(locked, expected=("401",))
    page.locator("#gate-key").wait_for()
    page.keyboard.type(KEY)
    page.keyboard.press("Enter")
    row(page, url).wait_for()
    page.keyboard.press("/")
    page.keyboard.type("127.0.0.1")
    assert page.locator("#filter").input_value() == "127.0.0.1"
    tabbed(page, "th.running button")
    page.keyboard.press("Enter")
    assert page.locator("th.running").get_attribute("aria-sort") == "descending"
    tabbed(page, 'button[data-verb="drain"]')
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    assert "No other mixed worker is up" in dialog.inner_text()
    assert page.evaluate("() => document.activeElement.id") == "confirm-no", "the careful answer first"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert page.evaluate("() => document.activeElement.dataset.verb") == "drain", "back where it was"
    page.keyboard.press("Enter")
    tabbed(page, "#confirm-yes")
    page.keyboard.press("Enter")
    wait_for(lambda: states(locked)[url] == "drained")
    page.wait_for_function("() => document.activeElement.dataset.verb === 'undrain'")
    wait_text(page, "#announcer", "is drained: by order")
    assert page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert locked.post("/workers/undrain", {"url": url}).status_code == 200


def test_an_order_that_is_refused_says_so(fleet: tuple[Router, list[Engine]], open_page: Open) -> None:
    router, (engine, *_) = fleet
    page = open_page(router, expected=("409",))
    page.route(
        "**/workers/eject",
        lambda route: route.fulfill(status=409, json={"code": 409, "msg": "it is drained already"}),
    )
    button(page, engine.url, "eject").click()
    page.locator("#confirm-yes").click()
    wait_text(page, "#toast", "was refused: it is drained already")


def test_a_key_is_asked_for_and_kept_for_the_tab(locked: Router, open_page: Open) -> None:
    page = open_page(locked, expected=("401",))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#gate-key").wait_for()
    assert not page.locator("#shown").is_visible()
    assert page.locator("button[data-verb=drain]").count() == 0
    for wrong in ("nonsense", "ключ"):
        page.locator("#gate-key").fill(wrong)
        page.keyboard.press("Enter")
        wait_text(page, "#gate-error", "The key is not accepted.")
        assert page.evaluate("() => sessionStorage.length") == 0
    page.locator("#gate-key").fill(KEY)
    page.keyboard.press("Enter")
    page.locator("button[data-verb=drain]").wait_for()
    assert not page.locator("#open-note").is_visible()
    page.reload()
    page.locator("button[data-verb=drain]").wait_for()
    assert not any(KEY in url for url in asked)
    assert page.evaluate("() => [localStorage.length, document.cookie]") == [0, ""]
    page.get_by_role("button", name="Forget the key").click()
    page.locator("#gate-key").wait_for()
    assert page.locator("button[data-verb=drain]").count() == 0
    assert page.evaluate("() => sessionStorage.length") == 0


SENT_BY_A_PAGE = """
([url, worker]) => fetch(url, {method: "POST", mode: "no-cors", body: JSON.stringify({url: worker})})
"""
"""What any page may send without asking first."""


@pytest.mark.parametrize("host", ["127.0.0.1", NAME])
def test_a_foreign_page_gives_no_orders_and_the_router_s_own_does(
    fleet: tuple[Router, list[Engine]], open_page: Open, stage: Stage, host: str
) -> None:
    """By a name, over http, a browser sends no `Sec-Fetch-Site`."""
    router, (engine, *_) = fleet
    page = open_page(router, expected=("403", "Cross-Origin-Opener-Policy"))
    place = f"http://{host}:{router.port}"
    # Of an address like the router's, or Chromium refuses by itself.
    elsewhere = stage.raw_worker(lambda _: reply(b"<link rel=icon href=data:,>", content_type="text/html"))
    page.goto(f"http://elsewhere.example:{elsewhere.port}/")
    with page.expect_response(f"{place}/workers/eject") as refused:
        page.evaluate(SENT_BY_A_PAGE, [f"{place}/workers/eject", engine.url])
    assert refused.value.status == 403
    assert states(router)[engine.url] == "up"
    page.goto(f"{place}/dashboard")
    for verb, back in (("drain", "undrain"), ("undrain", "drain")):
        button(page, engine.url, verb).click()
        page.locator("#confirm-yes").click()
        button(page, engine.url, back).wait_for()


# ---- the connection


def test_it_comes_back_with_the_router(
    start_router: Callable[..., Router], start_engine: Callable[..., Engine], open_page: Open
) -> None:
    router = start_router(QUICK)
    engine = start_engine(router)
    router.wait_workers(mixed=1)
    page = open_page(router, expected=("ERR_",))
    row(page, engine.url).wait_for()
    assert router.stop() == 0
    wait_text(page, "#connection-text", "trying again")
    assert page.locator("body").get_attribute("data-connection") == "lost"
    wait_text(page, "#announcer", "The router does not answer")
    assert row(page, engine.url).is_visible(), "the last that is known stays"
    start_router(QUICK, port=router.port)
    wait_text(page, "#connection-text", "live")
    wait_text(page, "#announcer", "The router was restarted")
    row(page, engine.url).locator(".state", has_text="up").first.wait_for()


def test_nobody_is_asked_while_nobody_looks(fleet: tuple[Router, list[Engine]], open_page: Open) -> None:
    page = open_page(fleet[0], clock=True)
    wait_text(page, "#connection-text", "live")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    look(page, hidden=True)
    asked.clear()
    page.clock.run_for(30_000)
    assert asked == []
    with page.expect_response("**/status"):
        look(page, hidden=False)
    with page.expect_response("**/status"):
        page.clock.run_for(5_000)


# ---- room


def made_up(number: int, turn: int = 0) -> dict[str, Any]:
    """A status of so many workers whose figures are others each turn."""
    now = time.time()
    workers = [
        {
            "url": f"http://10.1.{index // 250}.{index % 250}:8188",
            "role": "mixed",
            "models": ["ERNIE-4.5-21B-A3B-Paddle"],
            "state": "ejected" if index % 50 == 49 else "up",
            "why": "5 requests in a row failed, the last by status 500; out for 7.5 s more"
            if index % 50 == 49
            else "answers its probes",
            "since": now - 1000 - index,
            "running": (index * 7 + turn) % 40,
            "running_elsewhere": 0,
            "pending_tokens": (index * 911 + turn * 77) % 90_000,
            "last_probe": {"at": now - 0.4, "seconds": 0.0011 + turn / 9000, "well": True, "error": None},
            "first_byte": {"p50": 0.1 + (index + turn) % 9 / 100, "p95": 0.4 + (index + turn) % 7 / 100},
            "answers": 1000 + turn,
            "errors": {"500": turn, "reset_before_head": 2} if index % 50 == 49 else {},
            "hit": {
                "prompt_tokens": 9000,
                "predicted": 0.7,
                "true": 0.6 + turn % 20 / 100,
                "overpredicted": 0.1,
            },
            "cache_tokens": 262_144,
            "held_tokens": 2000 * ((index + turn) % 120),
            "version": "2.5.0",
            "source": "register",
            "host": None,
        }
        for index in range(number)
    ]
    out = sum(worker["state"] == "ejected" for worker in workers)
    return {
        "version": "1.2.3",
        "config": "0123456789abcdef",
        "started": now - 5000,
        "now": now,
        "pd": False,
        "policies": {"mixed": "least_work"},
        "not_ready": None,
        "requests": {
            "served": 700,
            "waiting": 3,
            "limit": 10_000,
            "body_bytes": 0,
            "answers": 90_000 + 300 * turn,
            "failed": 12,
            "answers_per_second": 300.0,
            "failed_per_second": 0.0,
        },
        "tokens": {"prompt_per_second": 90_000.0, "cached_per_second": 60_000.0},
        "hit": {"prompt_tokens": 9, "predicted": 0.7, "true": 0.66, "overpredicted": 0.1},
        "tree": {"blocks": 9, "bytes": 9, "limit_bytes": 99, "evicted": 0, "expired": 0},
        "cluster": None,
        "rejects": {},
        "states": {
            "up": number - out,
            "unready": 0,
            "probation": 0,
            "ejected": out,
            "draining": 0,
            "drained": 0,
        },
        "workers": workers,
    }


def test_the_made_up_status_is_like_a_real_one(fleet: tuple[Router, list[Engine]]) -> None:
    real, own = fleet[0].get("/status").json(), made_up(1)
    assert own.keys() == real.keys()
    for part in ("requests", "tokens", "tree", "states"):
        assert own[part].keys() == real[part].keys()
    assert own["workers"][0].keys() == real["workers"][0].keys()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(
    fleet: tuple[Router, list[Engine]], open_page: Open, scheme: str
) -> None:
    told = {
        "decisions": [
            decision(request_id="a-long-id-" * 6),
            decision(role="prefill"),
            decision(role="decode"),
        ]
    }
    page = open_page(
        fleet[0], status=made_up(60), decisions=told, viewport=PHONE, is_mobile=True, color_scheme=scheme
    )
    page.locator("#decisions tr.entry").first.wait_for()
    page.locator("#decisions .toggle").first.click()
    widest = page.evaluate(
        "() => Math.max(document.scrollingElement.scrollWidth,"
        " ...[...document.querySelectorAll('#workers td, #tiles *')].map((each) => each.getBoundingClientRect().right))"
    )
    assert widest <= PHONE["width"]
    assert (
        page.locator("#workers tr[data-url]").first.evaluate("(row) => getComputedStyle(row).display")
        == "grid"
    )
    ground = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert (int(ground.removeprefix("rgb(").split(",")[0]) > 128) == (scheme == "light")


def test_two_hundred_workers_are_shown_without_stutter(
    fleet: tuple[Router, list[Engine]], open_page: Open
) -> None:
    page = open_page(fleet[0], status=made_up(200))
    page.locator("#workers tr[data-url]").nth(199).wait_for()
    look(page, hidden=True)
    # The quickest update, with layout, beside the quickest making of such a table: what others on the machine add to
    # either is not the page's.
    update, fresh = page.evaluate(
        """async (statuses) => {
            const { Workers } = await import("/dashboard/workers.js");
            const { slow } = await import("/dashboard/peers.js");
            const timed = (what) => {
                const begun = performance.now();
                what();
                document.body.offsetHeight;
                return performance.now() - begun;
            };
            const place = document.getElementById("workers");
            const drawn = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
            const fresh = [], updates = [];
            for (let round = 0; round < 2; round++) {
                place.replaceChildren();
                const workers = new Workers(() => null);
                for (const [turn, status] of statuses.entries()) {
                    const times = turn ? updates : fresh;
                    times.push(timed(() => workers.update(status, slow(status.workers))));
                    await drawn();
                }
            }
            return [Math.min(...updates), Math.min(...fresh)];
        }""",
        [made_up(200, turn) for turn in range(6)],
    )
    print(json.dumps({"update_ms": update, "fresh_ms": fresh}))
    assert update < fresh / 3, f"{update} ms an update, {fresh} ms for a fresh table"
