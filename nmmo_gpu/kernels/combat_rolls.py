"""Combat of the full game in two kernels; twin of ``nmmo_gpu.world.combat_rolls``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.content.tables import Tables, tensor
from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.random import below, draw
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world import combat_rolls as rule
from nmmo_gpu.world import npcs
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import Cause, World

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
    """Adds to numbers that only this program writes."""
    before = tl.load(pointer, mask=mask, other=0)
    tl.store(pointer, before + amount.to(before.dtype), mask=mask)


@triton.jit
def _blows(
    seed, tick, alive, health, age, row, col, style, target, level, worn, inventory, ledger, xp, events,
    lost, best, gained, chilled, attack_bonus, strength_bonus, defense_bonus, knives,
    slots, chunks, agents, items, ranks, columns,
    MELEE_REACH: tl.constexpr, RANGE_REACH: tl.constexpr, MAGE_REACH: tl.constexpr,
    MELEE_DAMAGE: tl.constexpr, RANGE_DAMAGE: tl.constexpr, MAGE_DAMAGE: tl.constexpr,
    IMMUNE_TICKS: tl.constexpr, ROLLS: tl.constexpr, SKILLED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Rolls each attack, and sums the damage per victim.

    Order-free: damage is summed by atomic additions of integers, the top attacker is found by atomic maxima,
    all writers of ``chilled`` write the same byte, knives are booked by atomic additions; an attacker's
    events, experience, knives and gains are its own."""
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    aggro_target = tl.load(target + entity, mask=inside, other=-1).to(tl.int32)
    counts = inside & (aggro_target >= 0) & (aggro_target != slot)
    counts = counts & (tl.load(alive + entity, mask=counts, other=0) != 0)
    counts = counts & (tl.load(health + entity, mask=counts, other=0) > 0)
    victim = realm * slots + aggro_target
    counts = counts & (tl.load(alive + victim, mask=counts, other=0) != 0)
    kind = tl.load(style + entity, mask=counts, other=0).to(tl.int32)
    down = tl.load(row + entity, mask=counts, other=0) - tl.load(row + victim, mask=counts, other=0)
    right = tl.load(col + entity, mask=counts, other=0) - tl.load(col + victim, mask=counts, other=0)
    reach = tl.where(kind == MAGE, MAGE_REACH, tl.where(kind == RANGE, RANGE_REACH, MELEE_REACH))
    counts = counts & (tl.maximum(tl.abs(down), tl.abs(right)) <= reach)
    is_agent = slot < agents
    agent = realm * agents + slot
    immune = (aggro_target < agents) & (
        tl.load(age + victim, mask=counts & (aggro_target < agents), other=0) < IMMUNE_TICKS
    )
    weapon = tl.zeros([BLOCK], tl.int32)
    damage = tl.where(kind == MAGE, MAGE_DAMAGE, tl.where(kind == RANGE, RANGE_DAMAGE, MELEE_DAMAGE))
    if ROLLS:
        # For a mage, this would be its armor.
        armed = counts & is_agent & (kind != MAGE)
        weapon = tl.load(worn + agent * WORN + kind, mask=armed, other=0).to(tl.int32)
        counts = counts & (immune == 0) & ((kind != RANGE) | (weapon > 0))
    else:
        counts = counts & (damage > 0)
        tl.store(gained + entity, tl.where(counts, damage, 0).to(tl.uint8), mask=inside)

    if tl.max(counts.to(tl.int32), 0) > 0:
        aim, force, tie, _ = draw(seed, tick, STREAM, realm, slot)
        if ROLLS:
            throws = counts & (kind == RANGE)
            knife = tl.load(knives + weapon - 1, mask=throws, other=0)
            add(inventory + agent * items + knife, tl.full([BLOCK], -1, tl.int32), throws)
            account = ledger + (realm * (items + 1) + knife) * FLOWS + USED
            tl.atomic_add(account, tl.full([BLOCK], 1, tl.int64), mask=throws, sem="relaxed")

            armor = tl.load(
                worn + (realm * agents + aggro_target) * WORN + ARMOR, mask=counts & (aggro_target < agents),
                other=0
            ).to(tl.int32)  # fmt: skip
            skill = tl.load(level + entity * TRADES + kind, mask=counts, other=1).to(tl.int32)
            bonus = kind * ranks + weapon
            attack = skill * (tl.load(attack_bonus + bonus, mask=counts, other=0) + BARE)
            guard = tl.load(level + victim * TRADES + DEFENSE, mask=counts, other=1).to(tl.int32)
            guard = guard * (tl.load(defense_bonus + armor, mask=counts, other=0) + BARE)
            # Of 2 * (the larger roll + 1) numbers, those below a bound are hits.
            better = tl.maximum(attack, guard)
            bound = tl.where(attack > guard, 2 * attack - guard, attack)
            hits = counts & (below(aim, 2 * (better + 1)) < bound)
            strength = tl.load(strength_bonus + bonus, mask=counts, other=0) + BARE
            most = (320 + (8 + skill) * strength) // 640
            damage = tl.where(hits, 1 + below(force, most), 0)
        else:
            hits = counts
        tl.store(chilled + victim, tl.full([BLOCK], 1, tl.int1), mask=hits & (kind == MAGE))
        # With flat damage, this includes what is drained from immune targets.
        tl.atomic_add(lost + victim, damage, mask=hits, sem="relaxed")
        hurts = hits & (immune == 0)
        key = (damage.to(tl.int64) << DAMAGE_SHIFT) | (tie.to(tl.int64) << SLOT_BITS) | slot.to(tl.int64)
        tl.atomic_max(best + victim, key, mask=hurts, sem="relaxed")

        step_actions, one = events + agent * columns, tl.full([BLOCK], 1, tl.int32)
        add(step_actions + ATTACKS, one, counts & is_agent)
        hurts = hurts & is_agent
        add(step_actions + HITS, one, hurts)
        add(step_actions + DAMAGE, damage, hurts)
        if SKILLED:
            add(xp + agent * TRADES + kind, damage * STYLE_EXPERIENCE, hurts)
            add(xp + agent * TRADES + CONSTITUTION, damage * BODY_EXPERIENCE, hurts)


