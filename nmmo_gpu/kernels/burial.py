"""Burial as a kernel; twin of ``nmmo_gpu.world.burial``."""

from __future__ import annotations

from collections import namedtuple

import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_slots, tile_of
from nmmo_gpu.world.state import World

_BurialFields = namedtuple("_BurialFields", "alive cause row col occupant presence deaths")
_BurialConfig = namedtuple("_BurialConfig", "height width npc_slots causes")


@triton.jit
def bury(world, realm, entity, death_cause, counted, where, config: tl.constexpr, BLOCK: tl.constexpr):
    """Frees slots and tiles of entities with a cause of death, and counts the deaths of agents.

    ``death_cause``: [BLOCK] int32, 0 for none. ``counted``: the same, but 0 for NPCs. ``where``: tiles within
    the realm.

    Order-free: a slot and its tile belong to one program, and counts are atomic additions of integers."""
    dead = death_cause > 0
    tl.store(world.alive + entity, tl.zeros([BLOCK], tl.int1), mask=dead)
    tile = realm * (config.height * config.width) + where
    tl.store(world.occupant + tile, tl.zeros([BLOCK], tl.int32), mask=dead)
    tl.store(world.presence + tile, tl.zeros([BLOCK], tl.uint8), mask=dead)
    # Triton 3.6 takes an element of a tuple as the end of a range only if it has a name of its own.
    CAUSES: tl.constexpr = config.causes
    if tl.max(counted, 0) > 0:
        for cause in tl.static_range(1, CAUSES):
            count = tl.sum((counted == cause).to(tl.int32), 0)
            tl.atomic_add(world.deaths + realm * config.causes + cause, count.to(tl.int64), sem="relaxed")


@triton.jit
def _burial(world, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Order-free, like ``bury``."""
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    death_cause = tl.load(world.cause + entity, mask=inside, other=0).to(tl.int32)
    dead = death_cause > 0
    where = tile_of(world, entity, dead, config)
    counted = death_cause
    if config.npc_slots > 0:
        counted = tl.where(slot < slots - config.npc_slots, death_cause, 0)
    bury(world, realm, entity, death_cause, counted, where, config, BLOCK)


def burial(world: World) -> None:
    """See ``nmmo_gpu.world.burial.burial``."""
    cut = over_slots(*world.alive.shape)
    launch(
        _burial, cut.programs, fields_of(_BurialFields, world), cut.slots, cut.chunks,
        config=fields_of(_BurialConfig, world.config, causes=world.deaths.shape[1]), BLOCK=cut.block,
        warps=cut.warps,
    )  # fmt: skip
