"""Stretches of phases in as few launches as their order allows.

Consecutive steps that concern a single slot share a kernel; a launch ends where a phase needs the results of
all programs. This applies to ``law`` and ``chaos``. In the full game the phases run one at a time, because
most of them need separate launches anyway."""

from __future__ import annotations

from collections import namedtuple

import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.burial import burial, bury
from nmmo_gpu.kernels.combat import combat, combat_config, damage_buffers, strike, wounds
from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.movement import intend, intents, movement, settle_contests
from nmmo_gpu.kernels.regrowth import table
from nmmo_gpu.kernels.slots import my_slots, position
from nmmo_gpu.kernels.upkeep import discover, explore, keep, upkeep, upkeep_config
from nmmo_gpu.world.backend import Stretch
from nmmo_gpu.world.phases import start
from nmmo_gpu.world.state import Cause, World

_FirstHalfFields = namedtuple(
    "_FirstHalfFields",
    "alive health food water freeze age damage cause acted row col material presence",
)
_FirstHalfConfig = namedtuple("_FirstHalfConfig", "max_food max_water immune_ticks harm height width")
_SecondHalfFields = namedtuple(
    "_SecondHalfFields",
    "seed tick alive row col cause health food water freeze chilled age explored visited shore material "
    "regrow_at occupant presence deaths",
)
_SecondHalfConfig = namedtuple(
    "_SecondHalfConfig",
    "npc_slots freeze_ticks forage heal_above max_health max_food max_water height width "
    "threshold_count threshold_steps causes",
)

COMBAT = tl.constexpr(int(Cause.COMBAT))


@triton.jit
def _first_half(world, buffers, move, intent, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Counts acting agents, applies the damage of the attacks, and stores intended moves.

    Order-free: a slot's fields belong to one program, tiles are only read, counts are atomic additions."""
    realm, _, entity, inside = my_slots(slots, chunks, BLOCK)
    living = inside & (tl.load(world.alive + entity, mask=inside, other=0) != 0)
    tl.atomic_add(world.acted + realm, tl.sum(living.to(tl.int64), 0), sem="relaxed")
    left, killed = wounds(world, buffers, entity, inside, living, config)
    tl.store(world.cause + entity, tl.where(killed, COMBAT, 0).to(tl.uint8), mask=inside)
    able = living & (left > 0) & (tl.load(world.freeze + entity, mask=living, other=1) == 0)
    intend(world, realm, entity, inside, able, move, intent, config)


@triton.jit
def _second_half(world, thresholds, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Runs upkeep, footprints and burial. Order-free, like ``keep``, ``discover`` and ``bury``."""
    realm, _, entity, inside = my_slots(slots, chunks, BLOCK)
    living = inside & (tl.load(world.alive + entity, mask=inside, other=0) != 0)
    line, column = position(world, entity, living)
    where = line * config.width + column
    before = tl.load(world.cause + entity, mask=living, other=0).to(tl.int32)
    death_cause = keep(
        world, thresholds, realm, entity, inside, living, living, where, before, config.max_health, config
    )
    tl.store(world.cause + entity, death_cause.to(tl.uint8), mask=death_cause > 0)
    discover(world, entity, living, line, column)
    bury(world, realm, entity, death_cause, death_cause, where, config, BLOCK)


def _first(world: World, style: Tensor, target: Tensor, move: Tensor) -> None:
    """Runs the phases up to movement."""
    cut = over_slots(*world.alive.shape)
    strike(world, style, target)
    launch(
        _first_half, cut.programs, fields_of(_FirstHalfFields, world), damage_buffers(world), move,
        intents(world), cut.slots, cut.chunks, config=combat_config(_FirstHalfConfig, world),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    settle_contests(world)


def _second(world: World) -> None:
    """Runs the phases from upkeep on."""
    cut = over_slots(*world.alive.shape)
    launch(
        _second_half, cut.programs, fields_of(_SecondHalfFields, world), table(world)[0], cut.slots,
        cut.chunks, config=upkeep_config(_SecondHalfConfig, world), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip


STRETCHES = (
    Stretch(("start", "combat", "movement"), (start, combat, movement), _first, ("style", "target", "move")),
    Stretch(("upkeep", "explore", "burial"), (upkeep, explore, burial), _second, ()),
)
