"""Regrowth by density: an eaten forest tile regrows the faster, the more of its neighbors are forest.

nmmo-gpu train chaos --system examples/systems/dense_regrowth.py:DenseRegrowth
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F

from nmmo_gpu.content import Material
from nmmo_gpu.systems import Bounds, System, World, below, phase, postpone_regrowth, regrowth_due

NEIGHBORS = 8


@dataclass(frozen=True)
class DenseRegrowth(System):
    """Per tick, a tile regrows with the probability ``regrowth`` * (lowest + (1 - lowest) * forest / 8),
    where ``forest`` is the number of its eight neighbors that are forest.

    The rule of the world draws the waiting time for ``regrowth``. When a tile is due, this system lets it
    regrow with the rest of the probability, or draws another waiting time. This gives that distribution
    (thinning, Lewis and Shedler 1979), and only tiles that are due need a draw."""

    lowest: Annotated[float, Bounds(ge=0.01, le=1)] = 0.1
    """Share of the probability without a neighbor."""

    counters = ("regrowths postponed",)

    @phase(before="regrowth")
    def postpone(self, world: World) -> None:
        due = regrowth_due(world) & (world.base == Material.FOREST)
        intact = (world.material == Material.FOREST).to(torch.uint8)
        across = F.pad(intact, (1, 1, 1, 1))
        rows = across[:, :-2] + across[:, 1:-1] + across[:, 2:]
        forest = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:] - intact
        # The share in units of 1 / 65536, as an integer, so that every device computes the same.
        least = round(self.lowest * 65536)
        share = least + (65536 - least) * forest.to(torch.int32) // NEIGHBORS
        accept, wait, _, _ = self.draw(world, due, where=due)
        postponed = due & (below(accept, 65536) >= share)
        postpone_regrowth(world, postponed, wait)
        self.count(world, "regrowths postponed", postponed)
