"""Combat in two kernels; twin of ``nmmo_gpu.world.combat``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.kernels.combat_rolls import by_style, drain, fight
from nmmo_gpu.kernels.launch import Fields, fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_slots, position
from nmmo_gpu.world import combat_rolls as rule
from nmmo_gpu.world.state import Cause, World

_StrikeFields = namedtuple("_StrikeFields", "alive row col chilled")
_StrikeConfig = namedtuple("_StrikeConfig", "reach damage")
_WoundFields = namedtuple("_WoundFields", "alive health food water age damage cause")
_WoundConfig = namedtuple("_WoundConfig", "max_food max_water immune_ticks harm")
DamageBuffers = namedtuple("DamageBuffers", "lost gained")
"""Damage to each slot ([R, A] int32, zero between ticks) and its gains ([R, A] uint8)."""

MAGE = tl.constexpr(content.MAGE)
LARGEST_DAMAGE = tl.constexpr(rule.LARGEST_DAMAGE)
COMBAT = tl.constexpr(int(Cause.COMBAT))


@triton.jit
def _strike(world, buffers, style, target, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Each attacker hits its target.

    Order-free: damage to a victim is summed by atomic additions of integers, all writers of ``chilled`` write
    the same byte, and an attacker's gain is its own."""
    REACH: tl.constexpr = config.reach
    DAMAGES: tl.constexpr = config.damage
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    aggro_target = tl.load(target + entity, mask=inside, other=-1).to(tl.int32)
    attacks = inside & (aggro_target >= 0) & (aggro_target != slot)
    attacks = attacks & (tl.load(world.alive + entity, mask=attacks, other=0) != 0)
    victim = realm * slots + aggro_target
    attacks = attacks & (tl.load(world.alive + victim, mask=attacks, other=0) != 0)
    kind = tl.load(style + entity, mask=attacks, other=0).to(tl.int32)
    row, col = position(world, entity, attacks)
    their_row, their_col = position(world, victim, attacks)
    distance = tl.maximum(tl.abs(row - their_row), tl.abs(col - their_col))
    reach = by_style(kind, REACH)
    damage = by_style(kind, DAMAGES)
    hits = attacks & (distance <= reach) & (damage > 0)
    tl.atomic_add(buffers.lost + victim, damage, mask=hits, sem="relaxed")
    tl.store(world.chilled + victim, tl.full([BLOCK], 1, tl.int1), mask=hits & (kind == MAGE))
    tl.store(buffers.gained + entity, tl.where(hits, damage, 0).to(tl.uint8), mask=inside)


@triton.jit
def wounds(world, buffers, entity, inside, living, config: tl.constexpr):
    """Applies the attacks to each slot; returns (health left: int32, killed: bool). Writes only the program's
    own slots. Attacks do damage only with ``harm``."""
    left = tl.load(world.health + entity, mask=inside, other=0).to(tl.int32)
    if config.harm:
        loss = tl.load(buffers.lost + entity, mask=inside, other=0)
        tl.store(buffers.lost + entity, tl.zeros_like(loss), mask=inside)
        drained = tl.load(buffers.gained + entity, mask=inside, other=0).to(tl.int32) - loss
        changed = inside & (drained != 0)
        drain(world.food + entity, drained, changed, config.max_food)
        drain(world.water + entity, drained, changed, config.max_water)
        immune = tl.load(world.age + entity, mask=inside, other=0) < config.immune_ticks
        loss = tl.where(immune, 0, loss)
        left = tl.where(loss > 0, tl.maximum(left - loss, 0), left)
        tl.store(world.damage + entity, tl.minimum(loss, LARGEST_DAMAGE).to(tl.int16), mask=inside)
        tl.store(world.health + entity, left.to(tl.int16), mask=inside & (loss > 0))
        killed = living & (left == 0)
    else:
        tl.store(world.damage + entity, tl.zeros_like(left).to(tl.int16), mask=inside)
        killed = tl.zeros_like(living)
    return left, killed


@triton.jit
def _wounds(world, buffers, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Order-free: each slot is written only by its own program."""
    _, _, entity, inside = my_slots(slots, chunks, BLOCK)
    living = tl.load(world.alive + entity, mask=inside, other=0) != 0
    _, killed = wounds(world, buffers, entity, inside, living, config)
    tl.store(world.cause + entity, tl.full([BLOCK], COMBAT, tl.uint8), mask=killed)


def strike(world: World, style: Tensor, target: Tensor) -> None:
    """Sums all attacks in ``damage_buffers``, and marks chilled slots."""
    cfg = world.config
    if not any(cfg.damage):
        return
    cut = over_slots(*world.alive.shape)
    launch(
        _strike, cut.programs, fields_of(_StrikeFields, world), damage_buffers(world), style, target,
        cut.slots, cut.chunks, config=fields_of(_StrikeConfig, cfg), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip


def damage_buffers(world: World) -> DamageBuffers:
    """Returns the workspaces of ``strike`` and ``wounds``."""
    shape = tuple(world.alive.shape)
    return DamageBuffers(
        world.workspace("lost", shape, torch.int32, fill=0),
        world.workspace("gained", shape, torch.uint8),
    )


def combat_config(kind: type[Fields], world: World) -> Fields:
    """Returns a named tuple of type ``kind`` with the settings that ``wounds`` needs."""
    return fields_of(kind, world.config, harm=any(world.config.damage))


def combat(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat.combat``."""
    if world.config.extended:
        fight(world, style, target)
        return
    strike(world, style, target)
    cut = over_slots(*world.alive.shape)
    launch(
        _wounds, cut.programs, fields_of(_WoundFields, world), damage_buffers(world), cut.slots, cut.chunks,
        config=combat_config(_WoundConfig, world), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
