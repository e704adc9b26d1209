"""Observation as one compiled loop; twin of ``nmmo_gpu.world.observation``."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import KNIFE, RANGE, walkable_table
from nmmo_gpu.cpu.compile import compiled, fields_of
from nmmo_gpu.cpu.observation_goods import goods_constants, goods_fields, look_fields, looks_loop, write_goods
from nmmo_gpu.cpu.threads import chunks, parallel, realm_slices
from nmmo_gpu.cpu.words import LOW_BITS, ONES, SEVEN, load, nonzero_bytes, store, trailing_zeros
from nmmo_gpu.world import observation as rule
from nmmo_gpu.world.layout import ENTITY_ATTRIBUTES, ObservationLayout
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.state import World

_Fields = namedtuple(
    "_Fields",
    "alive row col health food water freeze heading age damage material occupant presence worn",
)
"""All flat."""
_Cards = namedtuple("_Cards", "public_stats entity_attributes")
"""What is seen of each slot, a word each; the second one in the full game only."""
_Out = namedtuple("_Out", "records shorts seen")
"""[R * A, ...]: the records as uint8 and as int16, and the rows of the entity table as slots."""
_Config = namedtuple(
    "_Config",
    "slots population_size npc_slots populations height width vision nearest immune_ticks extended rolls "
    "reach",
)
_RowsConfig = namedtuple("_RowsConfig", "slots npc_slots height")
_Layout = namedtuple(
    "_Layout",
    "self alive material occupant entities entity_kind entity_attributes move_mask style_mask target_mask "
    "end",
)
"""Offsets of fields in a record, and the end of the last one, in bytes; -1 for fields that it lacks."""
_Ring = namedtuple("_Ring", "offsets cells distances rank_of_cell")
"""The tiles of a window in ring order, nearest first: offsets ([n, 2]), indices in the window and distances;
and the rank of each tile of the window in this order."""

WALKABLE = walkable_table().numpy()
STEPS = np.array(MOVES, np.int64)
LARGEST_BYTE, LARGEST_SHORT = 127, 32767
HIGHEST_BITS, ALL_BITS = ~LOW_BITS, np.uint64(0xFF)
IMMUNE = np.uint64(8 * ENTITY_ATTRIBUTES.index("immune"))
OUT_OF_REACH = 255
BLOCK = 64
"""Agents whose records are completed together, while they are in the cache."""
ROW_BY_ROW_FROM = 1 << 21
"""Number of tiles of a realm from which on agents are processed in the order of their rows. The windows of
neighbours share cache lines, which on such a large map are evicted before the next nearby slot. On a smaller
map all tiles stay in the cache, and records are written faster in the order of the slots."""


@compiled(inline="always")
def _write_self(world, short, e, population, config, at):
    """The agent's own attributes, from int16 ``at`` on."""
    short[at] = min(world.age[e], LARGEST_SHORT)
    short[at + 1] = world.health[e]
    short[at + 2] = world.food[e]
    short[at + 3] = world.water[e]
    short[at + 4] = world.row[e]
    short[at + 5] = world.col[e]
    short[at + 6] = world.freeze[e]
    short[at + 7] = world.damage[e]
    short[at + 8] = world.age[e] < config.immune_ticks
    short[at + 9] = population
    short[at + 10] = STEPS[world.heading[e], 0]
    short[at + 11] = STEPS[world.heading[e], 1]


@compiled(inline="always")
def _kinds(who, somebody, mine, config):
    """What the window shows of eight tiles, from their presences; ``somebody``: 1 for each that is not 0."""
    kind = somebody + (somebody & nonzero_bytes(who ^ mine))
    if config.npc_slots:
        # The excess of a presence over those of the populations turns 2 into 3 or more. No byte borrows from
        # the next: their highest bits are free, and set for NPCs.
        beyond = (who | HIGHEST_BITS) - np.uint64(config.populations + 1) * ONES
        npc = (beyond >> SEVEN) & ONES
        kind += npc + (beyond & LOW_BITS & npc * ALL_BITS)
    return kind


