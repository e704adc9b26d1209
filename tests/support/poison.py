"""Garbage in memory that nothing has written yet."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.helpers import GARBAGE
from torch import Tensor

from nmmo_gpu.world.state import World


def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes ``torch.empty`` and ``torch.empty_like`` return NaN or large numbers, so that reading unwritten
    memory shows in the results."""

    def poisoned(tensor: Tensor) -> Tensor:
        return tensor.fill_(torch.nan if tensor.is_floating_point() else GARBAGE)

    for name in ("empty", "empty_like"):
        plain = getattr(torch, name)
        monkeypatch.setattr(torch, name, lambda *a, plain=plain, **k: poisoned(plain(*a, **k)))


def poisoned_workspaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fills new workspaces without a fill value with random numbers, which include plausible values."""
    plain, random = World.workspace, torch.Generator().manual_seed(0)

    def workspace(self: World, name: str, shape: Any, dtype: torch.dtype, fill: Any = None) -> Tensor:
        known = name in self.workspaces
        room = plain(self, name, shape, dtype, fill)
        if fill is None and not known:
            room.copy_(torch.randint(-2, 200, shape, generator=random))
        return room

    monkeypatch.setattr(World, "workspace", workspace)
