"""Counter-based random numbers: Philox 4x32-10.

A draw is a pure function of (seed, tick, stream, realm, index), so the order of evaluation does not
matter, drawing for a few gives the same bits as drawing for all, and a realm's history does not depend on
how many realms run beside it.

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


class Stream(IntEnum):
    """What a draw is for; below 256. The index that goes with it is named behind each."""

    MOVE = 1
    """Who wins a contested tile; index: tile."""
    SPAWN_SLOT = 2
    """Which free slot comes first; index: 0."""
    SPAWN_TILE = 3
    """Where on the ring; index: slot."""
    REGROW = 4
    """Ticks until an eaten tile returns; index: tile."""
    POLICY = 5
    """What an agent chooses; index: slot."""
    RANDOM_ACTION = 6
    """What a random agent chooses; index: slot."""
    SHUFFLE = 7
    """The order in which a learner takes its samples; realm: pass over the rollout, index: sample."""
    STRIKE = 8
    """Whether an attack hits, how hard, and who of several counts as the killer; index: attacker's slot."""
    NPC = 9
    """Where an NPC wanders; index: slot."""
    NPC_BIRTH = 10
    """Whether an NPC is born, and where; index: 8 * slot, and up to 7 more for further words."""
    WORK = 11
    """Whether an attempt succeeds; index: 64 * slot + tier."""
    ROCK = 12
    """Which orerock is mined; index: slot."""
    MINERS = 13
    """Who of several gets the ore of a rock; index: tile."""
    DROP = 14
    """What an NPC leaves; index: 64 * slot + place in its list of drops."""
    POLICY_GOODS = 15
    """What an agent works, trades, bids and says; index: slot."""
    RANDOM_GOODS = 16
    """The same of a random agent; index: slot."""
    BIRTH_ORDER = 17
    """Which of several NPCs is born on a tile that they all drew; index: 0."""


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
        # The product needs 64 unsigned bits. int64 wraps, but its bits are the right ones, and masking
        # after the arithmetic shift leaves the true high word.
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
    # The tick's high half shares a word with the stream, so that a world can run for ever.
    counter = (tick & MASK32, ((tick >> 32) << 8) + int(stream), realm + seed[1], index)
    w0, w1, w2, w3 = philox(key, counter)
    return w0, w1, w2, w3


def below(word: Tensor, bound: Tensor | int) -> Tensor:
    """A fair integer in [0, bound) from a 32-bit word: the high half of their product.

    ``bound`` is at most 2^31; the bias is below bound / 2^32. Shape and dtype as ``word``."""
    return (word * bound) >> 32


def unit(word: Tensor) -> Tensor:
    """float32 in [0, 1) from a 32-bit word, by its upper 24 bits (all that float32 holds exactly)."""
    return (word >> 8).to(torch.float32) * (1.0 / (1 << 24))
