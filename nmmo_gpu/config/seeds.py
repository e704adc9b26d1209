"""Seeds: integers of 64 bits."""

from __future__ import annotations

from typing import Annotated

from nmmo_gpu.config.bounds import Bounds

MIN_SEED, MAX_SEED = -(1 << 63), (1 << 63) - 1

Seed = Annotated[int, Bounds(ge=MIN_SEED, le=MAX_SEED)]


def offset_seed(seed: int, offset: int) -> int:
    """Returns a seed that is derived from another; after the largest one follows the smallest."""
    return (seed + offset - MIN_SEED) % (1 << 64) + MIN_SEED
