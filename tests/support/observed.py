"""Configs with different observation layouts, and a function that observes a world."""

from __future__ import annotations

import dataclasses

import torch
from support.helpers import GARBAGE, ODD
from torch import Tensor

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import STANDARD, Drop, Item, NPCKind, Recipe
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World

SENTINEL = 0x5A5A
PLAIN = "...ff,,~##%%"
"""Terrain of random worlds, with water, food and ore close to every agent."""


def look(backend: Backend, world: World) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Returns (views, seen, records) of an observation written over garbage; checks that all bytes are
    written."""
    layout = ObservationLayout(world.config)
    shape = (world.realms, world.config.slots)
    results = []
    for fill in (GARBAGE, 0x54):
        records = layout.allocate(*shape, device="cpu").fill_(fill)
        seen = torch.full((*shape, world.config.nearest), SENTINEL + fill, dtype=torch.int32)
        backend.observe(world, records, seen)
        results.append((records, seen))
    (records, seen), (again, seen_again) = results
    assert torch.equal(records, again) and torch.equal(seen, seen_again), "bytes that were not written"
    return layout.views(records), seen, records


SMALL = dataclasses.replace(
    STANDARD,
    items=(Item("ash"), Item("arrow", "knife", 1, 3, 3, weight=0, lot=5), Item("pie", heals=1, feeds=1)),
    recipes=(Recipe("mine", "cooking", 2, 1, "ash", amount=3),
             Recipe("knives", "mage", 1, 1, "arrow", 4, "ash", 2)),
    npcs=(NPCKind("snail", 100, 99, ("grass",), "never", number=40, drops=(Drop("pie"),)),
          NPCKind("crab", 3, 50, ("scrub", "forest"), "always", sight=1, number=9)),
    prices=(4, 7, 31),
)  # fmt: skip
"""Content that differs from the standard content in the number of items, recipes, NPC kinds and prices."""

CONFIGS: dict[str, tuple[int, WorldConfig]] = {
    "full": (2, preset("full", **ODD, slots=28, populations=7)),
    "crowd": (1, preset("full", **ODD, slots=150, populations=3, nearest=20, npc_numbers=(40, 30, 20))),
    "as-many-populations-as-can-be": (
        1, preset("chaos", **ODD, slots=123, populations=123, npcs=True, npc_numbers=(20, 0, 30)),
    ),
    "no-npcs": (
        1, preset("full", **ODD, slots=40, populations=2, npcs=False, works=("fish", "eat"), tokens=0),
    ),
    "only-rolls": (1, preset("law", **ODD, slots=60, populations=6, rolls=True)),
    "only-exchange": (1, preset("chaos", **ODD, slots=30, populations=5, exchange=True, capacity=3)),
    "only-tokens": (2, preset("chaos", **ODD, slots=21, populations=1, tokens=5)),
    "only-works": (1, preset("chaos", **ODD, slots=40, populations=1, works=("knives", "mine", "cook"))),
    "small": (
        1, preset("full", **{**ODD, "border": 12, "vision": 5}, slots=60, populations=5, nearest=3,
                  reach=(1, 5, 2), content=SMALL, capacity=9),
    ),
    "nothing-to-have": (
        1, preset("full", **ODD, slots=14, populations=7, npcs=False,
                  content=dataclasses.replace(SMALL, items=(), recipes=(), npcs=())),
    ),
}  # fmt: skip
