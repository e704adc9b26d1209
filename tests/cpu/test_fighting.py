"""Threads in compiled growth."""

from __future__ import annotations

import importlib

import pytest
import torch
from support.fighting import worlds
from support.helpers import assert_same

from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.growth import growth

pytest.importorskip("numba")
threads = importlib.import_module("nmmo_gpu.cpu.threads")
NUMBA = resolve("numba", torch.device("cpu"))


def test_threads_share_a_realm_in_growth(monkeypatch):
    """Slices may start within a realm, as in realms of thousands of slots."""
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
