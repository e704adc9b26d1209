"""Small worlds of agents with goods and levels, by name; all agents alike unless a slot is named."""

from __future__ import annotations

import dataclasses

import torch
from support.helpers import ODD, draw_world, litter, random_world
from torch import Tensor

from nmmo_gpu.config import preset
from nmmo_gpu.content import SKILLS, STANDARD, WORKS, Content, Item, Recipe
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.state import World


def draw_workers(picture: str, realms: int = 1, **settings: object) -> World:
    """``draw_world`` of preset ``full`` without NPCs: everybody has the levels of birth and no items."""
    one = draw_world(picture, "full", **{"npcs": False, **settings})
    fields = {name: field for name, field in one.tensors() if name not in ("seed", "tick")}
    many = {name: field.repeat(realms, *[1] * (field.dim() - 1)) for name, field in fields.items()}
    return World(one.config, seed=one.seed, tick=one.tick, **many)


def set_level(world: World, slot: int | slice = slice(None), **levels: int) -> World:
    """Gives agents levels by the names of skills."""
    for skill, level in levels.items():
        world.agents(world.level)[:, slot, SKILLS.index(skill)] = level
    return world


def item(world: World, name: str) -> int:
    """The item's number."""
    return world.config.tables.items.index(name)


def give(world: World, slot: int | slice = slice(None), **goods: int) -> World:
    """Gives agents goods, named with underscores for blanks."""
    for name, count in goods.items():
        world.inventory[:, slot, item(world, name.replace("_", " "))] = count
    return world


def held(world: World, slot: int = 0, realm: int = 0) -> dict[str, int]:
    """What an agent has, by name."""
    counts = world.inventory[realm, slot].tolist()
    return {name.replace(" ", "_"): n for name, n in zip(world.config.tables.items, counts, strict=True) if n}


def gained(world: World, slot: int = 0, realm: int = 0) -> dict[str, int]:
    """Experience of an agent, by skill."""
    return {skill: n for skill, n in zip(SKILLS, world.xp[realm, slot].tolist(), strict=True) if n}


def happened(world: World, slot: int = 0, realm: int = 0) -> dict[str, int]:
    """Events of an agent, by name."""
    counts = world.events[realm, slot].tolist()
    return {event.name.lower(): counts[event] for event in Event if counts[event]}


def booked(world: World, realm: int = 0) -> dict[tuple[str, str], int]:
    """The ledger of items: (flow, item) -> how many."""
    names = world.config.tables.items
    return {
        (Flow(flow).name.lower(), names[thing].replace(" ", "_")): int(world.ledger[realm, thing, flow])
        for thing, flow in world.ledger[realm, :-1].nonzero().tolist()
    }


def all_work(world: World, name: str | dict[int, str]) -> Tensor:
    """[R, A] work for everybody, or by slot; the others do none."""
    works = torch.zeros(world.realms, world.config.slots, dtype=torch.int64)
    if isinstance(name, str):
        works[:] = WORKS.index(name)
    else:
        for slot, work in name.items():
            works[:, slot] = WORKS.index(work)
    return works


def with_more(content: Content, **rows: tuple[object, ...]) -> Content:
    """The content with rows added behind, by field."""
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
"""More to fish, mine, cook and smith than in the standard content, pearls from pearls too."""


def busy_world(realms: int, seed: int, **changes: object) -> World:
    """A random world of preset ``full``, of nine rows of 23 tiles, half of them taken, so that many mine the
    same rock; with garbage in the slots of the dead, and some killed."""
    config = preset("full", **{**ODD, "border": 12, "slots": 105, "populations": 7, **changes})
    return litter(random_world(config, realms, seed, odds="~..%%#f,", fill=0.9, wounded=True), seed)


def random_works(world: World, seed: int) -> Tensor:
    """[R, A] int64: choices for everybody, the dead and the killed included; more mining than all else."""
    random = torch.Generator().manual_seed(seed)
    shape = (world.realms, world.config.slots)
    work = torch.randint(len(WORKS), shape, generator=random)
    return torch.where(torch.rand(shape, generator=random) < 0.4, WORKS.index("mine"), work)
