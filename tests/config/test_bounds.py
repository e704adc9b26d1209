"""Bounds: which numbers they hold, and what messages say of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import pytest

from nmmo_gpu.config.bounds import Bounds, check_fields
from nmmo_gpu.errors import ConfigError

BIG = (1 << 63) - 1
"""No float is this number: the next ones are 1 less and 1 more than it."""


@dataclass(frozen=True)
class Thing:
    """One field of each kind that configs have, beside those that ``WorldConfig`` has."""

    exact: Annotated[int, Bounds(ge=-1, le=BIG)] = 0
    share: Annotated[float, "a remark", Bounds(ge=0, lt=1)] = 0.0
    limit: Annotated[float, Bounds(gt=0)] | None = None
    most: Annotated[int, Bounds(le=3, or_zero=True)] = 0
    remarked: Annotated[str, "a remark"] = ""
    pair: tuple[Annotated[int, Bounds(gt=0)], Annotated[int, Bounds(gt=0)]] = (1, 2)

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    ("bounds", "inside", "outside", "words"),
    [
        (Bounds(ge=1, le=3), (1, 2.5, 3), (0, 3.01, float("nan")), "from 1 to 3"),
        (Bounds(ge=1), (1, 10**30), (0.99, -5, float("nan")), "of at least 1"),
        (Bounds(gt=0), (1e-300, 7), (0, -1), "above 0"),
        (Bounds(ge=0, lt=1), (0, 0.99), (1, -0.01), "of at least 0 and below 1"),
        (Bounds(le=3), (3, -9), (4,), "of at most 3"),
        (Bounds(ge=2, le=3, or_zero=True), (0, 0.0, 2, 3), (1, -2, 4), "from 2 to 3"),
    ],
    ids=str,
)
def test_a_range_holds_its_numbers_and_says_so(bounds, inside, outside, words):
    assert all(value in bounds for value in inside) and not any(value in bounds for value in outside)
    assert str(bounds) == words


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"exact": BIG + 1}, f"exact = {BIG + 1} is out of range; choose an integer from -1 to {BIG}."),
        ({"exact": None}, f"exact = None is not an integer; choose an integer from -1 to {BIG}."),
        ({"share": 1.0}, "share = 1.0 is out of range; choose a number of at least 0 and below 1."),
        ({"share": 10**400}, "is not a finite number; choose a number of at least 0 and below 1."),
        ({"limit": 0}, "limit = 0 is out of range; choose a number above 0, or None."),
        ({"limit": "5"}, "limit = '5' is not a finite number; choose a number above 0, or None."),
        ({"most": 4}, "most = 4 is out of range; choose 0, or an integer of at most 3."),
        ({"remarked": 4}, "remarked = 4 is not a string; choose a string."),
        ({"pair": (0, 2)}, "pair = (0, 2) holds 0, which is out of range; choose a tuple of 2 elements"),
        ({"pair": (1, "a")}, "pair = (1, 'a') holds 'a', which is not an integer; choose a tuple"),
        ({"pair": ()}, "pair = () has 0 elements; choose a tuple of 2 elements"),
    ],
    ids=str,
)  # fmt: skip
def test_the_first_field_that_does_not_fit_is_named(values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        Thing(**values)


def test_what_fits_is_taken():
    thing = Thing(exact=BIG, share=0, limit=1e9, most=-5, remarked="x", pair=(1, 3))
    assert (thing.exact, thing.limit, thing.pair) == (BIG, 1e9, (1, 3))
