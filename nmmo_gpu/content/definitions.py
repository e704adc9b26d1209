"""Materials, skills, gear and works; and the types of the rows of content."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import torch

from nmmo_gpu.content.hashing import hash_once
from nmmo_gpu.content.numbers import convert_numbers


class Material(IntEnum):
    """Material of a tile; the value is the index stored in the material planes."""

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
    color: tuple[int, int, int]
    """RGB in 0..255, for images and the viewer."""


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
    return torch.tensor([MATERIALS[m].walkable for m in Material], device=device, dtype=torch.bool)


SKILLS = (
    "melee", "range", "mage", "defense", "constitution", "fishing", "mining", "cooking", "smithing",
)  # fmt: skip
"""Skills in the order of their index; the first three are the attack styles."""
MELEE, RANGE, MAGE, DEFENSE, CONSTITUTION = map(
    SKILLS.index, ("melee", "range", "mage", "defense", "constitution")
)
"""Indices of the skills that rules refer to by name."""

GEAR = ("sword", "knife", "armor")
"""Kinds of gear; an agent wears one of each. A sword counts in melee, a knife at range, where it is thrown,
armor in defense."""
KNIFE, ARMOR = map(GEAR.index, ("knife", "armor"))
"""Indices of the gear that rules refer to by name."""

WORKS = ("none", "fish", "mine", "cook", "sword", "knives", "armor", "eat")
"""Choices of the work head, in the order of their index."""

GOLD = "gold"
"""The name of gold in place of an item: in drops of NPCs, and in the ledger."""


@dataclass(frozen=True)
class Item:
    """One kind of item."""

    name: str
    gear: Literal["", "sword", "knife", "armor"] = ""
    """Kind of gear; empty if the item cannot be worn."""
    level: int = 1
    """Level required to wear it: in melee for a sword, range for a knife, defense for armor."""
    attack: int = 0
    """Attack bonus of a sword or knife."""
    strength: int = 0
    """Strength bonus of a sword or knife."""
    defense: int = 0
    """Defense bonus of armor."""
    heals: int = 0
    """Health gained by eating it."""
    feeds: int = 0
    """Food gained by eating it; an item that heals or feeds is edible."""
    weight: int = 1
    """Inventory units that one piece takes."""
    lot: int = 1
    """Number of pieces in one trade."""

    def __post_init__(self) -> None:
        convert_numbers(self)


@dataclass(frozen=True)
class Recipe:
    """One way of making an item."""

    work: Literal["fish", "mine", "cook", "sword", "knives", "armor"]
    """The choice of the work head. Fishing and mining take no item but need water or an orerock nearby; they
    and cooking can fail, the other three cannot."""
    skill: str
    """The skill that it requires and trains, one of ``SKILLS``."""
    level: int
    """Required level."""
    experience: int
    """Experience for a success."""
    makes: str
    """The item made."""
    amount: int = 1
    """Number of items made."""
    takes: str = ""
    """The item consumed; empty for none."""
    takes_amount: int = 0
    """Number of items consumed."""

    def __post_init__(self) -> None:
        convert_numbers(self)


@dataclass(frozen=True)
class Drop:
    """An item that an NPC may leave to its killer."""

    item: str
    """An item's name, or "gold"."""
    minimum: int = 1
    """Minimum; the number is uniform between ``minimum`` and ``maximum``."""
    maximum: int = 1
    """Maximum."""
    chance: float = 1.0
    """Probability of the drop."""

    def __post_init__(self) -> None:
        convert_numbers(self)


@dataclass(frozen=True)
class NPCKind:
    """One kind of NPC."""

    name: str
    health: int
    level: int
    """Level in all three styles and in defense."""
    habitat: tuple[str, ...]
    """Materials on which it lives; it never leaves them."""
    hunts: Literal["never", "provoked", "always"]
    """Its targets: none; for some ticks the agent that hit it; or the nearest agent in sight."""
    sight: int = 0
    """Range of its sight, tiles (Chebyshev)."""
    aggro_ticks: int = 0
    """Ticks after a hit for which a provoked NPC fights back."""
    drops: tuple[Drop, ...] = ()
    experience: int = 0
    """Experience for its killer, in the style that killed it."""
    number: int = 0
    """Number on a map of 80 x 80; on other maps in proportion to the area."""

    def __post_init__(self) -> None:
        convert_numbers(self)


@hash_once
@dataclass(frozen=True)
class Content:
    """The tables of the full game."""

    items: tuple[Item, ...] = ()
    recipes: tuple[Recipe, ...] = ()
    npcs: tuple[NPCKind, ...] = ()
    prices: tuple[int, ...] = ()
    """Gold, ascending: the prices of offers."""

    def __post_init__(self) -> None:
        convert_numbers(self)
