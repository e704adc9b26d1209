"""Philox 4x32-10 for compiled loops; twin of ``nmmo_gpu.world.random``."""

# mypy: disable-error-code="no-untyped-def"

import numba
import numpy as np

from nmmo_gpu.world import random as rule

MASK = np.uint64(rule.MASK32)
M0, M1 = np.uint64(rule.MULTIPLIER_0), np.uint64(rule.MULTIPLIER_1)
W0, W1 = np.uint64(rule.WEYL_0), np.uint64(rule.WEYL_1)
HALF = np.uint64(32)
EIGHT = np.uint64(8)
ROUNDS = rule.ROUNDS


@numba.njit(nogil=True, cache=True, inline="always")
def draw(seed, tick, stream, realm, index):
    """Two 32-bit words (uint64) for (seed, tick, stream, realm, index), all integers."""
    key0 = np.uint64(seed) & MASK
    key1 = (np.uint64(seed) >> HALF) & MASK
    c0 = np.uint64(tick) & MASK
    c1 = ((np.uint64(tick) >> HALF) << EIGHT) + np.uint64(stream)
    c2 = np.uint64(realm)
    c3 = np.uint64(index)
    for _ in range(ROUNDS):
        p0 = M0 * c0
        p1 = M1 * c2
        c0 = (p1 >> HALF) ^ c1 ^ key0
        c2 = (p0 >> HALF) ^ c3 ^ key1
        c1 = p1 & MASK
        c3 = p0 & MASK
        key0 = (key0 + W0) & MASK
        key1 = (key1 + W1) & MASK
    return c0, c1


@numba.njit(nogil=True, cache=True, inline="always")
def below(word, bound):
    """A fair integer in [0, bound) from a 32-bit word."""
    return np.int64((word * np.uint64(bound)) >> HALF)
