"""Small worlds whose agents' items and levels are set by name, for all agents unless a slot is given."""

from __future__ import annotations

import dataclasses
from functools import cache

import torch
from support.helpers import ODD, draw_world, litter, random_world
from torch import Tensor

from nmmo_gpu.config import preset
from nmmo_gpu.content import SKILLS, STANDARD, WORKS, Content, Item, Recipe
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.state import World


def draw_workers(picture: str, realms: int = 1, **settings: object) -> World:
    """``draw_world`` of preset ``full`` without NPCs: all agents have the levels of newborns and no items."""
    one = draw_world(picture, "full", **{"npcs": False, **settings})
    fields = {name: field for name, field in one.tensors() if name not in ("seed", "tick")}
    many = {name: field.repeat(realms, *[1] * (field.dim() - 1)) for name, field in fields.items()}
    return World(one.config, seed=one.seed, tick=one.tick, **many)


def set_level(world: World, slot: int | slice = slice(None), **levels: int) -> World:
    """Sets levels of agents by the names of the skills."""
    for skill, level in levels.items():
        world.agents(world.level)[:, slot, SKILLS.index(skill)] = level
    return world


def item(world: World, name: str) -> int:
    """Returns the item's index."""
    return world.config.tables.items.index(name)


def give(world: World, slot: int | slice = slice(None), **goods: int) -> World:
    """Sets item counts of agents; item names have underscores for spaces."""
    for name, count in goods.items():
        world.inventory[:, slot, item(world, name.replace("_", " "))] = count
    return world


def held(world: World, slot: int = 0, realm: int = 0) -> dict[str, int]:
    """Returns an agent's nonzero item counts by name."""
    counts = world.inventory[realm, slot].tolist()
    return {name.replace(" ", "_"): n for name, n in zip(world.config.tables.items, counts, strict=True) if n}


def gained(world: World, slot: int = 0, realm: int = 0) -> dict[str, int]:
    """Returns an agent's nonzero experience by skill."""
    return {skill: n for skill, n in zip(SKILLS, world.xp[realm, slot].tolist(), strict=True) if n}


def happened(world: World, slot: int = 0, realm: int = 0) -> dict[str, int]:
    """Returns an agent's nonzero event counts by name."""
    counts = world.events[realm, slot].tolist()
    return {event.name.lower(): counts[event] for event in Event if counts[event]}


def booked(world: World, realm: int = 0) -> dict[tuple[str, str], int]:
    """Returns the nonzero ledger entries of items: (flow, item) -> count."""
    names = world.config.tables.items
    return {
        (Flow(flow).name.lower(), names[thing].replace(" ", "_")): int(world.ledger[realm, thing, flow])
        for thing, flow in world.ledger[realm, :-1].nonzero().tolist()
    }


def all_work(world: World, name: str | dict[int, str]) -> Tensor:
    """Returns [R, A] int64 works: the same for all agents, or by slot with no work for the others."""
    works = torch.zeros(world.realms, world.config.slots, dtype=torch.int64)
    if isinstance(name, str):
        works[:] = WORKS.index(name)
    else:
        for slot, work in name.items():
            works[:, slot] = WORKS.index(work)
    return works


def with_more(content: Content, **rows: tuple[object, ...]) -> Content:
    """Returns the content with rows appended to the named fields."""
    return dataclasses.replace(
        content, **{name: getattr(content, name) + more for name, more in rows.items()}
    )


MORE = Content(
    items=(*STANDARD.items, Item("pearl"), Item("bread", feeds=20), Item("net", weight=0)),
    recipes=(
        *STANDARD.recipes,
        Recipe("fish", "fishing", 3, 55, "pearl", amount=3),
        Recipe("mine", "smithing", 2, 5, "net", amount=9),
        Recipe("cook", "cooking", 2, 5, "bread", takes="pearl", takes_amount=2),
        Recipe("armor", "smithing", 2, 9, "pearl", amount=2, takes="pearl", takes_amount=1),
    ),
    npcs=STANDARD.npcs,
    prices=STANDARD.prices,
)
"""Recipes for fishing, mining, cooking and smithing beyond the standard content, one of which takes and makes
the same item."""


def busy_world(realms: int, seed: int, **changes: object) -> World:
    """Returns a random world of preset ``full`` with nine rows of 23 tiles, half of them occupied, so that
    many agents mine the same rock. Some agents were killed; the slots of dead agents hold garbage."""
    config = preset("full", **{**ODD, "border": 12, "slots": 105, "populations": 7, **changes})
    return litter(random_world(config, realms, seed, odds="~..%%#f,", fill=0.9, wounded=True), seed)


def random_works(world: World, seed: int) -> Tensor:
    """Returns [R, A] int64 random works for all slots, including dead and killed agents, mostly mining."""
    random = torch.Generator().manual_seed(seed)
    shape = (world.realms, world.config.slots)
    work = torch.randint(len(WORKS), shape, generator=random)
    return torch.where(torch.rand(shape, generator=random) < 0.4, WORKS.index("mine"), work)


WORK_SETTINGS = {
    "full": (2, None, {}),
    "in blocks of 32": (2, 32, {"npcs": False}),
    "three realms of seven": (3, None, {**ODD, "slots": 7}),
    "no skills": (1, None, {"skills": False, "max_health": 30, "ore_regrowth": 0.0}),
    "more content": (1, 64, {"content": MORE, "ore_regrowth": 1.0}),
    "a few works": (1, None, {"works": ("eat", "mine", "sword"), "capacity": 9}),
    "no mining": (1, None, {"works": ("fish", "armor", "cook")}),
    "no works": (1, None, {"works": ()}),
    "nothing to make": (
        1, None, {"content": Content(items=STANDARD.items[:4], prices=(1,)), "npcs": False},
    ),
}  # fmt: skip
"""Number of realms, slots per block of the kernels, changes to the config."""


@cache
def work_world(setting, seed):
    """Returns a world with garbage in the slots of dead agents, in which some agents were killed."""
    realms, _, changes = WORK_SETTINGS[setting]
    return busy_world(realms, seed, **changes)
