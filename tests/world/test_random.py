"""Random numbers: the published generator, and the same bits for all or a few draws, in torch and numba."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from support.helpers import chi_square

from nmmo_gpu.world.random import MASK32, Stream, below, draw, philox, unit

PI = ((0xA4093822, 0x299F31D0), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344))
# Random123's known-answer file (kat_vectors), philox4x32 with 10 rounds: key, counter, result.
KNOWN = [
    ((0, 0), (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((MASK32,) * 2, (MASK32,) * 4, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (*PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


def words(seed: int, tick: int, stream: int, realm, index) -> torch.Tensor:
    """Returns [4, ...] words for one seed and tick."""
    when = torch.tensor([seed, 0]), torch.tensor([tick])
    return torch.stack(draw(*when, stream, torch.as_tensor(realm), torch.as_tensor(index)))


def test_philox_matches_the_published_vectors():
    for key, counter, answer in KNOWN:
        result = philox(key, tuple(torch.tensor([c]) for c in counter))
        assert tuple(int(w) for w in result) == answer
    # All in one call, as tensors, including the key.
    keys = tuple(torch.tensor(k) for k in zip(*(k for k, _, _ in KNOWN), strict=True))
    counters = tuple(torch.tensor(c) for c in zip(*(c for _, c, _ in KNOWN), strict=True))
    assert torch.stack(philox(keys, counters), 1).tolist() == [list(answer) for _, _, answer in KNOWN]


def arguments(key: tuple[int, int], counter: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Returns the (seed, tick, stream, realm, index) for which ``draw`` uses this key and counter."""
    seed = key[1] << 32 | key[0]
    seed -= (seed >> 63) << 64
    return seed, (counter[1] >> 8) << 32 | counter[0], counter[1] & 0xFF, counter[2], counter[3]


@pytest.mark.parametrize(("key", "counter", "answer"), KNOWN)
def test_draw_uses_the_seed_as_key_and_the_rest_as_counter(key, counter, answer):
    """The low tick word, then stream and high tick bits, realm, index; in torch and in numba."""
    seed, tick, stream, realm, index = arguments(key, counter)
    assert words(seed, tick, stream, [realm], [index]).squeeze(1).tolist() == list(answer)
    compiled = pytest.importorskip("nmmo_gpu.cpu.random")
    assert tuple(map(int, compiled.draw(np.array([seed, 0]), tick, stream, realm, index))) == answer


def test_numba_draws_the_same_words_and_the_same_integers_below_a_bound():
    compiled = pytest.importorskip("nmmo_gpu.cpu.random")
    random = torch.Generator().manual_seed(5)
    for _ in range(60):
        seed = int(torch.randint(-(1 << 63), (1 << 63) - 1, (1,), generator=random))
        tick = int(torch.randint(1 << 40, (1,), generator=random))
        realm, index = torch.randint(1 << 32, (2,), generator=random).tolist()
        bound = int(torch.randint(1, 1 << 31, (1,), generator=random))
        for stream in Stream:
            by_torch = words(seed, tick, stream, [realm], [index])[:, 0]
            by_numba = compiled.draw(np.array([seed, 0]), tick, int(stream), realm, index)
            assert by_torch.tolist() == [int(w) for w in by_numba]
            assert int(below(by_torch[0], bound)) == compiled.below(by_numba[0], bound)


def test_realms_are_numbered_from_the_first_one():
    """Realm 0 of a world whose first realm is number 70,000 draws what realm 70,000 of another world
    draws."""
    realm, index, tick = torch.arange(4), torch.arange(4) + 9, torch.tensor([8])
    expected = torch.stack(draw(torch.tensor([-3, 0]), tick, Stream.MOVE, realm + 70_000, index))
    shifted = torch.tensor([-3, 70_000])
    assert torch.equal(torch.stack(draw(shifted, tick, Stream.MOVE, realm, index)), expected)
    compiled = pytest.importorskip("nmmo_gpu.cpu.random")
    assert torch.equal(torch.stack(compiled.draw_many(shifted, tick, Stream.MOVE, realm, index)), expected)


def test_drawing_for_a_few_gives_the_same_bits_as_drawing_for_all():
    realm, index = torch.arange(5)[:, None], torch.arange(1000)[None]
    dense = words(9, 77, Stream.MOVE, realm, index)
    assert dense.shape == (4, 5, 1000)
    some = torch.tensor([[0, 0], [4, 999], [2, 123], [4, 999], [3, 0]])
    sparse = words(9, 77, Stream.MOVE, some[:, 0], some[:, 1])
    assert torch.equal(sparse, dense[:, some[:, 0], some[:, 1]])
    backwards = words(9, 77, Stream.MOVE, realm, index.flip(1)).flip(2)
    assert torch.equal(backwards, dense)


def test_every_part_of_the_counter_changes_the_words():
    """Seeds (also negative, and with equal low halves), ticks (also above 2^32), streams, realms and
    indices."""
    seeds = (0, 1, -1, 1 << 32, (1 << 32) + 1, -(1 << 63), (1 << 63) - 1)
    ticks = (0, 1, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 5 << 32)
    realm, index = torch.arange(3)[:, None], torch.arange(4)[None]
    seen = set()
    for seed in seeds:
        for tick in ticks:
            for stream in Stream:
                seen |= {tuple(w) for w in words(seed, tick, stream, realm, index).flatten(1).T.tolist()}
    assert len(seen) == len(seeds) * len(ticks) * len(Stream) * 12


def test_words_have_32_uniform_bits():
    drawn = words(-12345, 3, Stream.POLICY, [0], torch.arange(20_000))
    assert int(drawn.min()) >= 0 and int(drawn.max()) <= MASK32
    for word in drawn:
        ones = (word[:, None] >> torch.arange(32) & 1).double().mean(0)
        assert float((ones - 0.5).abs().max()) < 4.5 * 0.5 / 20_000**0.5


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 100])
def test_below_is_in_range_and_uniform(bound):
    value = below(words(3, 1, Stream.SPAWN_TILE, [0], torch.arange(20_000))[0], bound)
    assert int(value.min()) >= 0 and int(value.max()) < bound
    if bound > 1:
        statistic, limit = chi_square(torch.bincount(value, minlength=bound))
        assert statistic < limit


def test_below_at_the_extremes_of_word_and_bound():
    ends = torch.tensor([0, MASK32])
    assert below(ends, 1 << 31).tolist() == [0, (1 << 31) - 1]
    assert below(ends, torch.tensor([0, 1])).tolist() == [0, 0]


def test_unit_is_at_least_0_below_1_and_uniform():
    ends = unit(torch.tensor([0, 255, 256, MASK32]))
    assert ends.dtype == torch.float32
    assert ends.tolist() == [0.0, 0.0, 2.0**-24, 1.0 - 2.0**-24]
    value = unit(words(3, 1, Stream.POLICY, [0], torch.arange(20_000))[1])
    statistic, limit = chi_square(torch.histc(value, 20, 0.0, 1.0))
    assert statistic < limit


def test_successive_ticks_are_uncorrelated():
    """The winners of one tick do not predict those of the next."""
    here = torch.stack([unit(words(1, t, Stream.MOVE, [0], torch.arange(64))[0]) for t in range(300)])
    a, b = here[:-1] - 0.5, here[1:] - 0.5
    correlation = float((a * b).mean() * 12)
    assert abs(correlation) < 4.0 / a.numel() ** 0.5
