"""What exists in the world: tables, not code."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch


class Material(IntEnum):
    """What a tile is made of; the value is the index stored in the material planes."""

    LAVA = 0
    WATER = 1
    GRASS = 2
    SCRUB = 3
    FOREST = 4
    STONE = 5
    ORE_ROCK = 6


@dataclass(frozen=True)
class MaterialKind:
    """One row of the material table."""

    name: str
    walkable: bool
    colour: tuple[int, int, int]
    """RGB in 0..255, for pictures and the viewer."""


MATERIALS: dict[Material, MaterialKind] = {
    Material.LAVA: MaterialKind("lava", True, (196, 62, 28)),
    Material.WATER: MaterialKind("water", False, (52, 118, 190)),
    Material.GRASS: MaterialKind("grass", True, (122, 168, 82)),
    Material.SCRUB: MaterialKind("scrub", True, (168, 158, 98)),
    Material.FOREST: MaterialKind("forest", True, (38, 98, 52)),
    Material.STONE: MaterialKind("stone", False, (122, 122, 126)),
    Material.ORE_ROCK: MaterialKind("orerock", False, (150, 110, 70)),
}


def walkable_table(device: torch.device | str = "cpu") -> torch.Tensor:
    """``[materials] bool``: whether each material can be entered."""
    return torch.tensor([MATERIALS[m].walkable for m in Material], device=device)
