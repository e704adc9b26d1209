"""Combat of the full game in two kernels; twin of ``nmmo_gpu.world.combat_rolls``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.content.tables import Tables, tensor
from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.random import below, draw
from nmmo_gpu.kernels.slots import my_slots, position
from nmmo_gpu.world import combat_rolls as rule
from nmmo_gpu.world import npcs
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause, World

_BlowFields = namedtuple(
    "_BlowFields",
    "seed tick alive health age row col level worn inventory ledger xp events chilled",
)
_BlowConfig = namedtuple("_BlowConfig", "reach damage immune_ticks rolls skills")
_BruiseFields = namedtuple(
    "_BruiseFields",
    "entity health food water age damage cause top_attacker xp aggro_target aggro_entity aggro_ticks",
)
_BruiseConfig = namedtuple("_BruiseConfig", "max_food max_water immune_ticks rolls skills npcs")
_Buffers = namedtuple("_Buffers", "lost best gained")
"""[R, S]: damage to each slot (int32, zero between ticks), the key of its top attacker (int64, -1 between
ticks), and its gains (uint8)."""
_Bonuses = namedtuple("_Bonuses", "attack strength defense knives")
"""Bonuses of attack and strength by style and rank and of defense by rank, and the item of each rank of
knives."""
_Kinds = namedtuple("_Kinds", "of_slot hunts anger experience")
"""The kind of each slot, and properties of each kind."""
_Sizes = namedtuple("_Sizes", "agents items ranks columns")
"""Agents per realm, items, ranks in ``_Bonuses``, and event counters per agent."""

STREAM, COMBAT = tl.constexpr(int(Stream.STRIKE)), tl.constexpr(int(Cause.COMBAT))
RANGE, MAGE, DEFENSE, CONSTITUTION = (
    tl.constexpr(skill) for skill in (content.RANGE, content.MAGE, content.DEFENSE, content.CONSTITUTION)
)  # fmt: skip
ARMOR, BARE = tl.constexpr(content.ARMOR), tl.constexpr(rule.BARE)
STYLE_EXPERIENCE = tl.constexpr(rule.STYLE_EXPERIENCE)
BODY_EXPERIENCE = tl.constexpr(rule.BODY_EXPERIENCE)
PROVOKED, LARGEST_DAMAGE = tl.constexpr(npcs.PROVOKED), tl.constexpr(rule.LARGEST_DAMAGE)
SLOT_BITS = tl.constexpr(rule.SLOT_BITS)
DAMAGE_SHIFT = tl.constexpr(rule.SLOT_BITS + rule.TIE_BITS)
SLOT_MASK = tl.constexpr((1 << rule.SLOT_BITS) - 1)
ATTACKS, HITS, DAMAGE = (tl.constexpr(int(e)) for e in (Event.ATTACKS, Event.HITS, Event.DAMAGE))
USED, FLOWS = tl.constexpr(int(Flow.USED)), tl.constexpr(len(Flow))
TRADES, WORN = tl.constexpr(len(content.SKILLS)), tl.constexpr(len(content.GEAR))


@triton.jit
def add(pointer, amount, mask):
    """Adds to values that only this program writes."""
    before = tl.load(pointer, mask=mask, other=0)
    tl.store(pointer, before + amount.to(before.dtype), mask=mask)


@triton.jit
def drain(supply, amount, mask, MAXIMUM: tl.constexpr):
    """Adds to food or water (pointers to int16), clamped to 0 ... MAXIMUM."""
    left = tl.load(supply, mask=mask, other=0).to(tl.int32) + amount
    tl.store(supply, tl.minimum(tl.maximum(left, 0), MAXIMUM).to(tl.int16), mask=mask)


@triton.jit
def by_style(style, values: tl.constexpr):
    """Returns [...] int32: for each style, its value among the three ``values``."""
    return tl.where(style == MAGE, values[2], tl.where(style == RANGE, values[1], values[0]))


@triton.jit
def _blows(
    world, buffers, tables, style, target, slots, chunks, sizes, config: tl.constexpr, BLOCK: tl.constexpr
):
    """Rolls each attack, and sums the damage per victim.

    Order-free: damage is summed by atomic additions of integers, the top attacker is found by atomic maxima,
    all writers of ``chilled`` write the same byte, knives are booked by atomic additions; an attacker's
    events, experience, knives and gains are its own."""
    REACH: tl.constexpr = config.reach
    DAMAGES: tl.constexpr = config.damage
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    aggro_target = tl.load(target + entity, mask=inside, other=-1).to(tl.int32)
    counts = inside & (aggro_target >= 0) & (aggro_target != slot)
    counts = counts & (tl.load(world.alive + entity, mask=counts, other=0) != 0)
    counts = counts & (tl.load(world.health + entity, mask=counts, other=0) > 0)
    victim = realm * slots + aggro_target
    counts = counts & (tl.load(world.alive + victim, mask=counts, other=0) != 0)
    kind = tl.load(style + entity, mask=counts, other=0).to(tl.int32)
    row, col = position(world, entity, counts)
    their_row, their_col = position(world, victim, counts)
    reach = by_style(kind, REACH)
    counts = counts & (tl.maximum(tl.abs(row - their_row), tl.abs(col - their_col)) <= reach)
    is_agent = slot < sizes.agents
    agent = realm * sizes.agents + slot
    on_agent = aggro_target < sizes.agents
    age = tl.load(world.age + victim, mask=counts & on_agent, other=0)
    immune = on_agent & (age < config.immune_ticks)
    weapon = tl.zeros([BLOCK], tl.int32)
    damage = by_style(kind, DAMAGES)
    if config.rolls:
        # Mages are excluded, because this column would be that of armor.
        armed = counts & is_agent & (kind != MAGE)
        weapon = tl.load(world.worn + agent * WORN + kind, mask=armed, other=0).to(tl.int32)
        counts = counts & (immune == 0) & ((kind != RANGE) | (weapon > 0))
    else:
        counts = counts & (damage > 0)
        tl.store(buffers.gained + entity, tl.where(counts, damage, 0).to(tl.uint8), mask=inside)

    if tl.max(counts.to(tl.int32), 0) > 0:
        aim, force, tie, _ = draw(world, STREAM, realm, slot)
        if config.rolls:
            throws = counts & (kind == RANGE)
            knife = tl.load(tables.knives + weapon - 1, mask=throws, other=0)
            add(world.inventory + agent * sizes.items + knife, tl.full([BLOCK], -1, tl.int32), throws)
            account = world.ledger + (realm * (sizes.items + 1) + knife) * FLOWS + USED
            tl.atomic_add(account, tl.full([BLOCK], 1, tl.int64), mask=throws, sem="relaxed")

            armor = world.worn + (realm * sizes.agents + aggro_target) * WORN + ARMOR
            armor = tl.load(armor, mask=counts & on_agent, other=0).to(tl.int32)
            skill = tl.load(world.level + entity * TRADES + kind, mask=counts, other=1).to(tl.int32)
            bonus = kind * sizes.ranks + weapon
            attack = skill * (tl.load(tables.attack + bonus, mask=counts, other=0) + BARE)
            guard = tl.load(world.level + victim * TRADES + DEFENSE, mask=counts, other=1).to(tl.int32)
            guard = guard * (tl.load(tables.defense + armor, mask=counts, other=0) + BARE)
            # A uniform draw from 2 * (the larger roll + 1) numbers is a hit if it is below a bound.
            better = tl.maximum(attack, guard)
            bound = tl.where(attack > guard, 2 * attack - guard, attack)
            hits = counts & (below(aim, 2 * (better + 1)) < bound)
            strength = tl.load(tables.strength + bonus, mask=counts, other=0) + BARE
            max_damage = (320 + (8 + skill) * strength) // 640
            damage = tl.where(hits, 1 + below(force, max_damage), 0)
        else:
            hits = counts
        tl.store(world.chilled + victim, tl.full([BLOCK], 1, tl.int1), mask=hits & (kind == MAGE))
        # With flat damage, this includes the amount drained from immune targets.
        tl.atomic_add(buffers.lost + victim, damage, mask=hits, sem="relaxed")
        hurts = hits & (immune == 0)
        key = (damage.to(tl.int64) << DAMAGE_SHIFT) | (tie.to(tl.int64) << SLOT_BITS) | slot.to(tl.int64)
        tl.atomic_max(buffers.best + victim, key, mask=hurts, sem="relaxed")

        step_actions, one = world.events + agent * sizes.columns, tl.full([BLOCK], 1, tl.int32)
        add(step_actions + ATTACKS, one, counts & is_agent)
        hurts = hurts & is_agent
        add(step_actions + HITS, one, hurts)
        add(step_actions + DAMAGE, damage, hurts)
        if config.skills:
            add(world.xp + agent * TRADES + kind, damage * STYLE_EXPERIENCE, hurts)
            add(world.xp + agent * TRADES + CONSTITUTION, damage * BODY_EXPERIENCE, hurts)


@triton.jit
def _bruises(world, buffers, kinds, style, slots, chunks, agents, config: tl.constexpr, BLOCK: tl.constexpr):
    """Applies the attacks to each victim.

    Order-free: each slot is written only by its own program, except for the experience for killing an NPC. It
    is added to the style of the attack, which the killer's own program does not write, and an attacker kills
    at most one entity."""
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    loss = tl.load(buffers.lost + entity, mask=inside, other=0)
    tl.store(buffers.lost + entity, tl.zeros_like(loss), mask=loss > 0)
    is_agent = inside & (slot < agents)
    if not config.rolls:
        gain = tl.load(buffers.gained + entity, mask=inside, other=0).to(tl.int32)
        fought = (gain > 0) | (loss > 0)
        drain(world.food + entity, gain - loss, fought, config.max_food)
        drain(world.water + entity, gain - loss, fought, config.max_water)
        immune = is_agent & (tl.load(world.age + entity, mask=is_agent, other=0) < config.immune_ticks)
        loss = tl.where(immune, 0, loss)
    tl.store(world.damage + entity, tl.minimum(loss, LARGEST_DAMAGE).to(tl.int16), mask=inside)
    hurt = loss > 0
    hardest = tl.load(buffers.best + entity, mask=hurt, other=-1)
    tl.store(buffers.best + entity, tl.full([BLOCK], -1, tl.int64), mask=hurt)
    who = tl.where(hurt, hardest & SLOT_MASK, -1).to(tl.int32)
    tl.store(world.top_attacker + entity, who, mask=inside)

    if tl.max(loss, 0) > 0:
        left = tl.maximum(tl.load(world.health + entity, mask=hurt, other=0).to(tl.int32) - loss, 0)
        tl.store(world.health + entity, left.to(tl.int16), mask=hurt)
        killed = hurt & (left == 0)
        tl.store(world.cause + entity, tl.full([BLOCK], COMBAT, tl.uint8), mask=killed)
        if config.skills:
            own = world.xp + (realm * agents + slot) * TRADES
            add(own + DEFENSE, loss * STYLE_EXPERIENCE, hurt & is_agent)
            add(own + CONSTITUTION, loss * BODY_EXPERIENCE, hurt & is_agent)
        if config.npcs:
            struck = hurt & (slot >= agents) & (who < agents)
            kind = tl.load(kinds.of_slot + slot, mask=struck, other=0)
            provoked = struck & (tl.load(kinds.hunts + kind, mask=struck, other=0) == PROVOKED)
            npc = realm * (slots - agents) + slot - agents
            tl.store(world.aggro_target + npc, who, mask=provoked)
            attacker = realm * slots + who
            attackers_id = tl.load(world.entity + attacker, mask=provoked, other=-1)
            tl.store(world.aggro_entity + npc, attackers_id, mask=provoked)
            anger = tl.load(kinds.anger + kind, mask=provoked, other=0)
            tl.store(world.aggro_ticks + npc, anger.to(tl.uint8), mask=provoked)
            if config.skills:
                npc_kills = killed & struck
                how = tl.load(style + attacker, mask=npc_kills, other=0).to(tl.int32)
                prize = tl.load(kinds.experience + kind, mask=npc_kills, other=0)
                add(world.xp + (realm * agents + who) * TRADES + how, prize, npc_kills)


def damage_buffers(world: World) -> _Buffers:
    """Returns the workspaces of ``fight``."""
    shape = tuple(world.alive.shape)
    return _Buffers(
        world.workspace("lost", shape, torch.int32, fill=0),
        world.workspace("hardest blow", shape, torch.int64, fill=-1),
        world.workspace("gained", shape, torch.uint8),
    )


def of_kinds(tables: Tables, field: str, device: torch.device) -> Tensor:
    """Returns [kinds] int32: a field of ``NPCRow`` for each kind."""
    return tensor(tuple(getattr(row, field) for row in tables.npcs), device, torch.int32)


def fight(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat_rolls.fight``."""
    cfg, device = world.config, world.device
    tables = cfg.tables
    cut = over_slots(*world.alive.shape)
    attack, strength = rule.padded_bonuses(tables)
    bonuses = _Bonuses(
        tensor(attack, device, torch.int32), tensor(strength, device, torch.int32),
        tensor(tables.defense, device, torch.int32), tensor(tables.gear[content.KNIFE], device, torch.int32),
    )  # fmt: skip
    sizes = _Sizes(cfg.slots, len(tables.items), len(attack[0]), world.events.shape[2])
    launch(
        _blows, cut.programs, fields_of(_BlowFields, world), damage_buffers(world), bonuses, style, target,
        cut.slots, cut.chunks, sizes, config=fields_of(_BlowConfig, cfg), BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    kinds = _Kinds(
        kind_of_slot(cfg, device),
        *(of_kinds(tables, field, device) for field in ("hunts", "aggro_ticks", "experience")),
    )
    launch(
        _bruises, cut.programs, fields_of(_BruiseFields, world), damage_buffers(world), kinds, style,
        cut.slots, cut.chunks, cfg.slots, config=fields_of(_BruiseConfig, cfg, npcs=cfg.npc_slots > 0),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
