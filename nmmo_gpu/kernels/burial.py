"""Burial as a kernel; twin of ``nmmo_gpu.world.burial``."""

from __future__ import annotations

import triton
import triton.language as tl

from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.movement import map_size
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world.state import Cause, World

CAUSES = tl.constexpr(len(Cause))


@triton.jit
def bury(
    realm, agent, death_cause, counted, where, alive, occupant, presence, deaths,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Frees slots and tiles of entities with a cause of death (``death_cause``: [BLOCK] int32; ``where``:
    their tiles within the realm), and counts the agents among them (``counted``: ``death_cause``, but 0 for
    NPCs).

    Order-free: a slot and its tile belong to one program, and counts are atomic additions of integers."""
    dead = death_cause > 0
    tl.store(alive + agent, tl.zeros([BLOCK], tl.int1), mask=dead)
    tile = realm * (HEIGHT * WIDTH) + where
    tl.store(occupant + tile, tl.zeros([BLOCK], tl.int32), mask=dead)
    tl.store(presence + tile, tl.zeros([BLOCK], tl.uint8), mask=dead)
    if tl.max(counted, 0) > 0:
        for cause in tl.static_range(1, CAUSES):
            count = tl.sum((counted == cause).to(tl.int32), 0)
            tl.atomic_add(deaths + realm * CAUSES + cause, count.to(tl.int64), sem="relaxed")


@triton.jit
def _burial(
    cause, row, col, alive, occupant, presence, deaths, slots, chunks,
    NPCS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free, like ``bury``."""
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    death_cause = tl.load(cause + agent, mask=inside, other=0).to(tl.int32)
    dead = death_cause > 0
    where = tl.load(row + agent, mask=dead, other=0) * WIDTH + tl.load(col + agent, mask=dead, other=0)
    counted = death_cause
    if NPCS > 0:
        counted = tl.where(slot < slots - NPCS, death_cause, 0)
    bury(realm, agent, death_cause, counted, where, alive, occupant, presence, deaths, HEIGHT, WIDTH, BLOCK)


def burial(world: World) -> None:
    """See ``nmmo_gpu.world.burial.burial``."""
    cut = over_slots(*world.alive.shape)
    launch(
        _burial, cut.programs, world.cause, world.row, world.col, world.alive, world.occupant, world.presence,
        world.deaths, cut.slots, cut.chunks, NPCS=world.config.npc_slots,
        BLOCK=cut.block, warps=cut.warps, **map_size(world),
    )  # fmt: skip
