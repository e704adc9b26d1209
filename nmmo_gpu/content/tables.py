"""Look-up tables of the rules: the content's rows by number instead of by name.

They are derived once from a ``Content``. They are Python tuples, so that compilers can use them as constants;
``nmmo_gpu.content.tables.tensor`` converts one to a tensor on a device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from nmmo_gpu.content.definitions import GEAR, GOLD, SKILLS, WORKS, Content, Material
from nmmo_gpu.content.hashing import hash_once

LEVELS = 99
"""The highest level."""
ONE = 1 << 16
"""A chance of 1 as an integer: an event occurs if 16 random bits are below chance * ONE."""
HABITAT_BITS = len(Material)


@cache
def experience_table() -> tuple[int, ...]:
    """Experience needed for levels 1 to 99: exp[0] = 0, and exp[i] = exp[i - 1] + floor(floor(i + 300 *
    2^(i / 7)) / 4).

    Source: the experience curve of RuneScape, which Neural MMO v1 refers to."""
    needed = [0]
    for i in range(1, LEVELS):
        needed.append(needed[-1] + int(i + 300 * 2 ** (i / 7)) // 4)
    return tuple(needed)


@dataclass(frozen=True)
class RecipeRow:
    """One recipe by number."""

    level: int
    skill: int
    experience: int
    makes: int
    """Item."""
    amount: int
    takes: int
    """Item; -1 for none."""
    takes_amount: int
    room: int
    """Units of room that it needs beyond those it frees; 0 or more."""


@dataclass(frozen=True)
class NPCRow:
    """One NPC kind by number."""

    health: int
    level: int
    habitat: int
    """One bit per material."""
    hunts: int
    """0 never, 1 provoked, 2 always."""
    sight: int
    aggro_ticks: int
    experience: int
    drops: tuple[tuple[int, int, int, int], ...]
    """(item, or the number of items for gold; minimum; maximum; chance in units of 1/65536)."""
    number: int
    """On a map of 80 x 80 tiles."""


@hash_once
@dataclass(frozen=True)
class Tables:
    """A content as numbers."""

    items: tuple[str, ...]
    weight: tuple[int, ...]
    lot: tuple[int, ...]
    gear: tuple[tuple[int, ...], ...]
    """Per kind of gear (``GEAR``) its items, by rising level: rank r has index r - 1."""
    gear_level: tuple[tuple[int, ...], ...]
    """The required levels."""
    attack: tuple[tuple[int, ...], ...]
    """Attack bonus by kind of gear and rank, 0 for rank 0, which means none."""
    strength: tuple[tuple[int, ...], ...]
    """As ``attack``."""
    defense: tuple[int, ...]
    """Defense bonus of armor by rank, 0 for rank 0."""
    meals: tuple[tuple[int, int, int], ...]
    """(item, heals, feeds) of edible items, by rising ``heals``."""
    recipes: tuple[tuple[RecipeRow, ...], ...]
    """Per work (``WORKS``) its recipes, by rising level."""
    npcs: tuple[NPCRow, ...]
    prices: tuple[int, ...]

    @property
    def weightless(self) -> tuple[int, ...]:
        """The items without weight."""
        return tuple(item for item, weight in enumerate(self.weight) if not weight)

    @property
    def gold(self) -> int:
        """The index of gold where items are numbered: one more than the last."""
        return len(self.items)


@cache
def tables(content: Content) -> Tables:
    """The content as numbers. It is checked by ``nmmo_gpu.config``, so every name is known."""
    names = tuple(item.name for item in content.items)
    number = {name: i for i, name in enumerate(names)} | {GOLD: len(names), "": -1}
    gear = []
    for kind in GEAR:
        of_kind = [i for i, item in enumerate(content.items) if item.gear == kind]
        gear.append(tuple(sorted(of_kind, key=lambda i: content.items[i].level)))
    weight = tuple(item.weight for item in content.items)
    recipes = []
    for work in WORKS:
        rows = []
        for r in sorted((r for r in content.recipes if r.work == work), key=lambda r: r.level):
            makes, takes = number[r.makes], number[r.takes]
            grows = r.amount * weight[makes] - (r.takes_amount * weight[takes] if takes >= 0 else 0)
            rows.append(RecipeRow(
                r.level, SKILLS.index(r.skill), r.experience, makes, r.amount, takes, r.takes_amount,
                max(grows, 0),
            ))  # fmt: skip
        recipes.append(tuple(rows))
    meals = [(i, item.heals, item.feeds) for i, item in enumerate(content.items) if item.heals or item.feeds]
    npcs = tuple(
        NPCRow(
            kind.health, kind.level, sum(1 << Material[_material(name)] for name in kind.habitat),
            ("never", "provoked", "always").index(kind.hunts), kind.sight, kind.aggro_ticks, kind.experience,
            tuple((number[d.item], d.minimum, d.maximum, round(d.chance * ONE)) for d in kind.drops),
            kind.number,
        )
        for kind in content.npcs
    )  # fmt: skip

    def by_rank(field: str) -> tuple[tuple[int, ...], ...]:
        return tuple((0, *(getattr(content.items[i], field) for i in kind)) for kind in gear)

    return Tables(
        items=names, weight=weight, lot=tuple(item.lot for item in content.items), gear=tuple(gear),
        gear_level=tuple(tuple(content.items[i].level for i in kind) for kind in gear),
        attack=by_rank("attack"), strength=by_rank("strength"), defense=by_rank("defense")[2],
        meals=tuple(sorted(meals, key=lambda meal: meal[1])), recipes=tuple(recipes), npcs=npcs,
        prices=content.prices,
    )  # fmt: skip


def _material(name: str) -> str:
    return {"orerock": "ORE_ROCK"}.get(name, name.upper())


def combat_level(defense: Any, constitution: Any, best_style: Any) -> Any:
    """The strength of an entity as one number: (5 * (defense + constitution) + 13 * best style) // 20.

    The weights are RuneScape's: a quarter of defense and hitpoints, 13/20 of the best style. For integers,
    or tensors of int32 and wider."""
    return (5 * (defense + constitution) + 13 * best_style) // 20


@cache
def tensor(values: tuple[object, ...], device: torch.device, dtype: torch.dtype = torch.int64) -> Tensor:
    """Nested tuples of equal length as a tensor; cached."""
    return torch.tensor(values, dtype=dtype, device=device)
