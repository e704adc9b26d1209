"""All phases of a tick except observation, in as few launches as their order allows.

Consecutive steps that concern a single slot share a kernel; a launch ends where a phase needs the results of
all programs. This applies to ``law`` and ``chaos``. In the full game the phases run one at a time, because
most of them need separate launches anyway."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.burial import bury
from nmmo_gpu.kernels.combat import combat_constants, damage_buffers, strike, wounds
from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.movement import intend, intents, map_size, settle_contests
from nmmo_gpu.kernels.regrowth import regrowth, table
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.kernels.spawning import spawning
from nmmo_gpu.kernels.upkeep import discover, keep, upkeep_constants
from nmmo_gpu.world.state import Cause, World

COMBAT = tl.constexpr(int(Cause.COMBAT))


@triton.jit
def _first_half(
    alive, health, food, water, freeze, age, damage, cause, lost, gained, acted, move, row, col,
    material, presence, intent, slots, chunks,
    MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr, IMMUNE_TICKS: tl.constexpr, HARM: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """After the attacks: counts acting agents, applies damage, and stores intended moves.

    Order-free: a slot's fields belong to one program, tiles are only read, counts are atomic additions."""
    realm, _, agent, inside = my_slots(slots, chunks, BLOCK)
    living = inside & (tl.load(alive + agent, mask=inside, other=0) != 0)
    tl.atomic_add(acted + realm, tl.sum(living.to(tl.int64), 0), sem="relaxed")
    left, killed = wounds(
        agent, inside, living, health, food, water, age, damage, lost, gained,
        MAX_FOOD, MAX_WATER, IMMUNE_TICKS, HARM,
    )  # fmt: skip
    tl.store(cause + agent, tl.where(killed, COMBAT, 0).to(tl.uint8), mask=inside)
    able = living & (left > 0) & (tl.load(freeze + agent, mask=living, other=1) == 0)
    intend(realm, agent, inside, able, move, row, col, material, presence, intent, HEIGHT, WIDTH)


@triton.jit
def _second_half(
    seed, tick, thresholds, alive, row, col, cause, health, food, water, freeze, chilled, age,
    explored, visited, shore, material, regrow_at, occupant, presence, deaths, slots, chunks,
    NPCS: tl.constexpr, FREEZE_TICKS: tl.constexpr, FORAGE: tl.constexpr, HEAL_ABOVE: tl.constexpr,
    MAX_HEALTH: tl.constexpr, MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr,
    ENTRIES: tl.constexpr, STEPS: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Upkeep, footprints and burial. Order-free, like ``keep``, ``discover`` and ``bury``."""
    realm, _, agent, inside = my_slots(slots, chunks, BLOCK)
    living = inside & (tl.load(alive + agent, mask=inside, other=0) != 0)
    line, column = tl.load(row + agent, mask=living, other=0), tl.load(col + agent, mask=living, other=0)
    where = line * WIDTH + column
    death_cause = keep(
        seed, tick, thresholds, realm, agent, inside, living, living, where,
        tl.load(cause + agent, mask=living, other=0).to(tl.int32), MAX_HEALTH,
        health, food, water, freeze, chilled, age, shore, material, regrow_at,
        NPCS, FREEZE_TICKS, FORAGE, HEAL_ABOVE, MAX_FOOD, MAX_WATER, ENTRIES, STEPS, HEIGHT, WIDTH,
    )  # fmt: skip
    tl.store(cause + agent, death_cause.to(tl.uint8), mask=death_cause > 0)
    discover(agent, living, line, column, explored, visited)
    bury(
        realm, agent, death_cause, death_cause, where, alive, occupant, presence, deaths, HEIGHT, WIDTH, BLOCK
    )


def phases(world: World, move: Tensor, style: Tensor, target: Tensor) -> None:
    """The tick of ``nmmo_gpu.world.tick.step``, in its order."""
    cut = over_slots(*world.alive.shape)
    strike(world, style, target)
    launch(
        _first_half, cut.programs, world.alive, world.health, world.food, world.water, world.freeze,
        world.age, world.damage, world.cause, *damage_buffers(world), world.acted, move, world.row, world.col,
        world.material, world.presence, intents(world), cut.slots, cut.chunks,
        BLOCK=cut.block, warps=cut.warps, **combat_constants(world), **map_size(world),
    )  # fmt: skip
    settle_contests(world)
    spawning(world)
    regrowth(world)
    launch(
        _second_half, cut.programs, world.seed, world.tick, table(world)[0], world.alive, world.row,
        world.col, world.cause, world.health, world.food, world.water, world.freeze, world.chilled,
        world.age, world.explored, world.visited, world.shore, world.material, world.regrow_at,
        world.occupant, world.presence, world.deaths, cut.slots, cut.chunks,
        BLOCK=cut.block, warps=cut.warps, **upkeep_constants(world),
    )  # fmt: skip
    world.tick += 1
