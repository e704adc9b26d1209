"""Counter-based random numbers: Philox 4x32-10.

A draw is a pure function of (seed, tick, stream, realm, index). Therefore the order of evaluation does not
matter, a draw for a subset gives the same bits as a draw for all, and a realm's history does not depend on
the number of realms in the batch.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
"""

from __future__ import annotations

from enum import IntEnum

import torch
from torch import Tensor

MASK32 = 0xFFFFFFFF
MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
SLOT_BITS = 24
"""Bits of the largest number of a slot; the higher bits of an index can number what is drawn for it."""


class Stream(IntEnum):
    """Purposes of draws; below 256. The index of the draw is given for each."""

    MOVE = 1
    """The winner of a contested tile; index: tile."""
    SPAWN_SLOT = 2
    """The first free slot to try; index: 0."""
    SPAWN_TILE = 3
    """Position on the ring; index: slot."""
    REGROW = 4
    """Ticks until an eaten tile regrows; index: tile."""
    POLICY = 5
    """Actions of an agent; index: slot."""
    RANDOM_ACTION = 6
    """Actions of a random agent; index: slot."""
    SHUFFLE = 7
    """Order of a learner's samples; realm: pass over the rollout, index: sample."""
    STRIKE = 8
    """Hit or miss, damage, and the killer among ties; index: attacker's slot."""
    NPC = 9
    """Direction in which an NPC wanders; index: slot."""
    NPC_BIRTH = 10
    """Whether an NPC spawns, and where; index: 8 * slot, and up to 7 more for further words."""
    WORK = 11
    """Whether an attempt succeeds; index: 64 * slot + tier."""
    ROCK = 12
    """The orerock to mine; index: slot."""
    MINERS = 13
    """The miner that gets the ore of a rock; index: tile."""
    DROP = 14
    """Drops of an NPC; index: 64 * slot + position in its list of drops."""
    POLICY_GOODS = 15
    """Work, trade, price and token of an agent; index: slot."""
    RANDOM_GOODS = 16
    """The same for a random agent; index: slot."""
    POLICY_OTHERS = 18
    """The choice of an agent for a head of a system; index: slot + 2^24 * (number of the head // 4)."""
    RANDOM_OTHERS = 19
    """The same for a random agent; index: slot + 2^24 * number of the head."""
    BIRTH_ORDER = 17
    """Which of several NPCs that drew the same tile spawns; index: 0."""


def philox(key: tuple[Tensor | int, Tensor | int], counter: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The Philox 4x32-10 block function on tensors.

    Args:
        key: two 32-bit words, ints or int64 tensors that broadcast with the counter.
        counter: four int64 tensors that broadcast together, each holding 32-bit words.

    Returns:
        Four int64 tensors of the broadcast shape, each holding a 32-bit word (0 to 2^32 - 1).
    """
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(ROUNDS):
        # The product needs 64 unsigned bits. int64 wraps, but its bits are correct, and masking after the
        # arithmetic shift leaves the correct high word.
        p0 = c0 * MULTIPLIER_0
        p1 = c2 * MULTIPLIER_1
        c0 = ((p1 >> 32) & MASK32) ^ c1 ^ k0
        c2 = ((p0 >> 32) & MASK32) ^ c3 ^ k1
        c1 = p1 & MASK32
        c3 = p0 & MASK32
        k0 = (k0 + WEYL_0) & MASK32
        k1 = (k1 + WEYL_1) & MASK32
    return c0, c1, c2, c3


def draw(
    seed: Tensor, tick: Tensor, stream: Stream, realm: Tensor, index: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four 32-bit words for each (realm, index).

    Args:
        seed: [2] int64, the key and the number of realm 0 (``World.seed``).
        tick: [1] int64, 0 or more.
        stream: what the draw is for.
        realm: int64, 0 to 2^32 - 1.
        index: int64, 0 to 2^32 - 1; broadcasts with ``realm``.

    Returns:
        Four int64 tensors of the broadcast shape, values 0 to 2^32 - 1.
    """
    key = (seed[0] & MASK32, (seed[0] >> 32) & MASK32)
    # The tick's high half shares a word with the stream, so the tick never overflows.
    counter = (tick & MASK32, ((tick >> 32) << 8) + int(stream), realm + seed[1], index)
    w0, w1, w2, w3 = philox(key, counter)
    return w0, w1, w2, w3


def below(word: Tensor, bound: Tensor | int) -> Tensor:
    """A uniform integer in [0, bound) from a 32-bit word: the high half of their product.

    ``bound`` is at most 2^31; the bias is below bound / 2^32. Shape and dtype as ``word``."""
    return (word * bound) >> 32


def unit(word: Tensor) -> Tensor:
    """float32 in [0, 1) from a 32-bit word, by its upper 24 bits (all that float32 holds exactly)."""
    return (word >> 8).to(torch.float32) * (1.0 / (1 << 24))
