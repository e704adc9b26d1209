"""Combat in two kernels; twin of ``nmmo_gpu.world.combat``."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.kernels.combat_rolls import fight
from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world import combat_rolls as rule
from nmmo_gpu.world.state import Cause, World

MAGE = tl.constexpr(content.MAGE)
LARGEST_DAMAGE = tl.constexpr(rule.LARGEST_DAMAGE)
COMBAT = tl.constexpr(int(Cause.COMBAT))


@triton.jit
def _strike(
    alive, row, col, style, target, lost, gained, chilled, slots, chunks,
    MELEE_REACH: tl.constexpr, RANGE_REACH: tl.constexpr, MAGE_REACH: tl.constexpr,
    MELEE_DAMAGE: tl.constexpr, RANGE_DAMAGE: tl.constexpr, MAGE_DAMAGE: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Each attacker hits its target.

    Order-free: damage to a victim is summed by atomic additions of integers, all writers of ``chilled`` write
    the same byte, and an attacker's gain is its own."""
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    aggro_target = tl.load(target + agent, mask=inside, other=-1).to(tl.int32)
    attacks = inside & (aggro_target >= 0) & (aggro_target != slot)
    attacks = attacks & (tl.load(alive + agent, mask=attacks, other=0) != 0)
    victim = realm * slots + aggro_target
    attacks = attacks & (tl.load(alive + victim, mask=attacks, other=0) != 0)
    kind = tl.load(style + agent, mask=attacks, other=0).to(tl.int32)
    down = tl.load(row + agent, mask=attacks, other=0) - tl.load(row + victim, mask=attacks, other=0)
    right = tl.load(col + agent, mask=attacks, other=0) - tl.load(col + victim, mask=attacks, other=0)
    distance = tl.maximum(tl.abs(down), tl.abs(right))
    reach = tl.where(kind == MAGE, MAGE_REACH, tl.where(kind == 1, RANGE_REACH, MELEE_REACH))
    damage = tl.where(kind == MAGE, MAGE_DAMAGE, tl.where(kind == 1, RANGE_DAMAGE, MELEE_DAMAGE))
    hits = attacks & (distance <= reach) & (damage > 0)
    tl.atomic_add(lost + victim, damage, mask=hits, sem="relaxed")
    tl.store(chilled + victim, tl.full([BLOCK], 1, tl.int1), mask=hits & (kind == MAGE))
    tl.store(gained + agent, tl.where(hits, damage, 0).to(tl.uint8), mask=inside)


@triton.jit
def wounds(
    agent, inside, living, health, food, water, age, damage, lost, gained,
    MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr, IMMUNE_TICKS: tl.constexpr, HARM: tl.constexpr,
):  # fmt: skip
    """Applies the attacks to each slot; returns (health left: int32, killed: bool). Writes its own slots
    only. Without ``HARM`` there is no damage."""
    left = tl.load(health + agent, mask=inside, other=0).to(tl.int32)
    if HARM:
        loss = tl.load(lost + agent, mask=inside, other=0)
        tl.store(lost + agent, tl.zeros_like(loss), mask=inside)
        drained = tl.load(gained + agent, mask=inside, other=0).to(tl.int32) - loss
        changed = inside & (drained != 0)
        food_left = tl.load(food + agent, mask=changed, other=0).to(tl.int32) + drained
        water_left = tl.load(water + agent, mask=changed, other=0).to(tl.int32) + drained
        tl.store(food + agent, tl.minimum(tl.maximum(food_left, 0), MAX_FOOD).to(tl.int16), mask=changed)
        tl.store(water + agent, tl.minimum(tl.maximum(water_left, 0), MAX_WATER).to(tl.int16), mask=changed)
        immune = tl.load(age + agent, mask=inside, other=0) < IMMUNE_TICKS
        loss = tl.where(immune, 0, loss)
        left = tl.where(loss > 0, tl.maximum(left - loss, 0), left)
        tl.store(damage + agent, tl.minimum(loss, LARGEST_DAMAGE).to(tl.int16), mask=inside)
        tl.store(health + agent, left.to(tl.int16), mask=inside & (loss > 0))
        killed = living & (left == 0)
    else:
        tl.store(damage + agent, tl.zeros_like(left).to(tl.int16), mask=inside)
        killed = tl.zeros_like(living)
    return left, killed


@triton.jit
def _wounds(
    alive, health, food, water, age, damage, cause, lost, gained, slots, chunks,
    MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr, IMMUNE_TICKS: tl.constexpr, HARM: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each slot is written only by its own program."""
    _, _, agent, inside = my_slots(slots, chunks, BLOCK)
    living = tl.load(alive + agent, mask=inside, other=0) != 0
    _, killed = wounds(
        agent, inside, living, health, food, water, age, damage, lost, gained,
        MAX_FOOD, MAX_WATER, IMMUNE_TICKS, HARM,
    )  # fmt: skip
    tl.store(cause + agent, tl.full([BLOCK], COMBAT, tl.uint8), mask=killed)


def strike(world: World, style: Tensor, target: Tensor) -> None:
    """Sums all attacks in the workspaces ``lost`` and ``gained``, and marks chilled slots."""
    cfg = world.config
    if not any(cfg.damage):
        return
    cut = over_slots(*world.alive.shape)
    launch(
        _strike, cut.programs, world.alive, world.row, world.col, style, target, *damage_buffers(world),
        world.chilled,
        cut.slots, cut.chunks,
        MELEE_REACH=cfg.reach[0], RANGE_REACH=cfg.reach[1], MAGE_REACH=cfg.reach[2],
        MELEE_DAMAGE=cfg.damage[0], RANGE_DAMAGE=cfg.damage[1], MAGE_DAMAGE=cfg.damage[2],
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip


def damage_buffers(world: World) -> tuple[Tensor, Tensor]:
    """Workspaces: losses of each slot ([R, A] int32, zero between ticks) and gains ([R, A] uint8)."""
    shape = tuple(world.alive.shape)
    return (
        world.workspace("lost", shape, torch.int32, fill=0),
        world.workspace("gained", shape, torch.uint8),
    )


def combat_constants(world: World) -> dict[str, Any]:
    """The constants of ``wounds``, from the rules."""
    cfg = world.config
    return {
        "MAX_FOOD": cfg.max_food,
        "MAX_WATER": cfg.max_water,
        "IMMUNE_TICKS": cfg.immune_ticks,
        "HARM": any(cfg.damage),
    }


def combat(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat.combat``."""
    if world.config.extended:
        fight(world, style, target)
        return
    strike(world, style, target)
    cut = over_slots(*world.alive.shape)
    launch(
        _wounds, cut.programs, world.alive, world.health, world.food, world.water, world.age, world.damage,
        world.cause, *damage_buffers(world), cut.slots, cut.chunks,
        BLOCK=cut.block, warps=cut.warps, **combat_constants(world),
    )  # fmt: skip
