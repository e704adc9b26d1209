"""Work in two kernels; twin of ``nmmo_gpu.world.work``.

The first does all independent work of the agents, and notes which of them succeeded at which rock; the second
decides which of several gets the ore. A note is the side on which the rock is, 1 to 4 as in moves, plus
``NOTE`` times the recipe."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.content import WORKS, Content, Material
from nmmo_gpu.content.tables import tables, tensor
from nmmo_gpu.kernels.contest import NOTE, wins
from nmmo_gpu.kernels.inventory import room
from nmmo_gpu.kernels.launch import INTERPRETED, WARP, launch, over_slots
from nmmo_gpu.kernels.movement import down, map_size, right
from nmmo_gpu.kernels.random import below, draw_word
from nmmo_gpu.kernels.regrowth import return_tick, table
from nmmo_gpu.kernels.slots import my_agents
from nmmo_gpu.world import work as rule
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

FISH, MINE, COOK, EAT = (tl.constexpr(WORKS.index(name)) for name in ("fish", "mine", "cook", "eat"))
FISH_BIT, MINE_BIT = tl.constexpr(1 << WORKS.index("fish")), tl.constexpr(1 << WORKS.index("mine"))
LEVEL, SKILL, EXPERIENCE, MAKES, AMOUNT, TAKES, TAKES_AMOUNT, ROOM, CHOICE, TIER = (
    tl.constexpr(column) for column in range(10)
)
"""Columns of the recipes."""
COLUMNS = ("level", "skill", "experience", "makes", "amount", "takes", "takes_amount", "room")
WIDE = tl.constexpr(len(COLUMNS) + 2)
HEALS, FEEDS, DISH = tl.constexpr(1), tl.constexpr(2), tl.constexpr(3)
"""Columns of the meals after their item, and their total number."""
SKILL_COUNT, CONSTITUTION = tl.constexpr(len(content.SKILLS)), tl.constexpr(content.CONSTITUTION)
EVEN, CERTAIN = tl.constexpr(rule.EVEN), tl.constexpr(rule.CERTAIN)
MOST_TIERS = tl.constexpr(rule.MOST_TIERS)
ORE_ROCK, STONE = tl.constexpr(int(Material.ORE_ROCK)), tl.constexpr(int(Material.STONE))
LUCK, ROCK, MINERS = (tl.constexpr(int(s)) for s in (Stream.WORK, Stream.ROCK, Stream.MINERS))
FLOWS = tl.constexpr(len(Flow))
MADE, USED, BURNT_UP, EATEN_UP = (
    tl.constexpr(int(flow)) for flow in (Flow.MADE, Flow.USED, Flow.BURNT, Flow.EATEN)
)  # fmt: skip
FISHING, FISHED, MINING, MINED, COOKED, BURNT, SMITHED, EATEN = (
    tl.constexpr(int(event))
    for event in (
        Event.FISHING, Event.FISHED, Event.MINING, Event.MINED, Event.COOKED, Event.BURNT, Event.SMITHED,
        Event.EATEN,
    )
)  # fmt: skip

SLOTS_PER_PROGRAM = None if INTERPRETED else WARP
"""Of ``_work``: a single warp skips work that none of its agents does, needs no barriers, and may use more
registers than ptxas grants to larger programs (with Triton 3.6 those spill)."""


@triton.jit
def is_rock(tile, here, material, DIRECTION: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """Whether the neighbour of a tile (index into all planes) is an orerock. Living agents are never on the
    edge of the map."""
    step: tl.constexpr = (DIRECTION == 1) - (DIRECTION == 3) + WIDTH * ((DIRECTION == 2) - (DIRECTION == 4))
    return tl.load(material + tile + step, mask=here, other=0) == ORE_ROCK


@triton.jit
def rocks_beside(tile, here, material, HEIGHT: tl.constexpr, WIDTH: tl.constexpr):
    """[...] int32: number of the four neighbours that are an orerock."""
    count = tl.zeros(tile.shape, tl.int32)
    for direction in tl.static_range(1, 5):
        count += is_rock(tile, here, material, direction, HEIGHT, WIDTH).to(tl.int32)
    return count


@triton.jit
def could(recipe, agent, being, here, space, level, inventory, ITEMS: tl.constexpr):
    """Whether level, ingredients and room suffice for a recipe (pointer to its row)."""
    # A recipe without ingredients takes 0 of the first item.
    skill, takes = tl.load(recipe + SKILL), tl.maximum(tl.load(recipe + TAKES), 0)
    able = here & (space >= tl.load(recipe + ROOM))
    has = tl.load(level + being * SKILL_COUNT + skill, mask=able, other=0).to(tl.int32)
    able = able & (has >= tl.load(recipe + LEVEL))
    held = tl.load(inventory + agent * ITEMS + takes, mask=able, other=0)
    return able & (held >= tl.load(recipe + TAKES_AMOUNT))


@triton.jit
def possible_works(
    agent, being, tile, living, space, level, inventory, shore, material, recipes, meals,
    WORKS_THERE: tl.constexpr, RECIPES: tl.constexpr, MEALS: tl.constexpr, ITEMS: tl.constexpr,
    HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """[...] int32: the works that would have an effect, one bit each; bit 0 is set; see
    ``nmmo_gpu.world.work.possible_works``.

    Args:
        agent: index into [R * A]. being: the same into [R * S]. tile: the same into [R * H * W].
        space: as returned by ``room``. recipes, meals and the constants: see ``book``.
    """
    possible = tl.zeros(tile.shape, tl.int32)
    for row in range(RECIPES):
        recipe = recipes + row * WIDE
        can = could(recipe, agent, being, living, space, level, inventory, ITEMS)
        possible |= can.to(tl.int32) << tl.load(recipe + CHOICE)
    for meal in range(MEALS):
        item = tl.load(meals + meal * DISH)
        held = tl.load(inventory + agent * ITEMS + item, mask=living, other=0) > 0
        possible |= held.to(tl.int32) << EAT
    fishes = living & ((possible & FISH_BIT) != 0)
    mines = living & ((possible & MINE_BIT) != 0)
    dry = fishes & (tl.load(shore + tile, mask=fishes, other=0) == 0)
    bare = mines & (rocks_beside(tile, mines, material, HEIGHT, WIDTH) == 0)
    possible = possible & ~(dry.to(tl.int32) * FISH_BIT) & ~(bare.to(tl.int32) * MINE_BIT)
    return (possible & WORKS_THERE) | 1


@triton.jit
def add(pointer, amount, here):
    """Adds to numbers that no other program writes."""
    before = tl.load(pointer, mask=here, other=0)
    tl.store(pointer, before + amount, mask=here)


@triton.jit
def succeeds(seed, tick, realm, slot, tier, above):
    """Whether attempts succeed, for levels ``above`` the required level."""
    word = draw_word(seed, tick, LUCK, realm, slot * MOST_TIERS + tier)
    return below(word, tl.full(slot.shape, CERTAIN, tl.int32)) < tl.minimum(above + EVEN, CERTAIN)


@triton.jit
def learn(recipe, agent, here, xp, SKILLED: tl.constexpr):
    """Adds experience for the recipes (pointers to rows) that succeeded."""
    if SKILLED:
        skill = tl.load(recipe + SKILL, mask=here, other=0)
        add(xp + agent * SKILL_COUNT + skill, tl.load(recipe + EXPERIENCE, mask=here, other=0), here)


@triton.jit
def enter(ledger, realm, item, flow, amount, here, ITEMS: tl.constexpr):
    """Books goods of a realm: atomic additions of integers."""
    account = ledger + (realm * (ITEMS + 1) + item) * FLOWS + flow
    tl.atomic_add(account, amount.to(tl.int64), mask=here, sem="relaxed")


@triton.jit
def eat(
    realm, agent, being, eats, meals, health, food, level, inventory, events, ledger,
    MEALS: tl.constexpr, MAX_HEALTH: tl.constexpr, MAX_FOOD: tl.constexpr,
    SKILLED: tl.constexpr, ITEMS: tl.constexpr, EVENTS: tl.constexpr,
):  # fmt: skip
    body = tl.load(health + being, mask=eats, other=0).to(tl.int32)
    most = tl.full(body.shape, MAX_HEALTH, tl.int32)
    if SKILLED:
        most = tl.load(level + being * SKILL_COUNT + CONSTITUTION, mask=eats, other=0).to(tl.int32)
    chosen = tl.full(body.shape, -1, tl.int32)
    for meal in range(MEALS):
        # By rising size: the first held, and then all that do not waste.
        dish = meals + meal * DISH
        held = tl.load(inventory + agent * ITEMS + tl.load(dish), mask=eats, other=0) > 0
        good = held & ((chosen < 0) | (tl.load(dish + HEALS) <= most - body))
        chosen = tl.where(good, meal, chosen)
    eats = eats & (chosen >= 0)
    dish = meals + chosen * DISH
    item = tl.load(dish, mask=eats, other=0)
    add(inventory + agent * ITEMS + item, -1, eats)
    enter(ledger, realm, item, EATEN_UP, eats, eats, ITEMS)
    add(events + agent * EVENTS + EATEN, 1, eats)
    body = tl.minimum(body + tl.load(dish + HEALS, mask=eats, other=0), most)
    full = tl.load(food + being, mask=eats, other=0).to(tl.int32)
    full = tl.minimum(full + tl.load(dish + FEEDS, mask=eats, other=0), MAX_FOOD)
    tl.store(health + being, body.to(tl.int16), mask=eats)
    tl.store(food + being, full.to(tl.int16), mask=eats)


@triton.jit
def _work(
    seed, tick, work, alive, row, col, health, food, material, shore, offer, inventory, level, xp, events,
    ledger, notes, weights, recipes, meals, slots, chunks, work_realm, work_slot, capacity,
    NPCS: tl.constexpr, WORKS_THERE: tl.constexpr, RECIPES: tl.constexpr, MEALS: tl.constexpr,
    MAX_HEALTH: tl.constexpr, MAX_FOOD: tl.constexpr, SKILLED: tl.constexpr,
    ITEMS: tl.constexpr, EVENTS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """All work except the distribution of ore.

    Order-free: an agent's fields and note belong to one program, tiles are only read, and the ledger is
    changed by atomic additions of integers."""
    realm, slot, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    able = inside & (tl.load(alive + being, mask=inside, other=0) != 0)
    able = able & (tl.load(health + being, mask=able, other=0) > 0)
    choice = tl.load(work + realm * work_realm + slot * work_slot, mask=able, other=0).to(tl.int32)
    able = able & (((WORKS_THERE >> choice) & 1) != 0)
    if (MINE_BIT & WORKS_THERE) != 0:
        tl.store(notes + agent, tl.zeros([BLOCK], tl.int32), mask=inside & ~(able & (choice == MINE)))
    if MEALS > 0:  # noqa: SIM102 (the second condition is known on the device alone)
        if tl.max((able & (choice == EAT)).to(tl.int32), 0) > 0:
            eat(
                realm, agent, being, able & (choice == EAT), meals, health, food, level, inventory, events,
                ledger, MEALS, MAX_HEALTH, MAX_FOOD, SKILLED, ITEMS, EVENTS,
            )  # fmt: skip

    able = able & (choice < EAT)
    if tl.max(able.to(tl.int32), 0) > 0:
        here = tl.load(row + being, mask=able, other=0) * WIDTH + tl.load(col + being, mask=able, other=0)
        tile = realm * (HEIGHT * WIDTH) + here
        fishes, mines = able & (choice == FISH), able & (choice == MINE)
        near = fishes & (tl.load(shore + tile, mask=fishes, other=0) != 0)
        beside = rocks_beside(tile, mines, material, HEIGHT, WIDTH) > 0
        ready = near | (mines & beside) | (able & (choice > MINE))
        space = room(agent, ready, inventory, offer, weights, capacity, ITEMS)

        # From the last recipe to the first: gathering continues until an attempt succeeds.
        chosen, tried = tl.full([BLOCK], -1, tl.int32), slot < 0
        for turn in range(RECIPES):
            number = RECIPES - 1 - turn
            recipe = recipes + number * WIDE
            under = tl.load(recipe + CHOICE)
            can = ready & (choice == under) & (chosen < 0)
            can = could(recipe, agent, being, can, space, level, inventory, ITEMS)
            if under <= MINE:
                tried = tried | can
                if tl.max(can.to(tl.int32), 0) > 0:
                    skill = level + being * SKILL_COUNT + tl.load(recipe + SKILL)
                    above = tl.load(skill, mask=can, other=0).to(tl.int32) - tl.load(recipe + LEVEL)
                    can = can & succeeds(seed, tick, realm, slot, tl.load(recipe + TIER), above)
            chosen = tl.where(can, number, chosen)
        add(events + agent * EVENTS + tl.where(mines, MINING, FISHING), 1, tried)

        doing = chosen >= 0
        recipe = recipes + chosen * WIDE
        if (MINE_BIT & WORKS_THERE) != 0:
            struck = doing & mines
            rocks = rocks_beside(tile, struck, material, HEIGHT, WIDTH)
            nth = below(draw_word(seed, tick, ROCK, realm, slot), rocks)
            side = tl.zeros([BLOCK], tl.int32)
            for direction in tl.static_range(1, 5):
                rock = is_rock(tile, struck, material, direction, HEIGHT, WIDTH)
                side = tl.where(rock & (nth == 0), direction, side)
                nth -= rock.to(tl.int32)
            note = tl.where(struck, chosen * NOTE + side, 0)
            tl.store(notes + agent, note, mask=mines)
            doing = doing & (choice != MINE)

        made = doing
        takes = tl.load(recipe + TAKES, mask=doing, other=-1)
        used = tl.load(recipe + TAKES_AMOUNT, mask=doing, other=0)
        crafts = doing & (takes >= 0)
        cooks = doing & (choice == COOK)
        if tl.max(cooks.to(tl.int32), 0) > 0:
            skill = tl.load(recipe + SKILL, mask=cooks, other=0)
            above = tl.load(level + being * SKILL_COUNT + skill, mask=cooks, other=0).to(tl.int32)
            above -= tl.load(recipe + LEVEL, mask=cooks, other=0)
            tier = tl.load(recipe + TIER, mask=cooks, other=0)
            made = made & (succeeds(seed, tick, realm, slot, tier, above) | (choice != COOK))
        item = tl.load(recipe + MAKES, mask=made, other=-1)
        amount = tl.load(recipe + AMOUNT, mask=made, other=0)
        # A recipe that makes its own ingredient writes a count only once.
        same = made & (item == takes)
        add(inventory + agent * ITEMS + takes, tl.where(same, amount, 0) - used, crafts)
        add(inventory + agent * ITEMS + item, amount, made & ~same)
        enter(ledger, realm, takes, tl.where(made, USED, BURNT_UP), used, crafts, ITEMS)
        enter(ledger, realm, item, MADE, amount, made, ITEMS)
        learn(recipe, agent, made, xp, SKILLED)
        event = tl.where(choice == FISH, FISHED, tl.where(choice == COOK, COOKED, SMITHED))
        event = tl.where(made, event, BURNT)
        add(events + agent * EVENTS + event, tl.where(choice == FISH, amount, 1), doing)


@triton.jit
def _share(
    seed, tick, thresholds, notes, row, col, occupant, material, regrow_at, inventory, xp, events, ledger,
    recipes, slots, chunks,
    NPCS: tl.constexpr, SKILLED: tl.constexpr, ITEMS: tl.constexpr, EVENTS: tl.constexpr,
    ENTRIES: tl.constexpr, STEPS: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """For each rock, one of the agents that succeeded at it gets the ore and depletes the rock.

    Order-free: notes and occupants are only read here. A rock's one winner alone writes its tile, and fields
    of its own; the ledger is changed by atomic additions of integers."""
    realm, _, agent, being, inside = my_agents(slots, chunks, NPCS, BLOCK)
    note = tl.load(notes + agent, mask=inside, other=0)
    struck = note > 0
    if tl.max(struck.to(tl.int32), 0) > 0:
        side = note % NOTE
        rock_row = tl.load(row + being, mask=struck, other=0) + down(side)
        rock_col = tl.load(col + being, mask=struck, other=0) + right(side)
        won = wins(seed, tick, MINERS, realm, rock_row, rock_col, side, notes, occupant, slots, HEIGHT, WIDTH)

        recipe = recipes + (note // NOTE) * WIDE
        item = tl.load(recipe + MAKES, mask=won, other=0)
        amount = tl.load(recipe + AMOUNT, mask=won, other=0)
        add(inventory + agent * ITEMS + item, amount, won)
        add(events + agent * EVENTS + MINED, amount, won)
        enter(ledger, realm, item, MADE, amount, won, ITEMS)
        learn(recipe, agent, won, xp, SKILLED)
        rock = rock_row * WIDTH + rock_col
        tile = realm * (HEIGHT * WIDTH) + rock
        tl.store(material + tile, tl.full([BLOCK], STONE, tl.uint8), mask=won)
        if ENTRIES > 0:
            due = return_tick(seed, tick, thresholds, realm, rock, won, ENTRIES, STEPS)
            tl.store(regrow_at + tile, due, mask=won)


@cache
def book(content: Content, device: torch.device) -> tuple[Tensor, Tensor, int, int]:
    """(recipes: [max(1, recipes), 10] int32, of all works in turn, with the columns ``LEVEL`` and the others;
    meals: [max(1, meals), 3] int32, by rising healing; number of recipes; number of meals)."""
    known = tables(content)
    recipes = tuple(
        (*(getattr(row, name) for name in COLUMNS), choice, tier)
        for choice, rows in enumerate(known.recipes)
        for tier, row in enumerate(rows)
    )
    return (
        tensor(recipes or ((0,) * (len(COLUMNS) + 2),), device, torch.int32),
        tensor(known.meals or ((0, 0, 0),), device, torch.int32),
        len(recipes),
        len(known.meals),
    )


def works_there(works: tuple[str, ...]) -> int:
    """The config's works, one bit each."""
    return sum(1 << WORKS.index(name) for name in set(works))


