"""Work in two kernels; twin of ``nmmo_gpu.world.work``.

The first does all independent work of the agents, and writes a note for each that succeeded at a rock; the
second decides which of several agents at a rock gets the ore. A note is the direction of the rock, 1 to 4 as
in moves, plus ``NOTE`` times the recipe."""

from __future__ import annotations

from collections import namedtuple
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu import content
from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import WORKS, Content, Material
from nmmo_gpu.content.tables import tables, tensor
from nmmo_gpu.kernels.contest import NOTE, wins
from nmmo_gpu.kernels.inventory import room
from nmmo_gpu.kernels.launch import INTERPRETED, WARP, fields_of, launch, over_slots
from nmmo_gpu.kernels.movement import down, right
from nmmo_gpu.kernels.random import below, draw_word
from nmmo_gpu.kernels.regrowth import return_tick, table
from nmmo_gpu.kernels.slots import my_agents, tile_of
from nmmo_gpu.world import work as rule
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_WorkFields = namedtuple(
    "_WorkFields",
    "seed tick alive row col health food material shore offer inventory level xp events ledger",
)
_WorkConfig = namedtuple(
    "_WorkConfig",
    "npc_slots work_bits items recipes meals events max_health max_food skills height width",
)
"""``events``: event counters per agent; ``work_bits`` and counts: see ``book_config``."""
_ShareFields = namedtuple(
    "_ShareFields",
    "seed tick row col occupant material regrow_at inventory xp events ledger",
)
_ShareConfig = namedtuple(
    "_ShareConfig", "npc_slots skills items events threshold_count threshold_steps height width"
)
Book = namedtuple("Book", "weight recipes meals")
"""Weights ([max(1, items)] int32), recipes ([max(1, recipes), 10] int32, of all works in turn, with the
columns ``LEVEL`` and the others), and meals ([max(1, meals), 3] int32, by rising healing)."""

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
MAX_TIERS = tl.constexpr(rule.MAX_TIERS)
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
"""Slots per program of ``_work``: a single warp skips work that none of its agents does, needs no barriers,
and may use more registers than ptxas grants to larger programs (with Triton 3.6 those spill)."""


@triton.jit
def is_rock(world, tile, here, DIRECTION: tl.constexpr, config: tl.constexpr):
    """Returns whether the neighbor of a tile (index into all planes) is an orerock. Living agents are never
    on the edge of the map."""
    DOWN: tl.constexpr = (DIRECTION == 2) - (DIRECTION == 4)
    step: tl.constexpr = (DIRECTION == 1) - (DIRECTION == 3) + config.width * DOWN
    return tl.load(world.material + tile + step, mask=here, other=0) == ORE_ROCK


@triton.jit
def rocks_beside(world, tile, here, config: tl.constexpr):
    """Returns [...] int32: the number of orerocks among the four neighbors."""
    count = tl.zeros(tile.shape, tl.int32)
    for direction in tl.static_range(1, 5):
        count += is_rock(world, tile, here, direction, config).to(tl.int32)
    return count


@triton.jit
def could(world, recipe, agent, being, here, space, ITEMS: tl.constexpr):
    """Returns whether level, ingredients and room suffice for a recipe (pointer to its row)."""
    # A recipe without ingredients takes 0 of the first item.
    skill, takes = tl.load(recipe + SKILL), tl.maximum(tl.load(recipe + TAKES), 0)
    able = here & (space >= tl.load(recipe + ROOM))
    has = tl.load(world.level + being * SKILL_COUNT + skill, mask=able, other=0).to(tl.int32)
    able = able & (has >= tl.load(recipe + LEVEL))
    held = tl.load(world.inventory + agent * ITEMS + takes, mask=able, other=0)
    return able & (held >= tl.load(recipe + TAKES_AMOUNT))