@compiled(inline="always")
def _write_windows(world, record, near, ring, tile, population, config, layout):
    """The windows; adds the entities in it to the set ``near``, by their ranks in ring order."""
    window, width = 2 * config.vision + 1, config.width
    corner = tile - config.vision * (width + 1)
    mine = np.uint64(population + 1) * ONES
    for r in range(window):
        for w in range((window + 7) // 8):
            first = min(8 * w, window - 8)
            cell = r * window + first
            source = corner + r * width + first
            store(record, layout.material + cell, load(world.material, source))
            who = load(world.presence, source)
            if who == 0:
                store(record, layout.occupant + cell, who)
                continue
            somebody = nonzero_bytes(who)
            store(record, layout.occupant + cell, _kinds(who, somebody, mine, config))
            # The last word of a row overlaps the one before it; each cell is used once.
            somebody >>= np.uint64(8 * (8 * w - first))
            cell += 8 * w - first
            while somebody:
                rank = ring.rank_of_cell[cell + (trailing_zeros(somebody) >> 3)]
                somebody &= somebody - np.uint64(1)
                near[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)


@compiled(inline="always")
def _write_nobody(record, seen, distance, k, config, layout):
    """Row ``k`` of the entity table, empty."""
    store(record, layout.entities + 8 * k, np.uint64(0))
    if config.extended:
        store(record, layout.entity_attributes + 8 * k, np.uint64(0))
    record[layout.entity_kind + k] = 0
    seen[k] = -1
    distance[k] = OUT_OF_REACH


@compiled(inline="always")
def _write_entity(world, cards, record, seen, distance, ring, k, rank, tile, first, config, layout):
    """Row ``k`` of the entity table: who is at ``rank`` in ring order; ``first``: the realm's first slot."""
    dy, dx = ring.offsets[rank, 0], ring.offsets[rank, 1]
    other = world.occupant[tile + dy * config.width + dx] - 1
    seen[k] = other
    stats = cards.public_stats[first + other]
    store(record, layout.entities + 8 * k, stats | np.uint64(dy & 0xFF | (dx & 0xFF) << 8))
    distance[k] = ring.distances[rank]
    if config.extended:
        look = cards.entity_attributes[first + other]
        store(record, layout.entity_attributes + 8 * k, look)
        if config.rolls and look >> IMMUNE:
            distance[k] = OUT_OF_REACH
    record[layout.entity_kind + k] = record[layout.occupant + ring.cells[rank]]


@compiled(inline="always")
def _write_entities(world, cards, record, seen, distance, near, ring, tile, first, config, layout):
    """The entity table, nearest first: the lowest bits of ``near``, which is emptied."""
    sets = ((2 * config.vision + 1) ** 2 + 63) // 64
    part, bits = 0, near[0] & ~np.uint64(1)  # without the agent itself, of rank 0
    for k in range(config.nearest):
        while bits == 0 and part < sets - 1:
            part += 1
            bits = near[part]
        if bits == 0:
            _write_nobody(record, seen, distance, k, config, layout)
            continue
        rank = 64 * part + trailing_zeros(bits)
        bits &= bits - np.uint64(1)
        _write_entity(world, cards, record, seen, distance, ring, k, rank, tile, first, config, layout)
    for part in range(sets):
        near[part] = 0


@compiled(inline="always")
def _write_masks(world, record, distance, i, e, tile, config, layout):
    """The masks of moves, styles and targets."""
    record[layout.move_mask] = 1
    for m in range(1, 5):
        goal = tile + STEPS[m, 0] * config.width + STEPS[m, 1]
        free = WALKABLE[world.material[goal]] and world.presence[goal] == 0 and world.freeze[e] == 0
        record[layout.move_mask + m] = free
    for s in range(3):
        here = layout.target_mask + s * (config.nearest + 1)
        record[here] = 1
        anybody_near = s == 0
        far = config.reach[s]
        if config.rolls and s == RANGE and world.worn[3 * i + KNIFE] == 0:
            far = 0
        for k in range(config.nearest):
            within = distance[k] <= far
            record[here + 1 + k] = within
            anybody_near |= within
        record[layout.style_mask + s] = anybody_near


@compiled(inline="always")
def _write_record(world, cards, record, short, seen, near, distance, ring, i, config, layout):
    """The record of agent slot ``i``, numbered across all realms, except the fields of the full game."""
    realm, slot = i // config.slots, i % config.slots
    e = i + realm * config.npc_slots
    if world.alive[e]:
        population = slot // config.population_size
        tile = (realm * config.height + world.row[e]) * config.width + world.col[e]
        first = realm * (config.slots + config.npc_slots)
        _write_self(world, short, e, population, config, layout.self // 2)
        record[layout.alive] = 1
        record[layout.end :] = 0
        _write_windows(world, record, near, ring, tile, population, config, layout)
        _write_entities(world, cards, record, seen, distance, near, ring, tile, first, config, layout)
        _write_masks(world, record, distance, i, e, tile, config, layout)
    else:
        record[:] = 0
        seen[:] = -1


@cache
def _compiled(settings: WorldConfig) -> Callable[..., None]:
    """The loop for one config. Its sizes are compile-time constants, so short loops are unrolled: the
    functions above are inlined, and numba takes variables of the enclosing function as constants."""
    ring, config, layout = _ring(settings.vision), _config(settings), _layout(settings)
    row_by_row, nearest, sets = _row_by_row(settings), settings.nearest, -(-(settings.window**2) // 64)

    @compiled
    def loop(world, cards, out, queue, low, high):
        near, distance = np.zeros(sets, np.uint64), np.empty(nearest, np.int64)
        for turn in range(low, high):
            i = queue[turn] if row_by_row else turn
            record, short, seen = out.records[i], out.shorts[i], out.seen[i]
            _write_record(world, cards, record, short, seen, near, distance, ring, i, config, layout)

    if not settings.extended:
        made: Callable[..., None] = loop
        return made
    tables, goods_config, goods_layout = goods_constants(settings)

    @compiled
    def loop_of_all(world, goods, cards, out, queue, low, high):
        near, distance = np.zeros(sets, np.uint64), np.empty(nearest, np.int64)
        for start in range(low, high, BLOCK):
            end = min(start + BLOCK, high)
            for turn in range(start, end):
                i = queue[turn] if row_by_row else turn
                record, short, seen = out.records[i], out.shorts[i], out.seen[i]
                _write_record(world, cards, record, short, seen, near, distance, ring, i, config, layout)
            for turn in range(start, end):
                i = queue[turn] if row_by_row else turn
                write_goods(goods, tables, out.records[i], out.shorts[i], i, goods_config, goods_layout)

    made = loop_of_all
    return made


def _ring(vision: int) -> _Ring:
    window = 2 * vision + 1
    offsets = np.array(rule.ring_order(vision), np.int64)
    cells = (offsets[:, 0] + vision) * window + offsets[:, 1] + vision
    rank_of_cell = np.empty(window * window, np.int64)
    rank_of_cell[cells] = np.arange(len(cells))
    return _Ring(offsets, cells, np.abs(offsets).max(1), rank_of_cell)


def _config(config: WorldConfig) -> _Config:
    # A style without damage reaches only its own tile, on which there is no other entity.
    hits = (damage or config.rolls for damage in config.damage)
    reach = tuple(far if hit else 0 for far, hit in zip(config.reach, hits, strict=True))
    return fields_of(_Config, config, reach=reach)


def _layout(config: WorldConfig) -> _Layout:
    fields = ObservationLayout(config).fields
    end = max(field.offset + field.bytes for field in fields.values())
    at = {name: field.offset for name, field in fields.items()} | {"end": end}
    return _Layout(*(at.get(name, -1) for name in _Layout._fields))


def _row_by_row(config: WorldConfig) -> bool:
    return config.height * config.width >= ROW_BY_ROW_FROM


@compiled
def _sort_by_row(alive, row, queue, config, low, high):
    """``queue``: the slots, numbered across all realms, realm by realm in the order of their agents' rows."""
    slots, height = config.slots, config.height
    end = np.empty(height + 1, np.int64)
    for r in range(low, high):
        end[:] = 0
        skipped = r * config.npc_slots
        for i in range(r * slots, (r + 1) * slots):
            end[row[i + skipped] + 1 if alive[i + skipped] else 0] += 1
        end[0] += r * slots
        for y in range(height):
            end[y + 1] += end[y]
        for i in range((r + 1) * slots - 1, r * slots - 1, -1):
            y = row[i + skipped] + 1 if alive[i + skipped] else 0
            end[y] -= 1
            queue[end[y]] = i


@compiled(inline="always")
def _byte(value, place):
    return np.uint64(min(value, LARGEST_BYTE)) << np.uint64(8 * place)


@compiled
def _write_public_stats(world, public_stats, low, high):
    """The public attributes of each slot, as one word; its two lowest bytes stay empty for the offsets."""
    for e in range(low, high):
        body = _byte(world.age[e], 2) | _byte(world.health[e], 3) | _byte(world.food[e], 4)
        body |= _byte(world.water[e], 5) | _byte(world.freeze[e], 6) | _byte(world.damage[e], 7)
        public_stats[e] = body


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    cfg = world.config
    if cfg.window < 8:  # the loops read eight tiles of a row at a time
        rule.observe(world, records, seen)
        return
    fields = _Fields(*(t.view(-1).numpy() for t in fields_of(_Fields, world)))
    rows = records.view(-1, records.shape[-1]).numpy()
    out = _Out(rows, rows.view(np.int16), seen.view(-1, seen.shape[-1]).numpy())
    queue = np.empty(len(rows) if _row_by_row(cfg) else 0, np.int64)
    if len(queue):
        order = (fields.alive, fields.row, queue, fields_of(_RowsConfig, cfg))
        parallel(_sort_by_row, [(*order, *piece) for piece in realm_slices(world.realms)])
    entities = world.alive.numel()
    looks = entities if cfg.extended else 0
    cards = _Cards(np.empty(entities, np.uint64), np.empty(looks, np.uint64))
    pieces = chunks(entities, 1 << 14)
    parallel(_write_public_stats, [(fields, cards.public_stats, *piece) for piece in pieces])
    fixed: tuple[Any, ...] = (fields, cards, out, queue)
    if cfg.extended:
        seen_of_all = (look_fields(world), cards.entity_attributes)
        parallel(looks_loop(cfg), [(*seen_of_all, *piece) for piece in pieces])
        fixed = (fields, goods_fields(world), cards, out, queue)
    parallel(_compiled(cfg), [(*fixed, *piece) for piece in chunks(len(rows), 1 << 8)])
