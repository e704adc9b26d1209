"""Random numbers in kernels: the published generator, and the same integers and fractions as in torch."""

from __future__ import annotations

import pytest
import torch
from support.helpers import KERNEL_DEVICE

pytest.importorskip("triton")

import triton
import triton.language as tl

from nmmo_gpu.kernels import random as kernels
from nmmo_gpu.kernels.launch import launch
from nmmo_gpu.world.random import MASK32, Stream, below, draw, unit

# Random123's known-answer file (kat_vectors), philox4x32 with 10 rounds: key, counter, result.
KNOWN = [
    ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK32,) * 2, (MASK32,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0xA4093822, 0x299F31D0), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]  # fmt: skip


kernels_draw, kernels_word = kernels.draw, kernels.draw_word
kernels_below, kernels_unit = kernels.below, kernels.unit


@triton.jit
def _draw(world, realm, index, words, STREAM: tl.constexpr):
    w0, w1, w2, w3 = kernels_draw(world, STREAM, tl.load(realm), tl.load(index))
    tl.store(words, w0.to(tl.int64))
    tl.store(words + 1, w1.to(tl.int64))
    tl.store(words + 2, w2.to(tl.int64))
    tl.store(words + 3, w3.to(tl.int64))
    tl.store(words + 4, kernels_word(world, STREAM, tl.load(realm), tl.load(index)))


@pytest.mark.parametrize("first", [0, 7])
@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN)
def test_draw_matches_the_published_answers(key, counter, answer, first):
    """The key is the seed; the counter is the low word of the tick, then stream and high tick bits, realm and
    index. Includes streams and realms that no world has; realms are counted from the world's first.
    ``draw_word`` returns the first word."""
    seed = key[1] << 32 | key[0]
    seed -= (seed >> 63) << 64
    now, stream = (counter[1] >> 8) << 32 | counter[0], counter[1] & 0xFF
    numbers = [seed, first], [now], [counter[2] - first], [counter[3]]
    places = [torch.tensor(part, device=KERNEL_DEVICE) for part in numbers]
    words = torch.full((5,), -1, device=KERNEL_DEVICE)
    launch(_draw, 1, kernels._Clock(*places[:2]), *places[2:], words, STREAM=stream)
    assert words.tolist() == [*answer, answer[0]]


@triton.jit
def _numbers(words, bounds, integers, fractions, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    word = tl.load(words + i, mask=i < n, other=0).to(tl.uint32)
    tl.store(integers + i, kernels_below(word, tl.load(bounds + i, mask=i < n, other=1)), mask=i < n)
    tl.store(fractions + i, kernels_unit(word), mask=i < n)


def test_integers_and_fractions_are_those_of_torch_to_the_last_bit():
    """Includes the limits of words, and of bounds up to 2^31 - 1; bound 0 gives 0."""
    ends = torch.tensor([0, 1, 127, 128, 255, 256, 257, (1 << 31) - 1, 1 << 31, MASK32 - 255, MASK32])
    key = torch.tensor([3, 0]), torch.tensor([9])
    words = torch.cat((ends, draw(*key, Stream.MOVE, ends[:1], torch.arange(89))[0]))
    bounds = torch.tensor([0, 1, 2, 3, 4, 7, 100, 207, 1551, (1 << 26) + 1, (1 << 31) - 1])
    word, bound = (part.reshape(-1).contiguous() for part in torch.meshgrid(words, bounds, indexing="ij"))
    n = word.numel()
    integers = torch.full((n + 3,), -7, dtype=torch.int32, device=KERNEL_DEVICE)
    fractions = torch.full((n + 3,), -7.0, device=KERNEL_DEVICE)
    arguments = word.to(KERNEL_DEVICE), bound.int().to(KERNEL_DEVICE), integers, fractions
    launch(_numbers, triton.cdiv(n, 256), *arguments, n, BLOCK=256)
    assert torch.equal(integers[:n].cpu().long(), below(word, bound))
    assert torch.equal(fractions[:n].cpu(), unit(word))
    assert integers[n:].tolist() == [-7] * 3 and fractions[n:].tolist() == [-7.0] * 3