@triton.jit
def possible_works(world, tables, agent, being, tile, living, space, config: tl.constexpr):
    """Returns [...] int32: the works that would have an effect, one bit each; bit 0 is set; see
    ``nmmo_gpu.world.work.possible_works``.

    Args:
        tables: see ``Book``.
        agent: index into [R * A].
        being: index into [R * S].
        tile: index into [R * H * W].
        space: as returned by ``room``.
        config: see ``book_config``.
    """
    possible = tl.zeros(tile.shape, tl.int32)
    for row in range(config.recipes):
        recipe = tables.recipes + row * WIDE
        can = could(world, recipe, agent, being, living, space, config.items)
        possible |= can.to(tl.int32) << tl.load(recipe + CHOICE)
    for meal in range(config.meals):
        item = tl.load(tables.meals + meal * DISH)
        held = tl.load(world.inventory + agent * config.items + item, mask=living, other=0) > 0
        possible |= held.to(tl.int32) << EAT
    fishes = living & ((possible & FISH_BIT) != 0)
    mines = living & ((possible & MINE_BIT) != 0)
    dry = fishes & (tl.load(world.shore + tile, mask=fishes, other=0) == 0)
    bare = mines & (rocks_beside(world, tile, mines, config) == 0)
    possible = possible & ~(dry.to(tl.int32) * FISH_BIT) & ~(bare.to(tl.int32) * MINE_BIT)
    return (possible & config.work_bits) | 1


@triton.jit
def add(pointer, amount, here):
    """Adds to values that no other program writes."""
    before = tl.load(pointer, mask=here, other=0)
    tl.store(pointer, before + amount, mask=here)


@triton.jit
def succeeds(world, realm, slot, tier, above):
    """Returns whether attempts succeed; ``above`` is the number of levels above the required one."""
    word = draw_word(world, LUCK, realm, slot * MAX_TIERS + tier)
    return below(word, tl.full(slot.shape, CERTAIN, tl.int32)) < tl.minimum(above + EVEN, CERTAIN)


@triton.jit
def learn(world, recipe, agent, here, SKILLED: tl.constexpr):
    """Adds experience for the recipes (pointers to rows) that succeeded."""
    if SKILLED:
        skill = tl.load(recipe + SKILL, mask=here, other=0)
        add(world.xp + agent * SKILL_COUNT + skill, tl.load(recipe + EXPERIENCE, mask=here, other=0), here)


@triton.jit
def enter(world, realm, item, flow, amount, here, ITEMS: tl.constexpr):
    """Adds goods to the ledger of a realm, by atomic additions of integers."""
    account = world.ledger + (realm * (ITEMS + 1) + item) * FLOWS + flow
    tl.atomic_add(account, amount.to(tl.int64), mask=here, sem="relaxed")


@triton.jit
def eat(world, tables, realm, agent, being, eats, config: tl.constexpr):
    body = tl.load(world.health + being, mask=eats, other=0).to(tl.int32)
    max_health = tl.full(body.shape, config.max_health, tl.int32)
    if config.skills:
        max_health = tl.load(world.level + being * SKILL_COUNT + CONSTITUTION, mask=eats, other=0).to(
            tl.int32
        )
    chosen = tl.full(body.shape, -1, tl.int32)
    for meal in range(config.meals):
        # Meals in order of rising healing: the first one held, then each larger one that would not be wasted.
        dish = tables.meals + meal * DISH
        held = tl.load(world.inventory + agent * config.items + tl.load(dish), mask=eats, other=0) > 0
        good = held & ((chosen < 0) | (tl.load(dish + HEALS) <= max_health - body))
        chosen = tl.where(good, meal, chosen)
    eats = eats & (chosen >= 0)
    dish = tables.meals + chosen * DISH
    item = tl.load(dish, mask=eats, other=0)
    add(world.inventory + agent * config.items + item, -1, eats)
    enter(world, realm, item, EATEN_UP, eats, eats, config.items)
    add(world.events + agent * config.events + EATEN, 1, eats)
    body = tl.minimum(body + tl.load(dish + HEALS, mask=eats, other=0), max_health)
    full = tl.load(world.food + being, mask=eats, other=0).to(tl.int32)
    full = tl.minimum(full + tl.load(dish + FEEDS, mask=eats, other=0), config.max_food)
    tl.store(world.health + being, body.to(tl.int16), mask=eats)
    tl.store(world.food + being, full.to(tl.int16), mask=eats)


