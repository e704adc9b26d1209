"""Work as compiled loops; twin of ``nmmo_gpu.world.work``."""

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.content import CONSTITUTION, WORKS, Content, Material
from nmmo_gpu.content.tables import tables
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.contest import wins
from nmmo_gpu.cpu.inventory import room
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import work as rule
from nmmo_gpu.world.contest import claims_plane
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.regrowth import TICK_MASK
from nmmo_gpu.world.regrowth_table import threshold_tensor
from nmmo_gpu.world.state import World

_WorkFields = namedtuple(
    "_WorkFields",
    "seed tick alive row col health food material shore regrow_at inventory offer level xp events ledger",
)
_WorkConfig = namedtuple("_WorkConfig", "capacity work_bits skills max_health max_food")
"""``work_bits``: see ``work_bits``."""
Book = namedtuple("Book", "recipes starts meals weight")
"""Look-up tables for compiled loops, int64 arrays: [recipes, 9], of all works in turn, see ``LEVEL`` and the
others; [works + 1], the first row of each work; [meals, 3], by rising healing, see ``MEAL`` and the others;
[items]."""
_Miners = namedtuple("_Miners", "agent rock side recipe")
"""[S] int64, of one realm: each agent that breaks a rock, the tile, the side from which, and the recipe."""

FISH, MINE, COOK, SWORD, KNIVES, ARMOR, EAT = range(1, len(WORKS))
LEVEL, SKILL, EXPERIENCE, MAKES, AMOUNT, TAKES, TAKES_AMOUNT, ROOM, CHOICE = range(9)
"""Columns of ``recipes``."""
COLUMNS = ("level", "skill", "experience", "makes", "amount", "takes", "takes_amount", "room")
MEAL, HEALS, FEEDS = range(3)
"""Columns of ``meals``."""

SIDES = np.array(MOVES[1:], np.int64)
EVEN, CERTAIN, MOST_TIERS = rule.EVEN, rule.CERTAIN, rule.MOST_TIERS
LUCK, ROCK, MINERS, REGROW = (int(s) for s in (Stream.WORK, Stream.ROCK, Stream.MINERS, Stream.REGROW))
ORE_ROCK, STONE = int(Material.ORE_ROCK), int(Material.STONE)
MADE, EATEN_UP, USED, BURNT_UP = int(Flow.MADE), int(Flow.EATEN), int(Flow.USED), int(Flow.BURNT)
FISHING, FISHED, MINING, MINED, COOKED, BURNT, SMITHED, EATEN = (
    int(e)
    for e in (
        Event.FISHING, Event.FISHED, Event.MINING, Event.MINED, Event.COOKED, Event.BURNT, Event.SMITHED,
        Event.EATEN,
    )
)  # fmt: skip


@compiled(inline="always")
def could(world, recipes, row, space, r, a):
    """Whether the agent has level, ingredients and room for a recipe."""
    if world.level[r, a, recipes[row, SKILL]] < recipes[row, LEVEL] or space < recipes[row, ROOM]:
        return False
    takes = recipes[row, TAKES]
    return takes < 0 or world.inventory[r, a, takes] >= recipes[row, TAKES_AMOUNT]


@compiled(inline="always")
def rocks_beside(material, r, y, x):
    """Number of the four neighbours that are an orerock."""
    rocks = 0
    for side in range(4):
        rocks += material[r, y + SIDES[side, 0], x + SIDES[side, 1]] == ORE_ROCK
    return rocks


@compiled(inline="always")
def possible_works(world, tables, works, space, r, a, y, x):
    """The works that would have an effect for living agent ``a`` of realm ``r``, one bit each; bit 0 is set.

    Args:
        world: with inventory, level, shore and material. tables: see ``Book``.
        works: see ``work_bits``. space: its ``nmmo_gpu.cpu.inventory.room``. y, x: its row and column.
    """
    # No branches on what agents hold, because they would be mispredicted.
    recipes, meals = tables.recipes, tables.meals
    possible = 1
    for row in range(recipes.shape[0]):
        able = world.level[r, a, recipes[row, SKILL]] >= recipes[row, LEVEL]
        able &= space >= recipes[row, ROOM]
        able &= world.inventory[r, a, max(recipes[row, TAKES], 0)] >= recipes[row, TAKES_AMOUNT]
        possible |= able << recipes[row, CHOICE]
    for meal in range(meals.shape[0]):
        possible |= (world.inventory[r, a, meals[meal, MEAL]] > 0) << EAT
    possible &= works | 1
    if possible >> FISH & 1 and not world.shore[r, y, x]:
        possible ^= 1 << FISH
    if possible >> MINE & 1 and rocks_beside(world.material, r, y, x) == 0:
        possible ^= 1 << MINE
    return possible