def work(world: World, work: Tensor) -> None:
    """See ``nmmo_gpu.world.work.work``."""
    cfg = world.config
    items = len(cfg.content.items)
    if items == 0:
        return  # nothing can be made or eaten
    recipes, meals, recipe_count, meal_count = book(cfg.content, world.device)
    weights = tensor(cfg.tables.weight, world.device, torch.int32)
    notes = world.workspace("ore struck", (world.realms, cfg.slots), torch.int32)
    shared: dict[str, Any] = {
        "NPCS": cfg.npc_slots, "SKILLED": cfg.skills, "ITEMS": items, "EVENTS": world.events.shape[2],
        **map_size(world),
    }  # fmt: skip
    cut = over_slots(world.realms, cfg.slots, SLOTS_PER_PROGRAM)
    launch(
        _work, cut.programs, world.seed, world.tick, work, world.alive, world.row, world.col, world.health,
        world.food, world.material, world.shore, world.offer, world.inventory, world.level, world.xp,
        world.events, world.ledger, notes, weights, recipes, meals, cut.slots, cut.chunks, *work.stride(),
        cfg.capacity, WORKS_THERE=works_there(cfg.works), RECIPES=recipe_count, MEALS=meal_count,
        MAX_HEALTH=cfg.max_health, MAX_FOOD=cfg.max_food, BLOCK=cut.block, warps=cut.warps, **shared,
    )  # fmt: skip
    if "mine" not in cfg.works:
        return
    thresholds, entries, steps = table(world, cfg.ore_regrowth)
    cut = over_slots(world.realms, cfg.slots)
    launch(
        _share, cut.programs, world.seed, world.tick, thresholds, notes, world.row, world.col, world.occupant,
        world.material, world.regrow_at, world.inventory, world.xp, world.events, world.ledger, recipes,
        cut.slots, cut.chunks, ENTRIES=entries, STEPS=steps, BLOCK=cut.block, warps=cut.warps, **shared,
    )  # fmt: skip
