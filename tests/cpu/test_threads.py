"""Threads: each task runs once, errors propagate, and results do not depend on the number of threads."""

from __future__ import annotations

import itertools
import threading

import pytest
import torch
from support.helpers import ODD, random_orders, random_world

from nmmo_gpu.config import preset
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.observation_layout import ObservationLayout

threads = pytest.importorskip("nmmo_gpu.cpu.threads")


@pytest.fixture(params=[1, 2, 5])
def workers(request):
    """Sets torch's number of threads for the test."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("total", [0, 1, 2, 3, 7, 8, 9, 100])
@pytest.mark.parametrize("parts", [1, 2, 3, 8, 1000])
def test_slices_cover_everything_once_in_nearly_equal_pieces(total, parts):
    pieces = threads.slices(total, parts)
    assert [i for low, high in pieces for i in range(low, high)] == list(range(total))
    assert len(pieces) <= parts
    if total:
        sizes = [high - low for low, high in pieces]
        assert len(pieces) == min(parts, total) and max(sizes) - min(sizes) <= 1


def test_realm_slices_cover_the_realms(workers):
    for realms in (1, 3, 64):
        pieces = threads.realm_slices(realms)
        assert [i for low, high in pieces for i in range(low, high)] == list(range(realms))


@pytest.mark.parametrize("total", [0, 1, 99, 100, 199, 1000, 100_000])
def test_chunks_cover_everything_once_and_have_a_minimum_size(workers, total):
    pieces = threads.chunks(total, 100)
    assert [i for low, high in pieces for i in range(low, high)] == list(range(total))
    assert len(pieces) == 1 or min(high - low for low, high in pieces) >= 100


@pytest.mark.parametrize("realms", [1, 3, 64])
@pytest.mark.parametrize("slots", [7, threads.LARGE])
def test_cut_splits_realms_only_if_they_are_few_and_large(workers, realms, slots):
    for length in (slots, 3 * slots + 1):
        pieces = threads.cut(realms, slots, length)
        assert pieces[0][0] == 0 and pieces[-1][1] == realms * length
        assert all(a[1] == b[0] and a[0] < a[1] for a, b in itertools.pairwise(pieces))
        if slots == threads.LARGE and realms == 1:
            assert len(pieces) == (1 if workers == 1 else 2 * workers)
        if slots == 7 or realms == 64:
            assert all(low % length == 0 for low, _ in pieces)


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_every_task_runs_exactly_once(workers, count):
    done, lock = [], threading.Lock()

    def work(number, word):
        with lock:
            done.append((number, word))

    threads.parallel(work, [(k, "x") for k in range(count)])
    assert sorted(done) == [(k, "x") for k in range(count)]


def test_an_error_in_a_task_propagates(workers):
    def work(number):
        if number == 3:
            raise KeyError("three")

    with pytest.raises(KeyError, match="three"):
        threads.parallel(work, [(k,) for k in range(6)])


@pytest.mark.parametrize("realms", [1, 5])
@pytest.mark.parametrize("large", [1, threads.LARGE])
def test_worlds_do_not_depend_on_the_number_of_threads(workers, realms, large, monkeypatch):
    """The digest and the records after each tick equal those of torch, also if threads share a realm."""
    monkeypatch.setattr(threads, "LARGE", large)
    config = preset("chaos", **ODD, slots=14, populations=7, births=3, regrowth=0.2)
    ours = random_world(config, realms, 9, fill=1.0)
    theirs = ours.clone()
    compiled, plain = resolve("numba", torch.device("cpu")), resolve("torch", torch.device("cpu"))
    random = torch.Generator().manual_seed(7)
    layout = ObservationLayout(config)
    for _ in range(15):
        step = random_orders(ours, random)
        seen = []
        for world, world_config in ((ours, compiled), (theirs, plain)):
            tick.step(world, world_config, *step)
            records = layout.allocate(realms, 14, device="cpu")
            rows = torch.empty(realms, 14, config.nearest, dtype=torch.int32)
            world_config.observe(world, records, rows)
            seen.append((world.digest(), records, rows))
        assert seen[0][0] == seen[1][0]
        assert torch.equal(seen[0][1], seen[1][1]) and torch.equal(seen[0][2], seen[1][2])
