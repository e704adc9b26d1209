"""Growth in one kernel; twin of ``nmmo_gpu.world.growth``."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.content import SKILLS, tables
from nmmo_gpu.content.tables import Tables, experience_table, tensor
from nmmo_gpu.kernels.combat_rolls import add
from nmmo_gpu.kernels.launch import launch, over_slots
from nmmo_gpu.kernels.slots import my_slots
from nmmo_gpu.world import growth as rule
from nmmo_gpu.world import state
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.state import World

MOST_EXPERIENCE, LEVELS = tl.constexpr(state.MOST_EXPERIENCE), tl.constexpr(tables.LEVELS)
STEPS = tl.constexpr(tables.LEVELS.bit_length())
"""Steps of a bisection over the levels."""
NOBODYS_LEVEL = 1 << 8
RISES, TRADES = tl.constexpr(int(Event.LEVELS)), tl.constexpr(len(SKILLS))
SWORD_SKILL, KNIFE_SKILL, ARMOR_SKILL = (tl.constexpr(skill) for skill in rule.GEAR_SKILLS)


@triton.jit
def level_of(gained, was, mask, thresholds):
    """[BLOCK] int32: level for experience, looked up only if one differs from the old level ``was``."""
    known = mask & (was >= 1) & (was <= LEVELS)
    floor = tl.load(thresholds + was - 1, mask=known, other=MOST_EXPERIENCE + 1)
    ceiling = tl.load(thresholds + was, mask=known & (was < LEVELS), other=MOST_EXPERIENCE + 1)
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
def best_of(agent, living, skill, inventory, gear, gear_level, items, RANKS: tl.constexpr):
    """[BLOCK] int32: the highest usable rank of one kind of gear; ``gear``, ``gear_level``: its [RANKS]."""
    best = tl.zeros_like(skill)
    for rank in range(RANKS):
        item, needed = tl.load(gear + rank), tl.load(gear_level + rank)
        has = tl.load(inventory + agent * items + item, mask=living, other=0) > 0
        best = tl.where(has & (skill >= needed), rank + 1, best)
    return best


@triton.jit
def _growth(
    alive, xp, level, inventory, worn, events, thresholds, gear, gear_level,
    slots, chunks, entities, items, columns,
    RANKS: tl.constexpr, SKILLED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each slot is written only by its own program."""
    realm, slot, agent, inside = my_slots(slots, chunks, BLOCK)
    entity = realm * entities + slot
    living = inside & (tl.load(alive + entity, mask=inside, other=0) != 0)
    if tl.max(living.to(tl.int32), 0) > 0:
        rises = tl.zeros([BLOCK], tl.int32)
        sword, knife, armor = rises, rises, rises
        for skill in tl.static_range(TRADES):
            now = tl.load(level + entity * TRADES + skill, mask=living, other=1).to(tl.int32)
            if SKILLED:
                was = now
                gained = tl.load(xp + agent * TRADES + skill, mask=living, other=0)
                most = tl.full([BLOCK], MOST_EXPERIENCE, tl.int32)
                tl.store(xp + agent * TRADES + skill, most, mask=living & (gained > MOST_EXPERIENCE))
                gained = tl.minimum(gained, MOST_EXPERIENCE)
                now = level_of(gained, was, living, thresholds)
                tl.store(level + entity * TRADES + skill, now.to(tl.uint8), mask=living & (now != was))
                rises += tl.maximum(now - was, 0)
            if skill == SWORD_SKILL:
                sword = now
            if skill == KNIFE_SKILL:
                knife = now
            if skill == ARMOR_SKILL:
                armor = now
        if SKILLED:
            add(events + agent * columns + RISES, rises, living & (rises > 0))
        sword = best_of(agent, living, sword, inventory, gear, gear_level, items, RANKS)
        knife = best_of(agent, living, knife, inventory, gear + RANKS, gear_level + RANKS, items, RANKS)
        armor = best_of(
            agent, living, armor, inventory, gear + 2 * RANKS, gear_level + 2 * RANKS, items, RANKS
        )  # fmt: skip
        tl.store(worn + agent * 3, sword.to(tl.uint8), mask=living)
        tl.store(worn + agent * 3 + 1, knife.to(tl.uint8), mask=living)
        tl.store(worn + agent * 3 + 2, armor.to(tl.uint8), mask=living)


def gear_table(of: Tables, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """(items, required levels: [kinds of gear, ranks] int32; ranks). Ranks that do not exist have a required
    level that no agent reaches."""
    ranks = max(map(len, of.gear))
    items = tuple(row + (0,) * (ranks - len(row)) for row in of.gear)
    levels = tuple(row + (NOBODYS_LEVEL,) * (ranks - len(row)) for row in of.gear_level)
    return tensor(items, device, torch.int32), tensor(levels, device, torch.int32), ranks


def growth(world: World) -> None:
    """See ``nmmo_gpu.world.growth.growth``."""
    cfg, device = world.config, world.device
    of = cfg.tables
    cut = over_slots(world.realms, cfg.slots)
    gear, gear_level, ranks = gear_table(of, device)
    launch(
        _growth, cut.programs, world.alive, world.xp, world.level, world.inventory, world.worn, world.events,
        tensor(experience_table(), device, torch.int32), gear, gear_level, cut.slots, cut.chunks,
        cfg.entities, len(of.items), world.events.shape[2], RANKS=ranks, SKILLED=cfg.skills,
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
