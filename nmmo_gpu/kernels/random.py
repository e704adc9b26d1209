"""Counter-based random numbers in kernels; twin of ``nmmo_gpu.world.random``.

The rounds are Triton's own (``tl.philox`` is Philox 4x32-10)."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import launch, over_elements
from nmmo_gpu.world.random import Stream

_Clock = namedtuple("_Clock", "seed tick")


@triton.jit
def draw(world, STREAM: tl.constexpr, realm, index):
    """Returns four uint32 words for each (realm, index), given the ``seed`` and ``tick`` of ``world``."""
    key, number, now = tl.load(world.seed), realm + tl.load(world.seed + 1), tl.load(world.tick)
    low = (now & 0xFFFFFFFF).to(tl.uint32)
    high = (((now >> 32) << 8) + STREAM).to(tl.uint32)
    return tl.philox(key, low, high, number.to(tl.uint32), index.to(tl.uint32))


@triton.jit
def draw_word(world, STREAM: tl.constexpr, realm, index):
    """Returns the first of the four words of ``draw``."""
    first, _, _, _ = draw(world, STREAM, realm, index)
    return first


@triton.jit
def below(word, bound):
    """Converts a uint32 word to a uniform int32 in [0, bound): the high half of their product."""
    return tl.umulhi(word, bound.to(tl.uint32)).to(tl.int32)


@triton.jit
def unit(word):
    """Converts the upper 24 bits of a uint32 word to float32 in [0, 1)."""
    return (word >> 8).to(tl.float32) * (1.0 / (1 << 24))


@triton.jit
def _draw_many(world, realm, index, words, n, STREAM: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = i < n
    w0, w1, w2, w3 = draw(
        world, STREAM, tl.load(realm + i, mask=here, other=0), tl.load(index + i, mask=here, other=0)
    )
    tl.store(words + i, w0.to(tl.int64), mask=here)
    tl.store(words + n + i, w1.to(tl.int64), mask=here)
    tl.store(words + 2 * n + i, w2.to(tl.int64), mask=here)
    tl.store(words + 3 * n + i, w3.to(tl.int64), mask=here)


def draw_many(seed: Tensor, tick: Tensor, stream: Stream, realm: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """See ``nmmo_gpu.world.random.draw``. Each element is written by the program that drew it."""
    realm, index = (t.contiguous() for t in torch.broadcast_tensors(realm, index))
    n = realm.numel()
    words = torch.empty(4, *realm.shape, dtype=torch.int64, device=realm.device)
    programs, block = over_elements(n)
    launch(_draw_many, programs, _Clock(seed, tick), realm, index, words, n, STREAM=int(stream), BLOCK=block)
    return words.unbind(0)
