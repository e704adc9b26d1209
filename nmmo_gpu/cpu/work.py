"""Work as compiled loops; twin of ``nmmo_gpu.world.work``."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmmo_gpu.content import CONSTITUTION, WORKS, Content, Material
from nmmo_gpu.content.tables import tables
from nmmo_gpu.cpu.compile import arrays_of, compiled
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

_WORK_FIELDS = "alive row col health food material shore regrow_at inventory offer level xp events ledger"

FISH, MINE, COOK, SWORD, KNIVES, ARMOR, EAT = range(1, len(WORKS))
LEVEL, SKILL, EXPERIENCE, MAKES, AMOUNT, TAKES, TAKES_AMOUNT, ROOM, CHOICE = range(9)
"""Columns of ``recipes``."""
COLUMNS = ("level", "skill", "experience", "makes", "amount", "takes", "takes_amount", "room")
MEAL, HEALS, FEEDS = range(3)
"""Columns of ``meals``."""
CAPACITY, WORKS_THERE, SKILLED, MAX_HEALTH, MAX_FOOD = range(5)
"""Indices into ``numbers``; ``WORKS_THERE`` is one bit per work of the config."""

SIDES = np.array(MOVES[1:], np.int64)
EVEN, CERTAIN, MAX_TIERS = rule.EVEN, rule.CERTAIN, rule.MAX_TIERS
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
def could(recipes, row, inventory, level, space, r, a):
    """Returns whether the agent has the level, ingredients and room for a recipe."""
    if level[r, a, recipes[row, SKILL]] < recipes[row, LEVEL] or space < recipes[row, ROOM]:
        return False
    takes = recipes[row, TAKES]
    return takes < 0 or inventory[r, a, takes] >= recipes[row, TAKES_AMOUNT]


@compiled(inline="always")
def rocks_beside(material, r, y, x):
    """Returns the number of orerocks among the four neighbors."""
    rocks = 0
    for side in range(4):
        rocks += material[r, y + SIDES[side, 0], x + SIDES[side, 1]] == ORE_ROCK
    return rocks


@compiled(inline="always")
def possible_works(works, recipes, meals, inventory, level, space, shore, material, r, a, y, x):
    """Returns the works that would have an effect for living agent ``a`` of realm ``r``, one bit each; bit 0
    is set.

    Args:
        works: the config's works, one bit each.
        recipes: as in ``book``.
        meals: as in ``book``.
        inventory: the world's field, like ``level``, ``shore`` and ``material``.
        space: the agent's ``nmmo_gpu.cpu.inventory.room``.
        y: the agent's row.
        x: the agent's column.
    """
    # Branches on what agents hold are avoided, because they would be mispredicted.
    possible = 1
    for row in range(recipes.shape[0]):
        able = level[r, a, recipes[row, SKILL]] >= recipes[row, LEVEL]
        able &= space >= recipes[row, ROOM]
        able &= inventory[r, a, max(recipes[row, TAKES], 0)] >= recipes[row, TAKES_AMOUNT]
        possible |= able << recipes[row, CHOICE]
    for meal in range(meals.shape[0]):
        possible |= (inventory[r, a, meals[meal, MEAL]] > 0) << EAT
    possible &= works | 1
    if possible >> FISH & 1 and not shore[r, y, x]:
        possible ^= 1 << FISH
    if possible >> MINE & 1 and rocks_beside(material, r, y, x) == 0:
        possible ^= 1 << MINE
    return possible


@compiled(inline="always")
def _succeeds(seed, tick, recipes, row, tier, level, r, a):
    above = np.int64(level[r, a, recipes[row, SKILL]]) - recipes[row, LEVEL]
    word = draw(seed, tick, LUCK, r, MAX_TIERS * a + tier)[0]
    return below(word, CERTAIN) < EVEN + above


@compiled(inline="always")
def _gather(seed, tick, choice, recipes, starts, inventory, level, space, r, a):
    """Returns the first row that succeeds, from the last to the first; -1 if all fail, -2 if none can be
    attempted."""
    first = starts[choice]
    got = -2
    for row in range(starts[choice + 1] - 1, first - 1, -1):
        if could(recipes, row, inventory, level, space, r, a):
            got = -1
            if _succeeds(seed, tick, recipes, row, row - first, level, r, a):
                got = row
                break
    return got


@compiled(inline="always")
def _make(recipes, row, skilled, inventory, ledger, xp, r, a):
    """Adds the items that a recipe makes, and its experience."""
    item, amount = recipes[row, MAKES], recipes[row, AMOUNT]
    inventory[r, a, item] += amount
    ledger[r, item, MADE] += amount
    if skilled:
        xp[r, a, recipes[row, SKILL]] += recipes[row, EXPERIENCE]


@compiled(inline="always")
def _highest(choice, recipes, starts, inventory, level, space, r, a):
    """Returns the last row of a work that is possible; -1 if there is none."""
    for row in range(starts[choice + 1] - 1, starts[choice] - 1, -1):
        if could(recipes, row, inventory, level, space, r, a):
            return row
    return -1


@compiled(allocates=False)
def _craft(recipes, row, burns, skilled, inventory, ledger, xp, events, r, a):
    """Makes a recipe of cooking or smithing, or burns its ingredients."""
    takes, amount = recipes[row, TAKES], recipes[row, TAKES_AMOUNT]
    inventory[r, a, takes] -= amount
    if burns:
        ledger[r, takes, BURNT_UP] += amount
        events[r, a, BURNT] += 1
        return
    ledger[r, takes, USED] += amount
    _make(recipes, row, skilled, inventory, ledger, xp, r, a)
    events[r, a, COOKED if recipes[row, CHOICE] == COOK else SMITHED] += 1


@compiled(allocates=False)
def _eat(meals, max_health, max_food, inventory, health, food, ledger, events, r, a):
    missing = max_health - health[r, a]
    chosen = -1
    for meal in range(meals.shape[0]):
        # Meals in order of rising healing: the first one held, then each larger one that would not be wasted.
        if inventory[r, a, meals[meal, MEAL]] > 0 and (chosen < 0 or meals[meal, HEALS] <= missing):
            chosen = meal
    if chosen < 0:
        return
    item = meals[chosen, MEAL]
    inventory[r, a, item] -= 1
    ledger[r, item, EATEN_UP] += 1
    events[r, a, EATEN] += 1
    health[r, a] = min(health[r, a] + meals[chosen, HEALS], max_health)
    food[r, a] = min(food[r, a] + meals[chosen, FEEDS], max_food)


@compiled
def _work(seed, tick, work, world, claims, book, numbers, thresholds, low, high):
    """Processes realms ``low`` to ``high``."""
    (
        alive, row, col, health, food, material, shore, regrow_at, inventory, offer, level, xp, events,
        ledger
    ) = world  # fmt: skip
    recipes, starts, meals, weights = book
    slots = work.shape[1]
    width = material.shape[2]
    skilled = numbers[SKILLED] != 0
    miner = np.empty(slots, np.int64)
    rock = np.empty(slots, np.int64)
    side_of = np.empty(slots, np.int64)
    ore = np.empty(slots, np.int64)
    for r in range(low, high):
        claim = claims[r].reshape(-1)
        ground = material[r].reshape(-1)
        miners = 0
        for a in range(slots):
            choice = np.int64(work[r, a])
            if choice == 0 or not alive[r, a] or health[r, a] <= 0 or not numbers[WORKS_THERE] >> choice & 1:
                continue
            y, x = np.int64(row[r, a]), np.int64(col[r, a])
            if choice == EAT:
                max_health = np.int64(level[r, a, CONSTITUTION]) if skilled else numbers[MAX_HEALTH]
                _eat(meals, max_health, numbers[MAX_FOOD], inventory, health, food, ledger, events, r, a)
                continue
            rocks = 0
            if choice == MINE:
                rocks = rocks_beside(material, r, y, x)
                if rocks == 0:
                    continue
            elif choice == FISH and not shore[r, y, x]:
                continue
            space = room(inventory, offer, weights, numbers[CAPACITY], r, a)
            if choice > MINE:
                got = _highest(choice, recipes, starts, inventory, level, space, r, a)
                if got >= 0:
                    tier = got - starts[choice]
                    burns = choice == COOK and not _succeeds(seed, tick, recipes, got, tier, level, r, a)
                    _craft(recipes, got, burns, skilled, inventory, ledger, xp, events, r, a)
                continue
            got = _gather(seed, tick, choice, recipes, starts, inventory, level, space, r, a)
            if got == -2:
                continue
            events[r, a, MINING if choice == MINE else FISHING] += 1
            if got < 0:
                continue
            if choice == FISH:
                _make(recipes, got, skilled, inventory, ledger, xp, r, a)
                events[r, a, FISHED] += recipes[got, AMOUNT]
                continue
            nth = below(draw(seed, tick, ROCK, r, a)[0], rocks)
            for side in range(4):
                tile = (y + SIDES[side, 0]) * width + x + SIDES[side, 1]
                if ground[tile] == ORE_ROCK:
                    if nth == 0:
                        miner[miners], rock[miners], side_of[miners], ore[miners] = a, tile, side, got
                        claim[tile] |= np.uint8(1 << side)
                        miners += 1
                        break
                    nth -= 1
        # All claims are made before any rock is depleted.
        for i in range(miners):
            a, tile, got = miner[i], rock[i], ore[i]
            if not wins(seed, tick, MINERS, r, tile, claim[tile], 1 << side_of[i]):
                continue
            _make(recipes, got, skilled, inventory, ledger, xp, r, a)
            events[r, a, MINED] += recipes[got, AMOUNT]
            ground[tile] = STONE
            if len(thresholds):
                word = draw(seed, tick, REGROW, r, tile)[0]
                wait = np.searchsorted(thresholds, np.int64(word), side="right") + 1
                regrow_at[r, tile // width, tile % width] = (tick + wait) & TICK_MASK
        for i in range(miners):
            claim[rock[i]] = 0


@cache
def book(content: Content) -> tuple[Any, Any, Any, Any]:
    """Look-up tables for compiled loops, int64 arrays.

    Returns:
        recipes: [recipes, 9], of all works in turn; for the columns, see ``LEVEL``.
        starts: [works + 1], the first row of each work.
        meals: [meals, 3], by rising healing; for the columns, see ``MEAL``.
        weights: [items].
    """
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
    return recipes.reshape(-1, CHOICE + 1), starts, meals, np.array(known.weight, np.int64)


def works_there(works: tuple[str, ...]) -> int:
    """Returns the config's works, one bit each."""
    return sum(1 << WORKS.index(name) for name in set(works))


def arguments(world: World, work: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_work``, except the range of realms."""
    cfg = world.config
    # As bytes, so that the loops are compiled once, for any dtype and layout of the choices.
    choices = world.workspace("works", (world.realms, cfg.slots), torch.uint8).copy_(work).numpy()
    numbers = (cfg.capacity, works_there(cfg.works), cfg.skills, cfg.max_health, cfg.max_food)
    thresholds = threshold_tensor(cfg.ore_regrowth, torch.device("cpu")).numpy()
    fields, claims = arrays_of(_WORK_FIELDS, world), claims_plane(world).numpy()
    tables = book(cfg.content), np.array(numbers, np.int64), thresholds
    return world.seed.numpy(), int(world.tick), choices, fields, claims, *tables


def work(world: World, work: Tensor) -> None:
    """See ``nmmo_gpu.world.work.work``."""
    fixed = arguments(world, work)
    parallel(_work, [(*fixed, *piece) for piece in realm_slices(world.realms)])
