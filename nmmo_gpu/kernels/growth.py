"""Growth in one kernel; twin of ``nmmo_gpu.world.growth``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl

from nmmo_gpu.content import SKILLS, tables
from nmmo_gpu.content.tables import Tables, experience_table, tensor
from nmmo_gpu.kernels.combat_rolls import add
from nmmo_gpu.kernels.launch import fields_of, launch, over_slots
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world import growth as rule
from nmmo_gpu.world import state
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.state import World

_Fields = namedtuple("_Fields", "alive xp level inventory worn events ledger")
_Tables = namedtuple("_Tables", "thresholds gear gear_level weightless")
"""The experience for each level ([levels] int32); items and required levels of each kind of gear by rank
([kinds of gear, ranks] int32); items without weight (int32)."""
_Config = namedtuple("_Config", "skills ranks weightless")

MAX_STACK, LOST, FLOWS = (tl.constexpr(n) for n in (state.MAX_STACK, int(Flow.LOST), len(Flow)))
MAX_EXPERIENCE, LEVELS = tl.constexpr(state.MAX_EXPERIENCE), tl.constexpr(tables.LEVELS)
STEPS = tl.constexpr(tables.LEVELS.bit_length())
"""Steps of a bisection over the levels."""
NOBODYS_LEVEL = 1 << 8
RISES, TRADES = tl.constexpr(int(Event.LEVELS)), tl.constexpr(len(SKILLS))
SWORD_SKILL, KNIFE_SKILL, ARMOR_SKILL = (tl.constexpr(skill) for skill in rule.GEAR_SKILLS)


@triton.jit
def level_of(gained, was, mask, thresholds):
    """Returns [BLOCK] int32: the level for the experience, looked up only if any level has changed from
    ``was``."""
    known = mask & (was >= 1) & (was <= LEVELS)
    floor = tl.load(thresholds + was - 1, mask=known, other=MAX_EXPERIENCE + 1)
    ceiling = tl.load(thresholds + was, mask=known & (was < LEVELS), other=MAX_EXPERIENCE + 1)
    now = was
    if tl.max((mask & ((gained < floor) | (gained >= ceiling))).to(tl.int32), 0) > 0:
        low, high = tl.zeros_like(was), tl.full(was.shape, LEVELS, tl.int32)
        for _ in tl.static_range(STEPS):
            middle = (low + high) // 2
            searching = mask & (low < high)
            above = tl.load(thresholds + middle, mask=searching, other=0) <= gained
            low = tl.where(searching & above, middle + 1, low)
            high = tl.where(searching & ~above, middle, high)
        now = low
    return now


@triton.jit
def best_of(world, tables, KIND: tl.constexpr, agent, living, skill, items, RANKS: tl.constexpr):
    """Returns [BLOCK] int32: the highest usable rank of one kind of gear."""
    best = tl.zeros_like(skill)
    for rank in range(RANKS):
        at = KIND * RANKS + rank
        item, needed = tl.load(tables.gear + at), tl.load(tables.gear_level + at)
        has = tl.load(world.inventory + agent * items + item, mask=living, other=0) > 0
        best = tl.where(has & (skill >= needed), rank + 1, best)
    return best


@triton.jit
def _growth(
    world, tables, slots, chunks, entities, items, columns, config: tl.constexpr, BLOCK: tl.constexpr
):
    """Order-free: each slot is written only by its own program, and the ledger by atomic additions."""
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    entity = realm * entities + slot
    living = inside & (tl.load(world.alive + entity, mask=inside, other=0) != 0)
    if tl.max(living.to(tl.int32), 0) > 0:
        for k in range(config.weightless):
            item = tl.load(tables.weightless + k)
            stack = world.inventory + agent * items + item
            excess = tl.load(stack, mask=living, other=0) - MAX_STACK
            over = excess > 0
            tl.store(stack, tl.full([BLOCK], MAX_STACK, tl.int32), mask=over)
            account = world.ledger + (realm * (items + 1) + item) * FLOWS + LOST
            tl.atomic_add(account + tl.zeros_like(excess), excess.to(tl.int64), mask=over, sem="relaxed")
        rises = tl.zeros([BLOCK], tl.int32)
        sword, knife, armor = rises, rises, rises
        for skill in tl.static_range(TRADES):
            now = tl.load(world.level + entity * TRADES + skill, mask=living, other=1).to(tl.int32)
            if config.skills:
                was = now
                gained = tl.load(world.xp + agent * TRADES + skill, mask=living, other=0)
                capped = tl.full([BLOCK], MAX_EXPERIENCE, tl.int32)
                tl.store(world.xp + agent * TRADES + skill, capped, mask=living & (gained > MAX_EXPERIENCE))
                gained = tl.minimum(gained, MAX_EXPERIENCE)
                now = level_of(gained, was, living, tables.thresholds)
                tl.store(world.level + entity * TRADES + skill, now.to(tl.uint8), mask=living & (now != was))
                rises += tl.maximum(now - was, 0)
            if skill == SWORD_SKILL:
                sword = now
            if skill == KNIFE_SKILL:
                knife = now
            if skill == ARMOR_SKILL:
                armor = now
        if config.skills:
            add(world.events + agent * columns + RISES, rises, living & (rises > 0))
        sword = best_of(world, tables, 0, agent, living, sword, items, config.ranks)
        knife = best_of(world, tables, 1, agent, living, knife, items, config.ranks)
        armor = best_of(world, tables, 2, agent, living, armor, items, config.ranks)
        tl.store(world.worn + agent * 3, sword.to(tl.uint8), mask=living)
        tl.store(world.worn + agent * 3 + 1, knife.to(tl.uint8), mask=living)
        tl.store(world.worn + agent * 3 + 2, armor.to(tl.uint8), mask=living)


def _tables_of(of: Tables, device: torch.device) -> _Tables:
    """Returns the tables on a device. Ranks that do not exist have a required level that no agent reaches."""
    ranks = max(map(len, of.gear))
    items = tuple(row + (0,) * (ranks - len(row)) for row in of.gear)
    levels = tuple(row + (NOBODYS_LEVEL,) * (ranks - len(row)) for row in of.gear_level)
    rows = experience_table(), items, levels, of.weightless or (0,)
    return _Tables(*(tensor(numbers, device, torch.int32) for numbers in rows))


def growth(world: World) -> None:
    """See ``nmmo_gpu.world.growth.growth``."""
    cfg = world.config
    cut = over_slots(world.realms, cfg.slots)
    tables = _tables_of(cfg.tables, world.device)
    weightless = len(cfg.tables.weightless)
    config = fields_of(_Config, cfg, ranks=tables.gear.shape[1], weightless=weightless)
    launch(
        _growth, cut.programs, fields_of(_Fields, world), tables, cut.slots, cut.chunks, cfg.entities,
        len(cfg.tables.items), world.events.shape[2],
        config=config, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
