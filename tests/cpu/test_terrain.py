"""The compiled loop draws the maps of the reference, bit for bit."""

from __future__ import annotations

import pytest
import torch

from nmmo_gpu.world.terrain import generate

fill = pytest.importorskip("nmmo_gpu.cpu").PHASES["terrain"]


@pytest.mark.parametrize(
    ("seeds", "count", "height", "width", "border"),
    [
        (range(12), 3, 80, 80, 9),
        ((0, -1, 2**63, -(2**63), 2**100), 4, 33, 47, 7),
        ((5,), 2, 90, 131, 0),
        ((8,), 1, 170, 161, 9),
        ((8,), 1, 32, 500, 3),
    ],
)
def test_maps_are_those_of_the_reference(seeds, count: int, height: int, width: int, border: int) -> None:
    for seed in seeds:
        arguments = (seed, count, height, width, border, 1000 * seed % 977, True)
        assert torch.equal(generate(*arguments, fill=fill), generate(*arguments))


def test_the_number_of_threads_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    one = generate(4, 3, 61, 83, fill=fill)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(generate(4, 3, 61, 83, fill=fill), one)
