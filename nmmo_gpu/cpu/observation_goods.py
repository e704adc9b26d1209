"""Observation of the full game, as compiled loops; twin of ``nmmo_gpu.world.observation_goods``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import CONSTITUTION, DEFENSE, SKILLS, WORKS
from nmmo_gpu.content.tables import combat_level
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.exchange import numbers, write_possible
from nmmo_gpu.cpu.words import load, store
from nmmo_gpu.cpu.work import book, possible_works, works_there
from nmmo_gpu.world import observation_goods as rule
from nmmo_gpu.world.observation_layout import STYLES, ObservationLayout
from nmmo_gpu.world.state import World

STYLE_COUNT, SKILL_COUNT, WORK_COUNT = len(STYLES), len(SKILLS), len(WORKS)
LARGEST_BYTE, LARGEST_SHORT = 127, rule.LARGEST_SHORT
strength = compiled(inline="always")(combat_level)


@compiled(inline="always")
def _copy(into, at, source, start, count):
    """Does ``into[at : at + count] = source[start : start + count]`` for byte arrays, a word at a time."""
    if count < 8:
        for byte in range(count):
            into[at + byte] = source[start + byte]
        return
    for word in range(count // 8):
        store(into, at + 8 * word, load(source, start + 8 * word))
    store(into, at + count - 8, load(source, start + count - 8))


@cache
def looks_loop(config: WorldConfig) -> Callable[..., None]:
    """Returns the loop that writes the additional public attributes (``ENTITY_ATTRIBUTES``) of each living
    slot as one word."""
    slots, entities = config.slots, config.entities
    immune_ticks, max_health, skills = config.immune_ticks, config.max_health, config.skills
    kinds = np.repeat(np.arange(len(config.npc_counts)), config.npc_counts)
    # For an NPC, only the level depends on the world.
    kind_and_health = np.array([1 + k | config.tables.npcs[k].health << 48 for k in kinds], np.uint64)

    @compiled
    def loop(alive, age, level, worn, token, entity_attributes, low, high):
        for e in range(low, high):
            if not alive[e]:
                continue
            own = level[SKILL_COUNT * e : SKILL_COUNT * (e + 1)]
            best = own[0]
            for style in range(1, STYLE_COUNT):
                best = max(best, own[style])
            known = strength(np.int64(own[DEFENSE]), np.int64(own[CONSTITUTION]), np.int64(best))
            word = np.uint64(min(known, LARGEST_BYTE)) << np.uint64(8)
            slot = e % entities
            if slot >= slots:
                entity_attributes[e] = word | kind_and_health[slot - slots]
                continue
            i = e // entities * slots + slot
            for gear in range(3):
                rank = np.uint64(min(worn[3 * i + gear], LARGEST_BYTE))
                word |= rank << np.uint64(16 + 8 * gear)
            limit = np.uint64(own[CONSTITUTION]) if skills else np.uint64(max_health)
            word |= np.uint64(token[i]) << np.uint64(40) | limit << np.uint64(48)
            entity_attributes[e] = word | np.uint64(age[e] < immune_ticks) << np.uint64(56)

    made: Callable[..., None] = loop
    return made


@cache
def goods_loop(config: WorldConfig) -> Callable[..., None]:
    """Returns the loop that writes the other fields. The config's sizes are compile-time constants."""
    at = {name: field.offset for name, field in ObservationLayout(config).fields.items()}
    levels_at, goods_at, inventory_at, offer_at = (
        at[name] // 2 for name in ("levels", "goods", "inventory", "offer")
    )
    market_at = at["market"]
    work_at, trade_at, price_at = (at.get(f"{name}_mask", -1) for name in ("work", "trade", "price"))
    token_at, tokens = at.get("token_mask", 0), config.tokens
    slots, npcs, capacity = config.slots, config.npc_slots, config.capacity
    items = len(config.content.items)
    works = works_there(config.works)
    recipes, _, meals, weights = book(config.content)
    lots, _, prices = numbers(config.tables)

    @compiled
    def loop(
        alive, row, col, quotes, level, inventory, gold, offer, offer_price, offer_left, shore, material,
        queue, records, shorts, low, high,
    ):  # fmt: skip
        for turn in range(low, high):
            i = queue[turn] if len(queue) else turn
            r, a = i // slots, i % slots
            if not alive[i + r * npcs]:
                continue
            record, short = records[i], shorts[i]
            for skill in range(SKILL_COUNT):
                short[levels_at + skill] = level[r, a, skill]
            bag = inventory[r, a]
            space = capacity
            for item in range(items):
                short[inventory_at + item] = min(bag[item], LARGEST_SHORT)
                space -= bag[item] * weights[item]
            code = np.int64(offer[r, a])
            if code > 0:
                side, about = (2, code - 1 - items) if code > items else (1, code - 1)
                space -= weights[about]
                short[offer_at] = side
                short[offer_at + 1] = 1 + about
                short[offer_at + 2] = 1 + offer_price[r, a]
                short[offer_at + 3] = offer_left[r, a]
            else:
                for part in range(4):
                    short[offer_at + part] = 0
            short[goods_at] = min(gold[r, a], LARGEST_SHORT)
            short[goods_at + 1] = space
            _copy(record, market_at, quotes, 3 * items * r, 3 * items)
            if work_at >= 0:
                y, x = row[i + r * npcs], col[i + r * npcs]
                can = possible_works(
                    works, recipes, meals, inventory, level, space, shore, material, r, a, y, x
                )
                for choice in range(WORK_COUNT):
                    record[work_at + choice] = can >> choice & 1
            if trade_at >= 0:
                write_possible(
                    record, trade_at, price_at, bag, gold[r, a], code, offer_price[r, a], offer_left[r, a],
                    space, lots, weights, prices,
                )  # fmt: skip
            for token in range(tokens):
                record[token_at + token] = 1

    made: Callable[..., None] = loop
    return made


def goods_arrays(world: World) -> tuple[Any, ...]:
    """Returns the arguments of ``goods_loop``'s loop, except the queue, the records and the range."""
    shaped = (
        world.level, world.inventory, world.gold, world.offer, world.offer_price, world.offer_left,
        world.shore, world.material,
    )  # fmt: skip
    flat = (t.view(-1).numpy() for t in (world.alive, world.row, world.col, world.quotes))
    return (*flat, *(t.numpy() for t in shaped))


def looks_arrays(world: World) -> tuple[Any, ...]:
    """Returns the arrays that the loop of ``looks_loop`` reads."""
    fields = (world.alive, world.age, world.level, world.worn, world.token)
    return tuple(t.view(-1).numpy() for t in fields)
