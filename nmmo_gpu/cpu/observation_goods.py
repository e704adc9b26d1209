"""Observation of the full game, as compiled loops; twin of ``nmmo_gpu.world.observation_goods``."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from functools import cache

import numpy as np

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import CONSTITUTION, DEFENSE, SKILLS, WORKS
from nmmo_gpu.content.tables import combat_level
from nmmo_gpu.cpu.compile import arrays_of, compiled, fields_of
from nmmo_gpu.cpu.exchange import Offer, goods, write_possible
from nmmo_gpu.cpu.words import load, store
from nmmo_gpu.cpu.work import book, possible_works, work_bits
from nmmo_gpu.world import observation_goods as rule
from nmmo_gpu.world.layout import STYLES, ObservationLayout
from nmmo_gpu.world.state import World

_LookFields = namedtuple("_LookFields", "alive age level worn token")
"""All flat."""
_FlatFields = namedtuple("_FlatFields", "alive row col quotes")
_ShapedFields = namedtuple(
    "_ShapedFields", "level inventory gold offer offer_price offer_left shore material"
)
_GoodsFields = namedtuple(
    "_GoodsFields",
    "alive row col quotes level inventory gold offer offer_price offer_left shore material",
)
"""The flat ones, then the shaped ones."""
GoodsConfig = namedtuple("GoodsConfig", "slots npc_slots capacity items work_bits tokens")
"""``work_bits``: see ``nmmo_gpu.cpu.work.work_bits``."""
GoodsTables = namedtuple("GoodsTables", "lot weight prices recipes meals")
"""See ``nmmo_gpu.cpu.exchange.Goods`` and ``nmmo_gpu.cpu.work.Book``."""
GoodsLayout = namedtuple(
    "GoodsLayout", "levels goods inventory offer market work_mask trade_mask price_mask token_mask"
)
"""Offsets of fields in a record, the first four in int16, the others in bytes; -1 for fields that it
lacks."""

STYLE_COUNT, SKILL_COUNT, WORK_COUNT = len(STYLES), len(SKILLS), len(WORKS)
LARGEST_BYTE, LARGEST_SHORT = 127, rule.LARGEST_SHORT
strength = compiled(inline="always")(combat_level)


@compiled(inline="always")
def _copy(into, at, source, start, count):
    """``into[at : at + count] = source[start : start + count]`` for arrays of bytes, a word at a time."""
    if count < 8:
        for byte in range(count):
            into[at + byte] = source[start + byte]
        return
    for word in range(count // 8):
        store(into, at + 8 * word, load(source, start + 8 * word))
    store(into, at + count - 8, load(source, start + count - 8))


@cache
def looks_loop(config: WorldConfig) -> Callable[..., None]:
    """The loop that writes the additional public attributes of each living slot: ``ENTITY_ATTRIBUTES``, a
    word each."""
    slots, entities = config.slots, config.entities
    immune_ticks, max_health, skills = config.immune_ticks, config.max_health, config.skills
    kinds = np.repeat(np.arange(len(config.npc_counts)), config.npc_counts)
    # For an NPC, only the level depends on the world.
    kind_and_health = np.array([1 + k | config.tables.npcs[k].health << 48 for k in kinds], np.uint64)

    @compiled
    def loop(world, entity_attributes, low, high):
        for e in range(low, high):
            if not world.alive[e]:
                continue
            own = world.level[SKILL_COUNT * e : SKILL_COUNT * (e + 1)]
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
                rank = np.uint64(min(world.worn[3 * i + gear], LARGEST_BYTE))
                word |= rank << np.uint64(16 + 8 * gear)
            most = np.uint64(own[CONSTITUTION]) if skills else np.uint64(max_health)
            word |= np.uint64(world.token[i]) << np.uint64(40) | most << np.uint64(48)
            entity_attributes[e] = word | np.uint64(world.age[e] < immune_ticks) << np.uint64(56)

    made: Callable[..., None] = loop
    return made


def look_fields(world: World) -> _LookFields:
    """What ``looks_loop`` reads."""
    return _LookFields(*(t.view(-1).numpy() for t in fields_of(_LookFields, world)))


@compiled(inline="always")
def _write_inventory(world, tables, short, r, a, config, layout):
    """Items, room and gold; returns the room."""
    space = config.capacity
    for item in range(config.items):
        held = world.inventory[r, a, item]
        short[layout.inventory + item] = min(held, LARGEST_SHORT)
        space -= held * tables.weight[item]
    code = np.int64(world.offer[r, a])
    if code > 0:
        space -= tables.weight[code - 1 - config.items if code > config.items else code - 1]
    short[layout.goods] = min(world.gold[r, a], LARGEST_SHORT)
    short[layout.goods + 1] = space
    return space


@compiled(inline="always")
def _write_offer(short, offer, config, layout):
    """The agent's own open offer: side, item, price and ticks left; zeros without one."""
    at, items, code = layout.offer, config.items, offer.code
    if code > 0:
        short[at] = 2 if code > items else 1
        short[at + 1] = code - items if code > items else code
        short[at + 2] = 1 + offer.price
        short[at + 3] = offer.left
    else:
        for part in range(4):
            short[at + part] = 0


@compiled(inline="always")
def write_goods(world, tables, record, short, i, config, layout):
    """The fields of the full game in the record of agent slot ``i``, numbered across all realms, if it lives.

    Args:
        world: see ``goods_fields``. tables, config, layout: see ``goods_constants``; constants.
        record, short: the record as uint8 and as int16.
    """
    r, a = i // config.slots, i % config.slots
    entity = i + r * config.npc_slots
    if world.alive[entity]:
        for skill in range(SKILL_COUNT):
            short[layout.levels + skill] = world.level[r, a, skill]
        offer = Offer(np.int64(world.offer[r, a]), world.offer_price[r, a], world.offer_left[r, a])
        space = _write_inventory(world, tables, short, r, a, config, layout)
        _write_offer(short, offer, config, layout)
        _copy(record, layout.market, world.quotes, 3 * config.items * r, 3 * config.items)
        if layout.work_mask >= 0:
            y, x = world.row[entity], world.col[entity]
            works = possible_works(world, tables, config.work_bits, space, r, a, y, x)
            for choice in range(WORK_COUNT):
                record[layout.work_mask + choice] = works >> choice & 1
        if layout.trade_mask >= 0:
            write_possible(
                record, layout.trade_mask, layout.price_mask, world.inventory[r, a], world.gold[r, a], offer,
                space, tables,
            )  # fmt: skip
        for token in range(config.tokens):
            record[layout.token_mask + token] = 1


def goods_constants(config: WorldConfig) -> tuple[GoodsTables, GoodsConfig, GoodsLayout]:
    """The constants of ``write_goods``."""
    at = {name: field.offset for name, field in ObservationLayout(config).fields.items()}
    shorts = {name: at[name] // 2 for name in ("levels", "goods", "inventory", "offer")}
    known = book(config.content)
    return (
        GoodsTables(*goods(config.tables), known.recipes, known.meals),
        fields_of(GoodsConfig, config, items=len(config.content.items), work_bits=work_bits(config.works)),
        GoodsLayout(*((at | shorts).get(name, -1) for name in GoodsLayout._fields)),
    )


def goods_fields(world: World) -> _GoodsFields:
    """What ``write_goods`` reads; those of ``_FlatFields`` are flat."""
    flat = (t.view(-1).numpy() for t in fields_of(_FlatFields, world))
    return _GoodsFields(*flat, *arrays_of(_ShapedFields, world))