@triton.jit
def _work(
    world, tables, work, notes, slots, chunks, work_realm, work_slot, capacity, config: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Does all work except the distribution of ore.

    Order-free: an agent's fields and note belong to one program, tiles are only read, and the ledger is
    changed by atomic additions of integers."""
    realm, slot, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    able = inside & (tl.load(world.alive + being, mask=inside, other=0) != 0)
    able = able & (tl.load(world.health + being, mask=able, other=0) > 0)
    choice = tl.load(work + realm * work_realm + slot * work_slot, mask=able, other=0).to(tl.int32)
    able = able & (((config.work_bits >> choice) & 1) != 0)
    if (MINE_BIT & config.work_bits) != 0:
        tl.store(notes + agent, tl.zeros([BLOCK], tl.int32), mask=inside & ~(able & (choice == MINE)))
    if config.meals > 0:  # noqa: SIM102 (the second condition is known only on the device)
        if tl.max((able & (choice == EAT)).to(tl.int32), 0) > 0:
            eat(world, tables, realm, agent, being, able & (choice == EAT), config)

    able = able & (choice < EAT)
    if tl.max(able.to(tl.int32), 0) > 0:
        tile = realm * (config.height * config.width) + tile_of(world, being, able, config)
        fishes, mines = able & (choice == FISH), able & (choice == MINE)
        near = fishes & (tl.load(world.shore + tile, mask=fishes, other=0) != 0)
        beside = rocks_beside(world, tile, mines, config) > 0
        ready = near | (mines & beside) | (able & (choice > MINE))
        space = room(world, agent, ready, tables.weight, capacity, config.items)

        # From the last recipe to the first: gathering continues until an attempt succeeds.
        chosen, tried = tl.full([BLOCK], -1, tl.int32), slot < 0
        for turn in range(config.recipes):
            number = config.recipes - 1 - turn
            recipe = tables.recipes + number * WIDE
            under = tl.load(recipe + CHOICE)
            can = ready & (choice == under) & (chosen < 0)
            can = could(world, recipe, agent, being, can, space, config.items)
            if under <= MINE:
                tried = tried | can
                if tl.max(can.to(tl.int32), 0) > 0:
                    skill = world.level + being * SKILL_COUNT + tl.load(recipe + SKILL)
                    above = tl.load(skill, mask=can, other=0).to(tl.int32) - tl.load(recipe + LEVEL)
                    can = can & succeeds(world, realm, slot, tl.load(recipe + TIER), above)
            chosen = tl.where(can, number, chosen)
        add(world.events + agent * config.events + tl.where(mines, MINING, FISHING), 1, tried)

        doing = chosen >= 0
        recipe = tables.recipes + chosen * WIDE
        if (MINE_BIT & config.work_bits) != 0:
            struck = doing & mines
            rocks = rocks_beside(world, tile, struck, config)
            nth = below(draw_word(world, ROCK, realm, slot), rocks)
            side = tl.zeros([BLOCK], tl.int32)
            for direction in tl.static_range(1, 5):
                rock = is_rock(world, tile, struck, direction, config)
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
            above = tl.load(world.level + being * SKILL_COUNT + skill, mask=cooks, other=0).to(tl.int32)
            above -= tl.load(recipe + LEVEL, mask=cooks, other=0)
            tier = tl.load(recipe + TIER, mask=cooks, other=0)
            made = made & (succeeds(world, realm, slot, tier, above) | (choice != COOK))
        item = tl.load(recipe + MAKES, mask=made, other=-1)
        amount = tl.load(recipe + AMOUNT, mask=made, other=0)
        # A recipe that makes its own ingredient writes a count only once.
        same = made & (item == takes)
        add(world.inventory + agent * config.items + takes, tl.where(same, amount, 0) - used, crafts)
        add(world.inventory + agent * config.items + item, amount, made & ~same)
        enter(world, realm, takes, tl.where(made, USED, BURNT_UP), used, crafts, config.items)
        enter(world, realm, item, MADE, amount, made, config.items)
        learn(world, recipe, agent, made, config.skills)
        event = tl.where(choice == FISH, FISHED, tl.where(choice == COOK, COOKED, SMITHED))
        event = tl.where(made, event, BURNT)
        add(world.events + agent * config.events + event, tl.where(choice == FISH, amount, 1), doing)


@triton.jit
def _share(world, thresholds, notes, recipes, slots, chunks, config: tl.constexpr, BLOCK: tl.constexpr):
    """Gives each rock's ore to one of the agents that succeeded at it, and depletes the rock.

    Order-free: notes and occupants are only read here. Only the one winner of a rock writes its tile and the
    winner's fields; the ledger is changed by atomic additions of integers."""
    realm, _, agent, being, inside = my_agents(slots, chunks, config.npc_slots, BLOCK)
    note = tl.load(notes + agent, mask=inside, other=0)
    struck = note > 0
    if tl.max(struck.to(tl.int32), 0) > 0:
        side = note % NOTE
        rock_row = tl.load(world.row + being, mask=struck, other=0) + down(side)
        rock_col = tl.load(world.col + being, mask=struck, other=0) + right(side)
        won = wins(world, MINERS, realm, rock_row, rock_col, side, notes, slots, config)

        recipe = recipes + (note // NOTE) * WIDE
        item = tl.load(recipe + MAKES, mask=won, other=0)
        amount = tl.load(recipe + AMOUNT, mask=won, other=0)
        add(world.inventory + agent * config.items + item, amount, won)
        add(world.events + agent * config.events + MINED, amount, won)
        enter(world, realm, item, MADE, amount, won, config.items)
        learn(world, recipe, agent, won, config.skills)
        rock = rock_row * config.width + rock_col
        tile = realm * (config.height * config.width) + rock
        tl.store(world.material + tile, tl.full([BLOCK], STONE, tl.uint8), mask=won)
        if config.threshold_count > 0:
            due = return_tick(
                world, thresholds, realm, rock, won, config.threshold_count, config.threshold_steps
            )
            tl.store(world.regrow_at + tile, due, mask=won)


@cache
def book(content: Content, device: torch.device) -> Book:
    """Returns the tables of ``content`` on a device."""
    known = tables(content)
    recipes = tuple(
        (*(getattr(row, name) for name in COLUMNS), choice, tier)
        for choice, rows in enumerate(known.recipes)
        for tier, row in enumerate(rows)
    )
    return Book(
        tensor(known.weight or (0,), device, torch.int32),
        tensor(recipes or ((0,) * (len(COLUMNS) + 2),), device, torch.int32),
        tensor(known.meals or ((0, 0, 0),), device, torch.int32),
    )


def book_config(config: WorldConfig) -> dict[str, int]:
    """Returns the settings that ``possible_works`` needs: the works, one bit each, and the numbers of items,
    recipes and meals."""
    known = config.tables
    return {
        "work_bits": sum(1 << WORKS.index(name) for name in set(config.works)),
        "items": len(known.items),
        "recipes": sum(map(len, known.recipes)),
        "meals": len(known.meals),
    }


def work(world: World, work: Tensor) -> None:
    """See ``nmmo_gpu.world.work.work``."""
    cfg = world.config
    counts = book_config(cfg)
    if counts["items"] == 0:
        return  # nothing can be made or eaten
    tables = book(cfg.content, world.device)
    notes = world.workspace("ore struck", (world.realms, cfg.slots), torch.int32)
    cut = over_slots(world.realms, cfg.slots, SLOTS_PER_PROGRAM)
    events = world.events.shape[2]
    launch(
        _work, cut.programs, fields_of(_WorkFields, world), tables, work, notes, cut.slots, cut.chunks,
        *work.stride(), cfg.capacity, config=fields_of(_WorkConfig, cfg, events=events, **counts),
        BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
    if "mine" not in cfg.works:
        return
    thresholds, entries, steps = table(world, cfg.ore_regrowth)
    config = fields_of(
        _ShareConfig, cfg, items=counts["items"], events=events, threshold_count=entries,
        threshold_steps=steps,
    )  # fmt: skip
    cut = over_slots(world.realms, cfg.slots)
    launch(
        _share, cut.programs, fields_of(_ShareFields, world), thresholds, notes, tables.recipes, cut.slots,
        cut.chunks, config=config, BLOCK=cut.block, warps=cut.warps,
    )  # fmt: skip
