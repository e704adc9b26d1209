"""Random worlds in which NPCs move and attack often."""

from __future__ import annotations

import dataclasses

import torch
from support.helpers import ODD, litter, random_world

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import STANDARD, NPCKind
from nmmo_gpu.world.state import World

GROUND = ".,f#"
"""Habitat for all NPC kinds, and walls."""
CRAMPED = {**ODD, "border": 12}
BEASTS = (
    NPCKind("hawk", 127, 9, ("grass", "scrub"), "always", sight=15),
    NPCKind("snake", 1, 99, ("scrub", "forest"), "always", sight=1),
    NPCKind("boar", 9, 9, ("grass",), "provoked", sight=15, aggro_ticks=127),
    NPCKind("snail", 9, 9, ("grass", "forest"), "always"),
)
CONFIGS = {
    "three realms of 7 and 15": (
        3, preset("full", **{**ODD, "border": 14}, slots=7, populations=7, npc_numbers=(5, 7, 3)),
    ),
    "crowd": (
        2, preset("full", **CRAMPED, slots=60, populations=3, npc_numbers=(20, 50, 19), wander=1.0,
                  npc_births=0.7),
    ),
    "other beasts": (
        2,
        preset("chaos", **{**ODD, "border": 15, "vision": 15}, slots=9, populations=1, npcs=True,
               content=dataclasses.replace(STANDARD, npcs=BEASTS), npc_numbers=(9, 5, 7, 3), wander=0.0,
               npc_births=1.0, immune_ticks=0),
    ),
    "one goblin": (1, preset("full", **CRAMPED, slots=33, populations=1, npc_numbers=(0, 1, 0))),
}  # fmt: skip
"""(realms, config): few and many NPCs, whose kinds see nothing, far, or different distances."""


def restless_world(config: WorldConfig, realms: int, seed: int, fill: float = 0.7) -> World:
    """Returns a crowded world of agents and NPCs. Most NPCs that can be provoked target the nearest agent,
    some of them by the id of an earlier agent in that slot. The slots of dead entities hold random
    numbers."""
    world = litter(random_world(config, realms, seed, fill=fill, odds=GROUND), seed)
    random = torch.Generator().manual_seed(seed)
    agents = config.slots
    rows, cols = (world.row[:, agents:, None] - world.row[:, None, :agents],
                  world.col[:, agents:, None] - world.col[:, None, :agents])  # fmt: skip
    apart = torch.maximum(rows.abs(), cols.abs()).masked_fill(~world.alive[:, None, :agents], 9999)
    nearest = apart.argmin(2)
    provoked = torch.zeros(config.npc_slots, dtype=torch.bool)
    first = 0
    for row, count in zip(config.tables.npcs, config.npc_counts, strict=True):
        provoked[first : first + count] = row.hunts == 1
        first += count
    angry = provoked & world.alive[:, agents:] & (torch.rand(nearest.shape, generator=random) < 0.8)
    before = (torch.rand(nearest.shape, generator=random) < 0.2).long()
    world.aggro_target.copy_(torch.where(angry, nearest, world.aggro_target))
    world.aggro_entity.copy_(torch.where(angry, world.entity.gather(1, nearest) - before, world.aggro_entity))
    world.aggro_ticks.copy_(
        torch.where(angry, torch.randint(1, 4, nearest.shape, generator=random), world.aggro_ticks)
    )
    return world
