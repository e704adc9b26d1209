"""Small worlds of agents with goods and levels, by name; all agents alike unless a slot is named."""

from __future__ import annotations

import dataclasses

import torch
from helpers import draw_world
from torch import Tensor

from nmmo_gpu.world.content import SKILLS, WORKS, Content
from nmmo_gpu.world.events import Event, Way
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
        world.players(world.level)[:, slot, SKILLS.index(skill)] = level
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
    """The books of items: (way, item) -> how many."""
    names = world.config.tables.items
    return {
        (Way(way).name.lower(), names[thing].replace(" ", "_")): int(world.books[realm, thing, way])
        for thing, way in world.books[realm, :-1].nonzero().tolist()
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
