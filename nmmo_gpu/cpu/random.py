"""Philox 4x32-10 for compiled loops; twin of ``nmmo_gpu.world.random``."""

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import parallel, slices
from nmmo_gpu.world import random as rule

MASK = np.uint64(rule.MASK32)
M0, M1 = np.uint64(rule.MULTIPLIER_0), np.uint64(rule.MULTIPLIER_1)
W0, W1 = np.uint64(rule.WEYL_0), np.uint64(rule.WEYL_1)
HALF = np.uint64(32)
EIGHT = np.uint64(8)
ROUNDS = rule.ROUNDS


@compiled(inline="always")
def draw(seed, tick, stream, realm, index):
    """Returns four 32-bit words (uint64) for (seed, tick, stream, realm, index). ``seed`` is the array of
    ``World.seed``; the others are integers."""
    key0 = np.uint64(seed[0]) & MASK
    key1 = (np.uint64(seed[0]) >> HALF) & MASK
    c0 = np.uint64(tick) & MASK
    c1 = ((np.uint64(tick) >> HALF) << EIGHT) + np.uint64(stream)
    c2 = np.uint64(realm + seed[1])
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
    return c0, c1, c2, c3


@compiled(inline="always")
def below(word, bound):
    """Converts a 32-bit word to a uniform integer in [0, bound)."""
    return np.int64((word * np.uint64(bound)) >> HALF)


@compiled
def _draw_many(seed, tick, stream, realm, index, out, low, high):
    for i in range(low, high):
        words = draw(seed, tick, stream, realm[i], index[i])
        for w in range(4):
            out[w, i] = words[w]


def draw_many(
    seed: Tensor, tick: Tensor, stream: rule.Stream, realm: Tensor, index: Tensor
) -> tuple[Tensor, ...]:
    """Twin of ``nmmo_gpu.world.random.draw``."""
    realm, index = torch.broadcast_tensors(realm, index)
    out = torch.empty(4, *realm.shape, dtype=torch.int64, device="cpu")
    arrays = (realm.reshape(-1).numpy(), index.reshape(-1).numpy(), out.view(4, -1).numpy())
    head = (seed.numpy(), int(tick), int(stream))
    parallel(_draw_many, [(*head, *arrays, *piece) for piece in slices(realm.numel(), 8)])
    return out.unbind(0)
