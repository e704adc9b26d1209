"""Burial: dead agents leave their tile and are counted."""

from __future__ import annotations

import torch

from nmmo_gpu.world.state import World


def burial(world: World) -> None:
    """Frees the tile and the slot of every entity with a cause of death.

    ``cause``, ``entity``, ``age`` (the lifetime) and ``explored`` stay in the slot as the record of the
    death until the next agent spawns there."""
    dead = world.cause.view(-1).nonzero().squeeze(1)
    if not dead.numel():
        return
    tile = world.tile()[dead]
    world.occupant.view(-1)[tile] = 0
    world.presence.view(-1)[tile] = 0
    world.alive.view(-1)[dead] = False
    cfg = world.config
    dead = dead[dead % cfg.entities < cfg.slots]  # NPCs are counted by kind, as npc_kills
    counter = dead // cfg.entities * world.deaths.shape[1] + world.cause.view(-1)[dead]
    world.deaths.view(-1).index_add_(0, counter, torch.ones_like(counter))
