"""``Backend.draw`` and ``Backend.decode``."""

from __future__ import annotations

import pytest
import torch
from support.parity import TORCH
from support.ticking import generator

from nmmo_gpu.world.random import Stream


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_decode(twin, kind, monkeypatch):
    """Actions of every integer dtype, contiguous and strided, with three heads and more; rows of the table
    that are empty, and choices of row 0."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 32)
    random = generator(3)
    for shape, nearest in (((1, 7), 8), ((3, 70), 5), ((2, 33), 120)):
        seen = torch.randint(-1, shape[1], (*shape, nearest), generator=random, dtype=torch.int32)
        highest = torch.tensor([5, 3, nearest + 1])
        actions = (torch.rand(*shape, 6, generator=random) * highest.repeat(2)).to(kind)
        for chosen in (actions[..., :3], actions[..., 3:].contiguous(), actions[..., :3] * 0, actions):
            there = twin.backend.decode(chosen.to(twin.device), seen.to(twin.device))
            for ours, theirs in zip(TORCH.decode(chosen, seen), there, strict=True):
                assert torch.equal(theirs.cpu().long(), ours)


def test_draws_of_tensors(twin, monkeypatch):
    """Broadcast, strided and empty arguments; seeds and ticks at the limits of their range."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 256)
    realm, index = torch.arange(3)[:, None], torch.arange(101)[None]
    strided, high = torch.arange(404)[::4], torch.tensor([0, 1 << 31, (1 << 32) - 1])
    places = (
        (realm, index), (index, realm), (strided, strided), (realm[:0], index), (high[:, None], high[None]),
    )  # fmt: skip
    keys = [(0, 0), (-7, (1 << 32) - 1), ((1 << 63) - 1, 5 << 32), (-(1 << 63), (1 << 31) + 3)]
    for seed, now in keys:
        for stream in twin.few(Stream, (Stream.MOVE, Stream.RANDOM_ACTION)):
            for at in places:
                arguments = torch.tensor([seed, 0]), torch.tensor([now]), stream, *at
                there = [a.to(twin.device) if isinstance(a, torch.Tensor) else a for a in arguments]
                ours, theirs = TORCH.draw(*arguments), twin.backend.draw(*there)
                assert len(ours) == len(theirs) == 4
                assert all(a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))
                assert all(torch.equal(a, b.cpu()) for a, b in zip(ours, theirs, strict=True))
