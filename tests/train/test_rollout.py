"""Sorting the rows of a rollout's living agents by population."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import torch

from nmmo_gpu.train.rollout import all_by_population, by_population, living_by_population, living_first

ROLLOUTS = {
    "ticks": st.integers(1, 5), "realms": st.integers(1, 4), "populations": st.integers(1, 4),
    "size": st.integers(1, 4), "share": st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]),
    "seed": st.integers(0, 10_000),
}  # fmt: skip


@hypothesis.given(**ROLLOUTS)
@hypothesis.settings(max_examples=150)
def test_each_living_row_occurs_once_in_its_population(ticks, realms, populations, size, share, seed):
    """It is marked as real, and rows are in the order of ticks and slots. Rows of empty slots do not occur,
    and the padding repeats the first slot's row."""
    slots = populations * size
    random = torch.Generator().manual_seed(seed)
    alive = torch.rand(ticks, realms * slots, generator=random) < share
    index, real = by_population(alive, populations, slots)

    expected = [[] for _ in range(populations)]
    for t in range(ticks):
        for realm in range(realms):
            for slot in range(slots):
                if alive[t, realm * slots + slot]:
                    expected[slot // size].append((t * realms + realm) * slots + slot)
    assert index.shape == real.shape == (populations, max(1, *map(len, expected)))
    for p in range(populations):
        assert index[p][real[p]].tolist() == expected[p]
        assert real[p].tolist() == [column < len(expected[p]) for column in range(index.shape[1])]
        assert index[p][~real[p]].tolist() == [p * size] * int((~real[p]).sum())


def test_an_example():
    """Two ticks of two realms with two populations of two slots."""
    alive = torch.tensor([[1, 0, 0, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 0, 1, 1]]).bool()
    index, real = by_population(alive, 2, 4)
    assert index.tolist() == [[0, 5, 8], [3, 14, 15]]
    assert real.all()


def test_without_living_agents_there_is_one_column_of_padding():
    """So shapes stay usable."""
    index, real = by_population(torch.zeros(3, 10, dtype=torch.bool), 5, 5)
    assert index.tolist() == [[0], [1], [2], [3], [4]]
    assert not real.any()


@hypothesis.given(**ROLLOUTS)
@hypothesis.settings(max_examples=100)
def test_rows_of_empty_slots_can_be_included(ticks, realms, populations, size, share, seed):
    """Each row occurs once in its population, in the order of ticks and slots. The sizes do not depend on who
    lives, and the living rows are in the same order as without the others."""
    slots = populations * size
    random = torch.Generator().manual_seed(seed)
    alive = torch.rand(ticks, realms * slots, generator=random) < share
    index, real = all_by_population(alive, populations, slots)
    assert index.shape == real.shape == (populations, ticks * realms * size)
    assert index.dtype == torch.int64 and index.is_contiguous()
    assert torch.equal(real, alive.view(-1)[index])
    living, living_real = by_population(alive, populations, slots)
    for p in range(populations):
        rows = index[p].tolist()
        assert rows == [row for row in range(alive.numel()) if row % slots // size == p]
        assert index[p][real[p]].tolist() == living[p][living_real[p]].tolist()


@hypothesis.given(more=st.integers(0, 5), **ROLLOUTS)
@hypothesis.settings(max_examples=100)
def test_living_rows_in_a_given_number_of_columns(ticks, realms, populations, size, share, seed, more):
    """The rows equal those of ``by_population`` in that length, for any number of columns that holds all."""
    slots = populations * size
    random = torch.Generator().manual_seed(seed)
    alive = torch.rand(ticks, realms * slots, generator=random) < share
    index, real = by_population(alive, populations, slots)
    columns = min(index.shape[1] + more, ticks * realms * size)
    index, real = by_population(alive, populations, slots, columns)
    found, found_real = living_by_population(alive, populations, slots, columns)
    assert found.is_contiguous() and torch.equal(found, index) and torch.equal(found_real, real)


def test_an_example_with_empty_slots():
    """A tick of two realms with two populations of two slots."""
    alive = torch.tensor([[1, 0, 0, 1, 0, 1, 0, 0]]).bool()
    index, real = all_by_population(alive, 2, 4)
    assert index.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert real.int().tolist() == [[1, 0, 0, 1], [0, 1, 0, 0]]


@hypothesis.given(data=st.data(), **{name: kind for name, kind in ROLLOUTS.items() if name != "ticks"})
@hypothesis.settings(max_examples=60)
def test_slots_of_living_agents_come_first(data, realms, populations, size, share, seed):
    """Each row begins with its population's living, in order; empty slots follow, also in order. Fewer
    columns are the beginning of more."""
    slots = populations * size
    random = torch.Generator().manual_seed(seed)
    alive = torch.rand(realms, slots, generator=random) < share
    index = living_first(alive, populations, realms * size)
    for p in range(populations):
        rows = [row for row in range(realms * slots) if row % slots // size == p]
        assert index[p].tolist() == sorted(rows, key=lambda row: not alive.view(-1)[row])
    columns = data.draw(st.integers(1, realms * size))
    fewer = living_first(alive, populations, columns)
    assert fewer.is_contiguous() and torch.equal(fewer, index[:, :columns])