@compiled(inline="always")
def _succeeds(world, recipes, row, tier, r, a):
    above = np.int64(world.level[r, a, recipes[row, SKILL]]) - recipes[row, LEVEL]
    word = draw(world, LUCK, r, MOST_TIERS * a + tier)[0]
    return below(word, CERTAIN) < EVEN + above


@compiled(inline="always")
def _gather(world, tables, work, space, r, a):
    """The row that succeeds first, from the highest down; -1 if all fail, -2 if none can be attempted."""
    first = tables.starts[work]
    got = -2
    for row in range(tables.starts[work + 1] - 1, first - 1, -1):
        if could(world, tables.recipes, row, space, r, a):
            got = -1
            if _succeeds(world, tables.recipes, row, row - first, r, a):
                got = row
                break
    return got


@compiled(inline="always")
def _make(world, recipes, row, skills, r, a):
    """Adds the items made, and their experience."""
    item, amount = recipes[row, MAKES], recipes[row, AMOUNT]
    world.inventory[r, a, item] += amount
    world.ledger[r, item, MADE] += amount
    if skills:
        world.xp[r, a, recipes[row, SKILL]] += recipes[row, EXPERIENCE]


@compiled(inline="always")
def _craft(world, tables, skills, work, space, r, a):
    """Cooking and smithing: makes the last recipe that is possible."""
    recipes, first = tables.recipes, tables.starts[work]
    chosen = -1
    for row in range(tables.starts[work + 1] - 1, first - 1, -1):
        if could(world, recipes, row, space, r, a):
            chosen = row
            break
    if chosen < 0:
        return
    takes, amount = recipes[chosen, TAKES], recipes[chosen, TAKES_AMOUNT]
    world.inventory[r, a, takes] -= amount
    if work == COOK and not _succeeds(world, recipes, chosen, chosen - first, r, a):
        world.ledger[r, takes, BURNT_UP] += amount
        world.events[r, a, BURNT] += 1
        return
    world.ledger[r, takes, USED] += amount
    _make(world, recipes, chosen, skills, r, a)
    world.events[r, a, COOKED if work == COOK else SMITHED] += 1


@compiled(inline="always")
def _eat(world, meals, config, r, a):
    most = np.int64(world.level[r, a, CONSTITUTION]) if config.skills else config.max_health
    missing = most - world.health[r, a]
    chosen = -1
    for meal in range(meals.shape[0]):
        # By rising size: the first held, and then all that do not waste.
        if world.inventory[r, a, meals[meal, MEAL]] > 0 and (chosen < 0 or meals[meal, HEALS] <= missing):
            chosen = meal
    if chosen < 0:
        return
    item = meals[chosen, MEAL]
    world.inventory[r, a, item] -= 1
    world.ledger[r, item, EATEN_UP] += 1
    world.events[r, a, EATEN] += 1
    world.health[r, a] = min(world.health[r, a] + meals[chosen, HEALS], most)
    world.food[r, a] = min(world.food[r, a] + meals[chosen, FEEDS], config.max_food)


@compiled(inline="always")
def _fish(world, tables, skills, space, r, a):
    got = _gather(world, tables, FISH, space, r, a)
    if got > -2:
        world.events[r, a, FISHING] += 1
    if got >= 0:
        _make(world, tables.recipes, got, skills, r, a)
        world.events[r, a, FISHED] += tables.recipes[got, AMOUNT]


@compiled(inline="always")
def _rock(world, r, a, y, x, rocks):
    """A random one of the rocks beside an agent: the side."""
    nth = below(draw(world, ROCK, r, a)[0], rocks)
    chosen = 0
    for side in range(4):
        if world.material[r, y + SIDES[side, 0], x + SIDES[side, 1]] == ORE_ROCK:
            if nth == 0:
                chosen = side
            nth -= 1
    return chosen