@triton.jit
def _bruises(
    alive, health, food, water, age, damage, cause, top_attacker, entities, style, xp, aggro_target,
    aggro_entity, aggro_ticks,
    lost, best, gained, kind_of, hunts, tempers, worths, slots, chunks, agents,
    MAX_FOOD: tl.constexpr, MAX_WATER: tl.constexpr, IMMUNE_TICKS: tl.constexpr, ROLLS: tl.constexpr,
    SKILLED: tl.constexpr, NPCS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Applies the attacks to each victim.

    Order-free: each slot is written only by its own program, except for the experience that an NPC's killer
    gets. That is in the style of the attack, where the killer's own program writes nothing, and an attacker
    kills at most one entity."""
    realm, slot, entity, inside = my_slots(slots, chunks, BLOCK)
    loss = tl.load(lost + entity, mask=inside, other=0)
    tl.store(lost + entity, tl.zeros_like(loss), mask=loss > 0)
    is_agent = inside & (slot < agents)
    if not ROLLS:
        gain = tl.load(gained + entity, mask=inside, other=0).to(tl.int32)
        fought = (gain > 0) | (loss > 0)
        food_left = tl.load(food + entity, mask=fought, other=0).to(tl.int32) + gain - loss
        water_left = tl.load(water + entity, mask=fought, other=0).to(tl.int32) + gain - loss
        tl.store(food + entity, tl.minimum(tl.maximum(food_left, 0), MAX_FOOD).to(tl.int16), mask=fought)
        tl.store(water + entity, tl.minimum(tl.maximum(water_left, 0), MAX_WATER).to(tl.int16), mask=fought)
        immune = is_agent & (tl.load(age + entity, mask=is_agent, other=0) < IMMUNE_TICKS)
        loss = tl.where(immune, 0, loss)
    tl.store(damage + entity, tl.minimum(loss, LARGEST_DAMAGE).to(tl.int16), mask=inside)
    hurt = loss > 0
    hardest = tl.load(best + entity, mask=hurt, other=-1)
    tl.store(best + entity, tl.full([BLOCK], -1, tl.int64), mask=hurt)
    who = tl.where(hurt, hardest & SLOT_MASK, -1).to(tl.int32)
    tl.store(top_attacker + entity, who, mask=inside)

    if tl.max(loss, 0) > 0:
        left = tl.maximum(tl.load(health + entity, mask=hurt, other=0).to(tl.int32) - loss, 0)
        tl.store(health + entity, left.to(tl.int16), mask=hurt)
        killed = hurt & (left == 0)
        tl.store(cause + entity, tl.full([BLOCK], COMBAT, tl.uint8), mask=killed)
        if SKILLED:
            own = xp + (realm * agents + slot) * TRADES
            add(own + DEFENSE, loss * STYLE_EXPERIENCE, hurt & is_agent)
            add(own + CONSTITUTION, loss * BODY_EXPERIENCE, hurt & is_agent)
        if NPCS:
            struck = hurt & (slot >= agents) & (who < agents)
            kind = tl.load(kind_of + slot, mask=struck, other=0)
            provoked = struck & (tl.load(hunts + kind, mask=struck, other=0) == PROVOKED)
            npc = realm * (slots - agents) + slot - agents
            tl.store(aggro_target + npc, who, mask=provoked)
            attacker = realm * slots + who
            tl.store(aggro_entity + npc, tl.load(entities + attacker, mask=provoked, other=-1), mask=provoked)
            anger = tl.load(tempers + kind, mask=provoked, other=0)
            tl.store(aggro_ticks + npc, anger.to(tl.uint8), mask=provoked)
            if SKILLED:
                npc_kills = killed & struck
                how = tl.load(style + attacker, mask=npc_kills, other=0).to(tl.int32)
                prize = tl.load(worths + kind, mask=npc_kills, other=0)
                add(xp + (realm * agents + who) * TRADES + how, prize, npc_kills)


def damage_buffers(world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Workspaces [R, S]: losses of each slot (int32, zero between ticks), the key of its top attacker
    (int64, -1 between ticks), and its gains (uint8)."""
    shape = tuple(world.alive.shape)
    return (
        world.workspace("lost", shape, torch.int32, fill=0),
        world.workspace("hardest blow", shape, torch.int64, fill=-1),
        world.workspace("gained", shape, torch.uint8),
    )


def of_kinds(tables: Tables, field: str, device: torch.device) -> Tensor:
    """[kinds] int32: a field of ``NPCRow``."""
    return tensor(tuple(getattr(row, field) for row in tables.npcs), device, torch.int32)


def fight(world: World, style: Tensor, target: Tensor) -> None:
    """See ``nmmo_gpu.world.combat_rolls.fight``."""
    cfg, device = world.config, world.device
    tables = cfg.tables
    cut = over_slots(*world.alive.shape)
    attack, strength = rule.padded_bonuses(tables)
    launch(
        _blows, cut.programs, world.seed, world.tick, world.alive, world.health, world.age, world.row,
        world.col, style, target, world.level, world.worn, world.inventory, world.ledger, world.xp,
        world.events, *damage_buffers(world), world.chilled, tensor(attack, device, torch.int32),
        tensor(strength, device, torch.int32), tensor(tables.defense, device, torch.int32),
        tensor(tables.gear[content.KNIFE], device, torch.int32), cut.slots, cut.chunks, cfg.slots,
        len(tables.items), len(attack[0]), world.events.shape[2],
        MELEE_REACH=cfg.reach[0], RANGE_REACH=cfg.reach[1], MAGE_REACH=cfg.reach[2],
        MELEE_DAMAGE=cfg.damage[0], RANGE_DAMAGE=cfg.damage[1], MAGE_DAMAGE=cfg.damage[2],
        IMMUNE_TICKS=cfg.immune_ticks, ROLLS=cfg.rolls, SKILLED=cfg.skills,
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    launch(
        _bruises, cut.programs, world.alive, world.health, world.food, world.water, world.age, world.damage,
        world.cause, world.top_attacker, world.entity, style, world.xp, world.aggro_target,
        world.aggro_entity, world.aggro_ticks,
        *damage_buffers(world), kind_of_slot(cfg, device), of_kinds(tables, "hunts", device),
        of_kinds(tables, "aggro_ticks", device), of_kinds(tables, "experience", device),
        cut.slots, cut.chunks, cfg.slots,
        MAX_FOOD=cfg.max_food, MAX_WATER=cfg.max_water, IMMUNE_TICKS=cfg.immune_ticks, ROLLS=cfg.rolls,
        SKILLED=cfg.skills, NPCS=cfg.npc_slots > 0, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
