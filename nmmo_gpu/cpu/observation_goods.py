"""Observation of the full game, as compiled loops; twin of ``nmmo_gpu.world.observation_goods``."""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import CONSTITUTION, DEFENSE, SKILLS, WORKS
from nmmo_gpu.content.tables import combat_level
from nmmo_gpu.cpu.compile import compiled, fields_of
from nmmo_gpu.cpu.exchange import numbers, write_possible
from nmmo_gpu.cpu.threads import parallel
from nmmo_gpu.cpu.words import load, store
from nmmo_gpu.cpu.work import book, possible_works, works_there
from nmmo_gpu.world import observation_goods as rule
from nmmo_gpu.world.observation_layout import STYLES, ObservationLayout
from nmmo_gpu.world.state import World

_FlatFields = namedtuple("_FlatFields", "alive row col quotes")
_Fields = namedtuple("_Fields", "level inventory gold offer offer_price offer_left shore material")
_Tables = namedtuple("_Tables", "recipes meals weights lots prices")
"""Tables of a content, see ``cpu.work.book`` and ``cpu.exchange.numbers``."""
_Sizes = namedtuple("_Sizes", "slots npc_slots capacity tokens works")
"""``works``: one bit per work."""
_Offsets = namedtuple(
    "_Offsets", "levels goods inventory offer market work_mask trade_mask price_mask token_mask"
)
"""First int16 of the first four fields in a record, first byte of the others; -1 for missing fields."""

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


@compiled(allocates=False)
def _write_looks(alive, age, level, worn, token, kind_and_health, numbers, entity_attributes, low, high):
    """Writes the additional public attributes (``ENTITY_ATTRIBUTES``) of each living slot as one word.

    Args:
        kind_and_health: [N] uint64, the attributes of NPC slots that do not depend on the world.
        numbers: slots, immune ticks, and the maximum health or 0 if it is the level in constitution.
    """
    slots, immune_ticks, max_health = numbers
    entities = slots + len(kind_and_health)
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
        limit = np.uint64(max_health if max_health else own[CONSTITUTION])
        word |= np.uint64(token[i]) << np.uint64(40) | limit << np.uint64(48)
        entity_attributes[e] = word | np.uint64(age[e] < immune_ticks) << np.uint64(56)


@cache
def _kind_and_health(config: WorldConfig) -> Any:
    kinds = np.repeat(np.arange(len(config.npc_counts)), config.npc_counts)
    return np.array([1 + k | config.tables.npcs[k].health << 48 for k in kinds], np.uint64)


def write_looks(world: World, entity_attributes: Any, pieces: list[tuple[int, int]]) -> None:
    """Fills ``entity_attributes`` ([R * (S + N)] uint64): ``ENTITY_ATTRIBUTES``, a byte each."""
    cfg = world.config
    fields = (world.alive, world.age, world.level, world.worn, world.token)
    arrays = (t.view(-1).numpy() for t in fields)
    numbers = cfg.slots, cfg.immune_ticks, 0 if cfg.skills else cfg.max_health
    fixed = (*arrays, _kind_and_health(cfg), numbers, entity_attributes)
    parallel(_write_looks, [(*fixed, *piece) for piece in pieces])


@compiled(inline="always")
def _write_offer(short, at, code, price, ticks_left, items):
    """Writes the agent's open offer, from the ``at``-th int16 on; ``code``: see ``World.offer``."""
    if code > 0:
        short[at] = 2 if code > items else 1
        short[at + 1] = code - items if code > items else code
        short[at + 2] = 1 + price
        short[at + 3] = ticks_left
    else:
        for part in range(4):
            short[at + part] = 0


@compiled(allocates=False)
def write_goods(arguments, records, queue, low, high):
    """Writes the fields of the full game into records ``low`` to ``high``, in the order of ``queue``
    unless it is empty.

    Args:
        arguments: as returned by ``goods_arguments``.
        records: the records as bytes and as int16.
    """
    flat, world, tables, sizes, at = arguments
    level, inventory, weights = world.level, world.inventory, tables.weights
    items = len(weights)
    for turn in range(low, high):
        i = queue[turn] if len(queue) else turn
        r, a = i // sizes.slots, i % sizes.slots
        if not flat.alive[i + r * sizes.npc_slots]:
            continue
        record, short = records[0][i], records[1][i]
        for skill in range(SKILL_COUNT):
            short[at.levels + skill] = level[r, a, skill]
        bag = inventory[r, a]
        space = sizes.capacity
        for item in range(items):
            short[at.inventory + item] = min(bag[item], LARGEST_SHORT)
            space -= bag[item] * weights[item]
        gold, code = world.gold[r, a], np.int64(world.offer[r, a])
        price, ticks_left = world.offer_price[r, a], world.offer_left[r, a]
        if code > 0:
            space -= weights[(code - 1) % items]
        _write_offer(short, at.offer, code, price, ticks_left, items)
        short[at.goods] = min(gold, LARGEST_SHORT)
        short[at.goods + 1] = space
        _copy(record, at.market, flat.quotes, 3 * items * r, 3 * items)
        if at.work_mask >= 0:
            y, x = flat.row[i + r * sizes.npc_slots], flat.col[i + r * sizes.npc_slots]
            can = possible_works(
                sizes.works, tables.recipes, tables.meals, inventory, level, space, world.shore,
                world.material, r, a, y, x,
            )  # fmt: skip
            for choice in range(WORK_COUNT):
                record[at.work_mask + choice] = can >> choice & 1
        if at.trade_mask >= 0:
            write_possible(
                record, at.trade_mask, at.price_mask, bag, gold, code, price, ticks_left, space, tables.lots,
                weights, tables.prices,
            )  # fmt: skip
        for token in range(sizes.tokens):
            record[at.token_mask + token] = 1


@cache
def _constants(config: WorldConfig) -> tuple[_Tables, _Sizes, _Offsets]:
    """Returns what the loop needs to know of a config."""
    recipes, _, meals, weights = book(config.content)
    lots, _, prices = numbers(config.tables)
    sizes = fields_of(_Sizes, config, works=works_there(config.works))
    fields = ObservationLayout(config).fields
    offsets = [fields[name].offset // 2 for name in _Offsets._fields[:4]]
    offsets += [fields[name].offset if name in fields else -1 for name in _Offsets._fields[4:]]
    return _Tables(recipes, meals, weights, lots, prices), sizes, _Offsets(*offsets)


def goods_arguments(world: World) -> tuple[_FlatFields, _Fields, _Tables, _Sizes, _Offsets]:
    """Returns the first argument of ``write_goods``."""
    flat = (tensor.view(-1).numpy() for tensor in fields_of(_FlatFields, world))
    shaped = (tensor.numpy() for tensor in fields_of(_Fields, world))
    return _FlatFields(*flat), _Fields(*shaped), *_constants(world.config)
