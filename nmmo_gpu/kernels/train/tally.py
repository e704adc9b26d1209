"""Counts the events of a tick, in one kernel; twin of ``nmmo_gpu.train.metrics.count``."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.slots import my_agents
from nmmo_gpu.world.state import World


@triton.jit
def _count(
    alive, acted, attacks, cause, age, explored, food, water, health, damage, sums, causes, lifetimes,
    slots, chunks, NPCS: tl.constexpr, BINS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: all counts are atomic additions of integers."""
    _, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    lived = inside & (tl.load(acted + agent, mask=inside, other=0) != 0)
    death_cause = tl.load(cause + being, mask=lived, other=0).to(tl.int32)
    died = lived & (death_cause > 0)
    lives = inside & (tl.load(alive + being, mask=inside, other=0) != 0)
    if tl.program_id(0) % chunks == 0:  # once per realm
        tl.atomic_add(sums, tl.full([], 1, tl.int64), sem="relaxed")
    add(sums + 1, lived)
    add(sums + 4, tl.load(food + being, mask=lives, other=0))
    add(sums + 5, tl.load(water + being, mask=lives, other=0))
    add(sums + 6, tl.load(health + being, mask=lives, other=0))
    add(sums + 7, lived & (tl.load(attacks + agent, mask=lived, other=0) != 0))
    add(sums + 8, tl.load(damage + being, mask=inside, other=0))
    add(sums + 9, lives)
    if tl.max(death_cause, 0) > 0:
        lifetime = tl.load(age + being, mask=died, other=0)
        add(sums + 2, lifetime)
        add(sums + 3, tl.load(explored + agent, mask=died, other=0))
        one = tl.full([BLOCK], 1, tl.int64)
        tl.atomic_add(lifetimes + tl.minimum(lifetime, BINS - 1), one, mask=died, sem="relaxed")
        tl.atomic_add(causes + death_cause, one, mask=died, sem="relaxed")


@triton.jit
def add(into, values):
    """Adds the sum of a block to an int64 in memory."""
    tl.atomic_add(into, tl.sum(values.to(tl.int64), 0), sem="relaxed")


def count(
    world: World, acted: Tensor, attacks: Tensor, sums: Tensor, causes: Tensor, lifetimes: Tensor
) -> None:
    """See ``nmmo_gpu.train.metrics.count``."""
    cut = over_slots(world.realms, world.config.slots)
    launch(
        _count, cut.programs, world.alive, acted, attacks, world.cause, world.age, world.explored,
        world.food, world.water, world.health, world.damage, sums, causes, lifetimes, cut.slots, cut.chunks,
        NPCS=world.config.npc_slots, BINS=lifetimes.numel(), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
