"""Counts of the events of a tick, in one kernel; twin of ``nmmo_gpu.train.metrics.count``."""

from __future__ import annotations

from collections import namedtuple

import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_agents
from nmmo_gpu.world.state import World

_Fields = namedtuple("_Fields", "alive cause age explored food water health damage")
_Counts = namedtuple("_Counts", "sums causes lifetimes")
"""The counts of ``nmmo_gpu.train.metrics``."""


@triton.jit
def _count(
    world, counts, acted, attacks, slots, chunks, NPCS: tl.constexpr, BINS: tl.constexpr, BLOCK: tl.constexpr
):
    """Order-free: all counts are atomic additions of integers."""
    _, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    lived = inside & (tl.load(acted + agent, mask=inside, other=0) != 0)
    death_cause = tl.load(world.cause + being, mask=lived, other=0).to(tl.int32)
    died = lived & (death_cause > 0)
    lives = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    if tl.program_id(0) % chunks == 0:  # once per realm
        tl.atomic_add(counts.sums, tl.full([], 1, tl.int64), sem="relaxed")
    add(counts.sums + 1, lived)
    add(counts.sums + 4, tl.load(world.food + being, mask=lives, other=0))
    add(counts.sums + 5, tl.load(world.water + being, mask=lives, other=0))
    add(counts.sums + 6, tl.load(world.health + being, mask=lives, other=0))
    add(counts.sums + 7, lived & (tl.load(attacks + agent, mask=lived, other=0) != 0))
    add(counts.sums + 8, tl.load(world.damage + being, mask=inside, other=0))
    add(counts.sums + 9, lives)
    if tl.max(death_cause, 0) > 0:
        lifetime = tl.load(world.age + being, mask=died, other=0)
        add(counts.sums + 2, lifetime)
        add(counts.sums + 3, tl.load(world.explored + agent, mask=died, other=0))
        one = tl.full([BLOCK], 1, tl.int64)
        tl.atomic_add(counts.lifetimes + tl.minimum(lifetime, BINS - 1), one, mask=died, sem="relaxed")
        tl.atomic_add(counts.causes + death_cause, one, mask=died, sem="relaxed")


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
        _count, cut.programs, fields_of(_Fields, world), _Counts(sums, causes, lifetimes), acted, attacks,
        cut.slots, cut.chunks, NPCS=world.config.npc_slots, BINS=lifetimes.numel(),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
