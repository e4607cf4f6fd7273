"""The demo: a router and mock engines on free ports, and the official `openai` client talking to them.

Run by `bash build.sh demo [--keep] [--splitwise] [--replicas N]`. Exit status 0 when everything went well; nothing is
left running.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

# Run as a program, this file's own folder is on the path instead of the one that holds `rig`.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig import Stage

if TYPE_CHECKING:
    import openai

    from rig import Engine, Router

QUESTION = "What does a router do with a prompt that many conversations begin with?"
interrupted = Event()
"""Set by a signal, for the case that its exception was swallowed: Python ignores those raised in some callbacks."""
SYSTEM = "You are an assistant that answers in few words. " * 8
SETTINGS = "scheduler: {policy: cache_aware, prefill-policy: cache_aware, decode-policy: request_num}"
MIXED = {"mixed": 3}
PAIRED = {"prefill": 2, "decode": 2}


def main() -> int:
    """Run the demo; returns the exit status."""
    parser = argparse.ArgumentParser(prog="build.sh demo", description="Show fd-router with mock engines.")
    parser.add_argument(
        "--keep", action="store_true", help="leave everything up until Ctrl-C, print curl lines"
    )
    parser.add_argument(
        "--splitwise", action="store_true", help="prefill/decode pairs instead of mixed engines"
    )
    parser.add_argument(
        "--replicas", type=int, default=1, help="so many routers, which share through a Valkey (1: none does)"
    )
    options = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="fd-router-demo-") as folder:
            run(Path(folder), keep=options.keep, splitwise=options.splitwise, replicas=options.replicas)
    except KeyboardInterrupt:
        print("\ndemo: interrupted; everything is stopped", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"\ndemo: failed: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print("\ndemo: all went well; everything is stopped")
    return 0


def interrupt(*_: object) -> None:
    """End by SIGTERM as by Ctrl-C."""
    interrupted.set()
    raise KeyboardInterrupt


def run(folder: Path, *, keep: bool, splitwise: bool, replicas: int) -> None:
    """Start, talk, perhaps wait, and stop."""
    stage = Stage(folder)
    try:
        router, engines = (
            start(stage, splitwise=splitwise)
            if replicas < 2
            else start_replicas(stage, replicas, splitwise=splitwise)
        )
        try:
            with router.openai() as client:
                talk(client)
            show_registered(router)
            if keep:
                wait_for_interrupt(router, engines)
        except Exception:
            print(f"\n-- end of the router's log\n{router.process.tail()}", file=sys.stderr)
            raise
        say("stopping; every worker's count must be back at 0")
    finally:
        stage.close()


def start(stage: Stage, *, splitwise: bool) -> tuple[Router, list[Engine]]:
    """A router, and engines that registered with it."""
    mode = "prefill/decode pairs" if splitwise else "mixed mode"
    say(f"starting fd-router ({mode})")
    router = stage.start_router(SETTINGS, *(["--splitwise"] if splitwise else []))
    print(f"   listening on {router.url}")
    wanted = PAIRED if splitwise else MIXED
    engines = []
    for role, number in wanted.items():
        say(f"starting {number} mock engines ({role})")
        for engine in stage.start_engines(number, router, role=role, token_secs=0.02, register_secs=5):
            print(f"   {engine.name} on {engine.url}")
            engines.append(engine)
    say("waiting until the engines have registered themselves")
    router.wait_workers(**wanted)
    return router, engines


def start_replicas(stage: Stage, replicas: int, *, splitwise: bool) -> tuple[Router, list[Engine]]:
    """Several routers, one of which is killed; one that is left, and the engines."""
    # Where Python is too old for the package with the server, the rest of the demo is as it was.
    from rig.replicas import Show  # noqa: PLC0415

    show = Show(stage, say, messages())
    flags = ["--splitwise"] if splitwise else []
    return show.run(replicas, SETTINGS, flags, PAIRED if splitwise else MIXED)


def messages() -> Any:
    """One conversation; its beginning is long enough to be worth a cache."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]


def talk(client: openai.OpenAI) -> None:
    """The same prefix three times, as chat, streamed chat and completion; prints who answered what."""
    asked = messages()
    say("chat, whole answer")
    chat = client.chat.completions.with_raw_response.create(model="mock", messages=asked, max_tokens=8)
    answer = chat.parse()
    print(f"   {answer.choices[0].message.content}")
    show_served(chat.headers, answer.usage)
    say("chat, streamed; as it arrives:")
    streamed = client.chat.completions.with_raw_response.create(
        model="mock", messages=asked, max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    usage = None
    print("   ", end="")
    for chunk in streamed.parse():
        usage = chunk.usage or usage
        for choice in chunk.choices:
            print(choice.delta.content or "", end="", flush=True)
    print()
    show_served(streamed.headers, usage)
    say("completion")
    completion = client.completions.with_raw_response.create(model="mock", prompt=QUESTION, max_tokens=8)
    text = completion.parse()
    print(f"   {text.choices[0].text}")
    show_served(completion.headers, text.usage)


def show_served(headers: Any, usage: Any) -> None:
    """Which engine answered, and what it had in its prefix cache."""
    details = usage.prompt_tokens_details
    served = f"served by {headers['x-engine']}"
    if "x-router-prefill-url" in headers:
        served = f"prefill {headers['x-router-prefill-url']}, decode {headers['x-router-decode-url']}"
    print(f"   {served}; {details.cached_tokens} of {usage.prompt_tokens} prompt tokens were cached")


def show_registered(router: Router) -> None:
    """What an operator asks first."""
    say("GET /registered_number")
    print(f"   {router.get('/registered_number').text}")


def wait_for_interrupt(router: Router, engines: list[Engine]) -> None:
    """Say what to try, and wait for Ctrl-C."""
    body = '{"model": "mock", "messages": [{"role": "user", "content": "hello"}], "stream": true, "max_tokens": 8}'
    say("everything stays up until Ctrl-C; to try in another terminal:")
    print(f"   curl -sN {router.url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'")
    for path in ("/registered", "/registered_number", "/v1/models", "/metrics"):
        print(f"   curl -s {router.url}{path}")
    print(f"   curl -s {engines[0].url}/metrics")
    print(f"   tail -f {router.process.log}", flush=True)
    try:
        while not interrupted.is_set():
            signal.pause()
    except KeyboardInterrupt:
        print()
    interrupted.clear()


def say(text: str) -> None:
    """Begin a step, unless it is over."""
    if interrupted.is_set():
        raise KeyboardInterrupt
    print(f"\n-- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
