"""Waiting times until a depleted tile regrows, as integer thresholds."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

NEVER = -1
"""``regrow_at`` of a tile that is not depleted."""


@cache
def thresholds(chance: float) -> tuple[int, ...]:
    """Cumulative distribution of the geometric waiting time, scaled to 32-bit words.

    Entry n - 1 is ``round_down(2^32 * (1 - (1 - chance)^n))``, the number of 32-bit words that mean a wait
    of at most n ticks. The list ends where it reaches 2^32 or stops growing; a word beyond its end waits one
    tick more than its length. For a chance of 0.025 it has about 800 entries, and a word is beyond it with a
    probability below 1e-8. The arithmetic is rational and exact, so every machine has the same table. It is
    empty for a chance of 0.
    """
    if chance <= 0.0:
        return ()
    # The decimal as written (0.025), not the nearest binary float.
    exact = Fraction(str(chance))
    stay = (1 << 64) - (exact.numerator << 64) // exact.denominator
    table: list[int] = []
    remaining = 1 << 64
    while True:
        remaining = remaining * stay >> 64
        entry = ((1 << 64) - remaining) >> 32
        if table and entry <= table[-1]:
            return tuple(table)
        table.append(entry)
        if remaining == 0:
            return tuple(table)


@cache
def threshold_tensor(chance: float, device: torch.device) -> Tensor:
    """``thresholds`` as an int64 tensor on a device; cached."""
    return torch.tensor(thresholds(chance), dtype=torch.int64, device=device)


def waiting_ticks(word: Tensor, chance: float) -> Tensor:
    """Ticks until regrowth, 1 or more, from 32-bit words (int64, any shape; returns int64).

    The chance must be above 0."""
    return torch.searchsorted(threshold_tensor(chance, word.device), word, right=True) + 1