@compiled(inline="always")
def _mine(world, tables, miners, claim, count, space, r, a, y, x):
    """Mining, up to the claim of a rock; returns the number of miners, of whom ``count`` came before."""
    rocks = rocks_beside(world.material, r, y, x)
    if rocks > 0:
        got = _gather(world, tables, MINE, space, r, a)
        if got > -2:
            world.events[r, a, MINING] += 1
        if got >= 0:
            side = _rock(world, r, a, y, x, rocks)
            tile = (y + SIDES[side, 0]) * world.material.shape[2] + x + SIDES[side, 1]
            miners.agent[count], miners.rock[count] = a, tile
            miners.side[count], miners.recipe[count] = side, got
            claim[tile] |= np.uint8(1 << side)
            count += 1
    return count


@compiled(inline="always")
def _break(world, tables, thresholds, skills, r, a, tile, got):
    """The winner of a rock takes its ore, and leaves stone."""
    _make(world, tables.recipes, got, skills, r, a)
    world.events[r, a, MINED] += tables.recipes[got, AMOUNT]
    y, x = tile // world.material.shape[2], tile % world.material.shape[2]
    world.material[r, y, x] = STONE
    if len(thresholds):
        word = draw(world, REGROW, r, tile)[0]
        wait = np.searchsorted(thresholds, np.int64(word), side="right") + 1
        world.regrow_at[r, y, x] = (world.tick[0] + wait) & TICK_MASK


@compiled
def _work(world, works, claims, tables, thresholds, config, low, high):
    """Realms ``low`` to ``high``. ``claims``: [R, H, W] uint8, zero before and after."""
    slots = works.shape[1]
    agent, rock, side, recipe = np.empty((4, slots), np.int64)
    miners = _Miners(agent, rock, side, recipe)
    for r in range(low, high):
        claim = claims[r].reshape(-1)
        count = 0
        for a in range(slots):
            work = np.int64(works[r, a])
            if (
                work == 0
                or not world.alive[r, a]
                or world.health[r, a] <= 0
                or not config.work_bits >> work & 1
            ):
                continue
            if work == EAT:
                _eat(world, tables.meals, config, r, a)
                continue
            y, x = np.int64(world.row[r, a]), np.int64(world.col[r, a])
            space = room(world, tables.weight, config.capacity, r, a)
            if work == MINE:
                count = _mine(world, tables, miners, claim, count, space, r, a, y, x)
            elif work > MINE:
                _craft(world, tables, config.skills, work, space, r, a)
            elif world.shore[r, y, x]:
                _fish(world, tables, config.skills, space, r, a)
        # All claims are made before any rock is depleted.
        for i in range(count):
            a, tile, got = miners.agent[i], miners.rock[i], miners.recipe[i]
            if wins(world, MINERS, r, tile, claim[tile], 1 << miners.side[i]):
                _break(world, tables, thresholds, config.skills, r, a, tile, got)
        for i in range(count):
            claim[miners.rock[i]] = 0


@cache
def book(content: Content) -> Book:
    """Look-up tables for compiled loops; cached."""
    known = tables(content)
    recipes = np.array(
        [
            [*(getattr(row, name) for name in COLUMNS), choice]
            for choice, rows in enumerate(known.recipes)
            for row in rows
        ],
        np.int64,
    )
    starts = np.cumsum([0, *(len(rows) for rows in known.recipes)], dtype=np.int64)
    meals = np.array(known.meals, np.int64).reshape(-1, 3)
    return Book(recipes.reshape(-1, CHOICE + 1), starts, meals, np.array(known.weight, np.int64))


def work_bits(works: tuple[str, ...]) -> int:
    """The config's works, one bit each."""
    return sum(1 << WORKS.index(name) for name in set(works))


def arguments(world: World, work: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_work``, except the range of realms."""
    cfg = world.config
    # As bytes, so that the loops are compiled once, for any dtype and layout of the choices.
    choices = world.workspace("works", (world.realms, cfg.slots), torch.uint8).copy_(work)
    config = fields_of(_WorkConfig, cfg, work_bits=work_bits(cfg.works))
    thresholds = threshold_tensor(cfg.ore_regrowth, torch.device("cpu")).numpy()
    claims = claims_plane(world).numpy()
    return arrays_of(_WorkFields, world), choices.numpy(), claims, book(cfg.content), thresholds, config


def work(world: World, work: Tensor) -> None:
    """See ``nmmo_gpu.world.work.work``."""
    fixed = arguments(world, work)
    parallel(_work, [(*fixed, *piece) for piece in realm_slices(world.realms)])
