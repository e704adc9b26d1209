"""Compiled combat, loot and growth against the rules in torch, to the last bit.

By hand, and against their laws, they are tested in ``tests/world``."""

from __future__ import annotations

import importlib

import pytest
import torch
from support.fighting import EXPECTED, SETTINGS, hold, worlds
from support.helpers import assert_same

from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.growth import growth

pytest.importorskip("numba")
threads = importlib.import_module("nmmo_gpu.cpu.threads")
NUMBA = resolve("numba", torch.device("cpu"))


@pytest.mark.parametrize("setting", SETTINGS)
def test_fights_end_the_same(setting):
    """Crowds of the frail, with litter in the slots of the dead; and enough of everything happens."""
    seen = hold(NUMBA, setting, 6)
    assert {name for name in EXPECTED[setting] if not seen[name]} == set()


def test_threads_may_share_a_realm_to_grow_in(monkeypatch):
    """As they do in realms of thousands of slots: cut anywhere, not only between realms."""
    monkeypatch.setattr(threads, "LARGE", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    pieces = []
    twin = importlib.import_module("nmmo_gpu.cpu.growth")
    plain = twin.parallel

    def parallel(function, tasks):
        pieces.extend(task[-2:] for task in tasks)
        plain(function, tasks)

    monkeypatch.setattr(twin, "parallel", parallel)
    for world, *_ in worlds("full", 2):
        theirs = world.clone()
        growth(world)
        NUMBA.growth(theirs)
        assert_same(theirs, world, "numba, then torch")
    assert any(low % 49 for low, _ in pieces)
