"""Tasks that are ended stay ended, also one that loses a cancellation as `asyncio.wait_for` may."""

from __future__ import annotations

import asyncio

import pytest

from fd_router.state.replica.replica import CALM_SECS, LONGEST_REST_SECS, _end, _first_failure, rest_after


async def stubborn(lost: list[int]) -> None:
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            lost.append(1)
            if len(lost) > 2:
                raise


async def failing() -> None:
    await asyncio.sleep(0)
    raise ValueError("it")


def test_a_lost_cancellation_keeps_nobody_waiting() -> None:
    lost: list[int] = []

    async def scene() -> str:
        try:
            await asyncio.wait_for(_first_failure([stubborn(lost), failing()]), 10)
        except ValueError as error:
            return str(error)
        return ""

    assert asyncio.run(scene()) == "it"
    assert len(lost) == 3


def test_nothing_to_end() -> None:
    asyncio.run(_end([]))


@pytest.mark.parametrize(
    ("took", "rest"), [(0.0, CALM_SECS), (0.01, CALM_SECS), (0.1, 0.4), (9.0, LONGEST_REST_SECS)]
)
def test_who_has_much_to_read_does_not_read_all_the_time(took: float, rest: float) -> None:
    assert rest_after(took) == rest
