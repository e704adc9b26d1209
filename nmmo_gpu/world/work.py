"""Work: fishing, mining, cooking, smithing, eating; one choice of ``WORKS`` per tick."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.content import WORKS, Material
from nmmo_gpu.content.tables import RecipeRow, tensor
from nmmo_gpu.world.contest import contest
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.inventory import room
from nmmo_gpu.world.movement import steps
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.regrowth import schedule
from nmmo_gpu.world.state import World
from nmmo_gpu.world.upkeep import max_health

EVEN, CERTAIN = 10, 20
"""Chances are in twentieths: EVEN at the level that a recipe needs, and one more per level above it."""
MAX_TIERS = 64
"""Number of words that ``Stream.WORK`` has for an agent."""


class _Workers(NamedTuple):
    """Agents that do the same work, [k] each."""

    realm: Tensor
    """int64."""
    slot: Tensor
    """int64."""
    room: Tensor
    """int32: free inventory units."""

    def only(self, which: Tensor) -> _Workers:
        """The workers selected by a mask or an index."""
        return _Workers(self.realm[which], self.slot[which], self.room[which])


def work(world: World, work: Tensor) -> None:
    """All agents do their chosen work, at their position at the start of the tick; agents killed in combat do
    nothing.

    A choice that is not possible (see ``possible_works``) has no effect.

    Args:
        work: [R, A] of any int dtype: index into ``WORKS``.
    """
    cfg = world.config
    able = world.agents(world.alive) & (world.agents(world.health) > 0)
    space = room(world)
    recipes = cfg.tables.recipes
    for choice, name in _chosen(cfg.works):
        realm, slot = (able & (work == choice)).nonzero().unbind(1)
        crew = _Workers(realm, slot, space[realm, slot])
        if name == "fish":
            _fish(world, crew, recipes[choice])
        elif name == "mine":
            _mine(world, crew, recipes[choice])
        elif name == "eat":
            _eat(world, crew)
        else:
            _craft(world, crew, recipes[choice], can_fail=name == "cook")


def possible_works(world: World) -> Tensor:
    """[R, A, works] bool: choices of ``WORKS`` that would have an effect now. "none" is always possible;
    works that the config does not enable are never possible. Undefined for dead agents."""
    cfg = world.config
    shape = (world.realms, cfg.slots, len(WORKS))
    possible = torch.zeros(shape, dtype=torch.bool, device=world.device)
    possible[..., 0] = True
    realm, slot = world.agents(world.alive).nonzero().unbind(1)
    crew = _Workers(realm, slot, room(world)[realm, slot])
    for choice, name in _chosen(cfg.works):
        if name == "eat":
            can = _meals_held(world, crew).any(1)
        else:
            can = torch.zeros(realm.shape, dtype=torch.bool, device=world.device)
            for row in cfg.tables.recipes[choice]:
                can |= _could(world, crew, row)
            if name == "fish":
                can &= _shore(world, crew)
            elif name == "mine":
                can &= _rocks(world, crew).any(1)
        possible[realm, slot, choice] = can
    return possible


def _chosen(works: tuple[str, ...]) -> list[tuple[int, str]]:
    """(index in ``WORKS``, name) of the enabled works."""
    return [(choice, name) for choice, name in enumerate(WORKS) if name in works]


def _fish(world: World, crew: _Workers, rows: tuple[RecipeRow, ...]) -> None:
    crew = crew.only(_shore(world, crew))
    tried, got = _attempts(world, crew, rows)
    _count(world, crew.only(tried), Event.FISHING)
    caught = (got >= 0).nonzero().squeeze(1)
    _make(world, crew.only(caught), rows, got[caught], Event.FISHED)


def _mine(world: World, crew: _Workers, rows: tuple[RecipeRow, ...]) -> None:
    rocks = _rocks(world, crew)
    near = rocks.any(1).nonzero().squeeze(1)
    crew, rocks = crew.only(near), rocks[near].long()
    tried, got = _attempts(world, crew, rows)
    _count(world, crew.only(tried), Event.MINING)

    struck = (got >= 0).nonzero().squeeze(1)
    crew, rocks, got = crew.only(struck), rocks[struck], got[struck]
    word = draw(world.seed, world.tick, Stream.ROCK, crew.realm, crew.slot)[0]
    nth = below(word, rocks.sum(1))
    # The first side at which more than nth rocks have been counted.
    side = 1 + (rocks.cumsum(1) > nth[:, None]).long().argmax(1)
    rock = _tile(world, crew) + steps(world)[side]

    # A rock's miners come from its four sides, so they are distinguished like competitors for a tile.
    won = contest(world, Stream.MINERS, crew.realm, rock, side).nonzero().squeeze(1)
    _make(world, crew.only(won), rows, got[won], Event.MINED)
    used_up = rock[won]
    world.material.view(-1)[used_up] = int(Material.STONE)
    schedule(world, used_up, world.config.ore_regrowth)


def _craft(world: World, crew: _Workers, rows: tuple[RecipeRow, ...], can_fail: bool) -> None:
    """Cooking and smithing: makes the last recipe that is possible."""
    if not rows:
        return
    chosen = torch.full_like(crew.slot, -1)
    for tier, row in enumerate(rows):
        chosen = torch.where(_could(world, crew, row), tier, chosen)
    doing = (chosen >= 0).nonzero().squeeze(1)
    crew, chosen = crew.only(doing), chosen[doing]
    takes, amount, skill, needed = (
        _column(world, rows, name)[chosen] for name in ("takes", "takes_amount", "skill", "level")
    )
    if can_fail:
        level = world.level[crew.realm, crew.slot, skill].long()
        made = _succeeds(world, crew, chosen, level - needed)
    else:
        made = torch.ones_like(chosen, dtype=torch.bool)
    world.inventory[crew.realm, crew.slot, takes] -= amount.int()
    flow = torch.where(made, int(Flow.USED), int(Flow.BURNT))
    world.ledger.index_put_((crew.realm, takes, flow), amount, accumulate=True)
    _count(world, crew.only(~made), Event.BURNT)
    crew = crew.only(made)
    _make(world, crew, rows, chosen[made])
    _count(world, crew, Event.COOKED if can_fail else Event.SMITHED)


def _eat(world: World, crew: _Workers) -> None:
    cfg = world.config
    meals = cfg.tables.meals
    if not meals:
        return
    held = _meals_held(world, crew)
    crew, held = crew.only(held.any(1)), held[held.any(1)]
    realm, slot = crew.realm, crew.slot
    item, heals, feeds = tensor(meals, world.device).unbind(1)
    maximum = max_health(world).expand_as(world.health)[realm, slot].long()
    health, food = world.health[realm, slot].long(), world.food[realm, slot].long()
    unwasted = held & (heals <= (maximum - health)[:, None])
    order = torch.arange(len(meals), device=world.device, dtype=torch.int64)
    best = torch.where(unwasted, order, -1).amax(1)
    smallest = torch.where(held, order, len(meals)).amin(1)
    meal = torch.where(best >= 0, best, smallest)
    world.health[realm, slot] = torch.minimum(health + heals[meal], maximum).short()
    world.food[realm, slot] = (food + feeds[meal]).clamp_(max=cfg.max_food).short()
    world.inventory[realm, slot, item[meal]] -= 1
    _book(world, realm, item[meal], Flow.EATEN, torch.ones_like(meal))
    _count(world, crew, Event.EATEN)


def _attempts(world: World, crew: _Workers, rows: tuple[RecipeRow, ...]) -> tuple[Tensor, Tensor]:
    """The result of attempting the tiers from the highest down, until one succeeds: whether there was any
    tier to attempt, and which succeeded (int64, -1 for none)."""
    tried = torch.zeros_like(crew.slot, dtype=torch.bool)
    got = torch.full_like(crew.slot, -1)
    for tier, row in reversed(list(enumerate(rows))):
        can = _could(world, crew, row)
        tried |= can
        above = world.level[crew.realm, crew.slot, row.skill].long() - row.level
        lucky = _succeeds(world, crew, torch.full_like(got, tier), above)
        got = torch.where(can & lucky & (got < 0), tier, got)
    return tried, got


def _succeeds(world: World, crew: _Workers, tier: Tensor, above: Tensor) -> Tensor:
    """[k] bool: whether an attempt succeeds, for levels ``above`` the required level."""
    index = MAX_TIERS * crew.slot + tier
    word = draw(world.seed, world.tick, Stream.WORK, crew.realm, index)[0]
    return below(word, CERTAIN) < (EVEN + above).clamp(max=CERTAIN)


def _could(world: World, crew: _Workers, row: RecipeRow) -> Tensor:
    """[k] bool: whether level, ingredients and room suffice for a recipe."""
    able = (world.level[crew.realm, crew.slot, row.skill] >= row.level) & (crew.room >= row.room)
    if row.takes >= 0:
        able &= world.inventory[crew.realm, crew.slot, row.takes] >= row.takes_amount
    return able


def _make(
    world: World, crew: _Workers, rows: tuple[RecipeRow, ...], tier: Tensor, event: Event | None = None
) -> None:
    """Adds the items made, and their experience; counts the items as an event."""
    if not rows:
        return
    names = ("makes", "amount", "skill", "experience")
    item, amount, skill, experience = (_column(world, rows, name)[tier] for name in names)
    world.inventory[crew.realm, crew.slot, item] += amount.int()
    _book(world, crew.realm, item, Flow.MADE, amount)
    if world.config.skills:
        world.xp[crew.realm, crew.slot, skill] += experience.int()
    if event is not None:
        world.events[crew.realm, crew.slot, event] += amount.int()


def _book(world: World, realm: Tensor, item: Tensor, flow: Flow, amount: Tensor) -> None:
    world.ledger.index_put_((realm, item, torch.full_like(item, int(flow))), amount, accumulate=True)


def _count(world: World, crew: _Workers, event: Event) -> None:
    world.events[crew.realm, crew.slot, event] += 1


def _tile(world: World, crew: _Workers) -> Tensor:
    """[k] int64: index of the agent's tile in a flattened [R, H, W] plane."""
    return world.tile().view(world.alive.shape)[crew.realm, crew.slot]


def _shore(world: World, crew: _Workers) -> Tensor:
    """[k] bool: whether the agent is next to water."""
    return world.shore.view(-1)[_tile(world, crew)]


def _rocks(world: World, crew: _Workers) -> Tensor:
    """[k, 4] bool: on which sides (east, south, west, north) there is an orerock that is not depleted."""
    adjacent = _tile(world, crew)[:, None] + steps(world)[1:]
    return world.material.view(-1)[adjacent] == int(Material.ORE_ROCK)


def _meals_held(world: World, crew: _Workers) -> Tensor:
    """[k, meals] bool."""
    items = tuple(item for item, _, _ in world.config.tables.meals)
    return world.inventory[crew.realm, crew.slot][:, tensor(items, world.device)] > 0


def _column(world: World, rows: tuple[RecipeRow, ...], name: str) -> Tensor:
    """[tiers] int64: one column of the recipes."""
    return tensor(tuple(getattr(row, name) for row in rows), world.device)
