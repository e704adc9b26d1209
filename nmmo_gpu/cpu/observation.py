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
from nmmo_gpu.cpu.observation_goods import Records, goods_fields, goods_loop, looks_arrays, looks_loop
from nmmo_gpu.cpu.threads import chunks, parallel, realm_slices
from nmmo_gpu.cpu.words import LOW_BITS, ONES, SEVEN, load, nonzero_bytes, store, trailing_zeros
from nmmo_gpu.world import observation as rule
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ObservationLayout
from nmmo_gpu.world.state import World

_Fields = namedtuple(
    "_Fields",
    "alive row col health food water freeze heading age damage material occupant presence worn",
)
_Config = namedtuple(
    "_Config",
    "slots npc_slots populations population_size height width vision window nearest immune_ticks extended "
    "rolls reach words parts",
)
"""``reach``: 0 for styles without an effect; ``words``: 64-bit words per row of a window; ``parts``: words
with a bit for each of its cells."""
_Layout = namedtuple(
    "_Layout",
    "alive self material occupant entities entity_kind entity_attributes move_mask style_mask target_mask "
    "end",
)
"""Offsets of fields in a record, and of the padding after the last."""

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
def _occupant_kinds(presence, occupied, mine, config):
    """The kinds of eight occupants from their presence; ``occupied``: 1 where there is one."""
    kinds = occupied + (occupied & nonzero_bytes(presence ^ mine))
    if config.npc_slots:
        # The excess of a presence over those of the populations turns 2 into 3 or more. No byte borrows from
        # the next: their highest bits are free, and set for NPCs.
        beyond = (presence | HIGHEST_BITS) - np.uint64(config.populations + 1) * ONES
        npc = (beyond >> SEVEN) & ONES
        kinds += npc + (beyond & LOW_BITS & npc * ALL_BITS)
    return kinds


@compiled(inline="always")
def _write_windows(record, near, material, presence, rank_of_cell, tile, population, config, layout):
    """Writes the windows, and adds the other entities in them to the set ``near``: a bit for each of their
    ranks in ring order."""
    window = config.window
    corner = tile - config.vision * (config.width + 1)
    mine = np.uint64(population + 1) * ONES
    for r in range(window):
        for w in range(config.words):
            first = min(8 * w, window - 8)
            cell = r * window + first
            source = corner + r * config.width + first
            store(record, layout.material + cell, load(material, source))
            shown = load(presence, source)
            if shown == 0:
                store(record, layout.occupant + cell, shown)
                continue
            occupied = nonzero_bytes(shown)
            store(record, layout.occupant + cell, _occupant_kinds(shown, occupied, mine, config))
            # The last word of a row overlaps the one before it; each cell is used once.
            occupied >>= np.uint64(8 * (8 * w - first))
            cell += 8 * w - first
            while occupied:
                rank = rank_of_cell[cell + (trailing_zeros(occupied) >> 3)]
                occupied &= occupied - np.uint64(1)
                near[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)


@compiled(inline="always")
def _write_entity(record, k, entity, cell, public_stats, entity_attributes, config, layout):
    """Writes row ``k`` of the entity table; returns the distance of the entity, as far as attacks are
    concerned. ``cell``: a row of ``_ring``."""
    down, right, distance, place = cell
    store(
        record, layout.entities + 8 * k, public_stats[entity] | np.uint64(down & 0xFF | (right & 0xFF) << 8)
    )
    record[layout.entity_kind + k] = record[layout.occupant + place]
    if config.extended:
        look = entity_attributes[entity]
        store(record, layout.entity_attributes + 8 * k, look)
        if config.rolls and look >> IMMUNE:
            distance = np.int64(OUT_OF_REACH)
    return distance


@compiled(inline="always")
def _write_nearest(
    record, seen, near, distance, occupant, public_stats, entity_attributes, ring, tile, first, config, layout
):
    """The entity table: the nearest entities of the set ``near``, which is emptied. Writes their slots into
    ``seen``, and their distances into ``distance``. ``first``: the realm's first slot, among all realms."""
    # Lowest bits first; the agent itself, of rank 0, is left out.
    part, bits = 0, near[0] & ~np.uint64(1)
    for k in range(config.nearest):
        while bits == 0 and part < config.parts - 1:
            part += 1
            bits = near[part]
        if bits == 0:
            store(record, layout.entities + 8 * k, np.uint64(0))
            if config.extended:
                store(record, layout.entity_attributes + 8 * k, np.uint64(0))
            record[layout.entity_kind + k] = 0
            seen[k] = -1
            distance[k] = OUT_OF_REACH
            continue
        rank = 64 * part + trailing_zeros(bits)
        bits &= bits - np.uint64(1)
        cell = ring[rank, 0], ring[rank, 1], ring[rank, 2], ring[rank, 3]
        other = occupant[tile + cell[0] * config.width + cell[1]] - 1
        seen[k] = other
        distance[k] = _write_entity(
            record, k, first + other, cell, public_stats, entity_attributes, config, layout
        )
    for part in range(config.parts):
        near[part] = 0


@compiled(inline="always")
def _write_masks(record, distance, material, presence, tile, frozen, armed, config, layout):
    """The masks of moves, styles and targets; ``armed``: whether the agent may throw."""
    record[layout.move_mask] = 1
    for m in range(1, 5):
        goal = tile + STEPS[m, 0] * config.width + STEPS[m, 1]
        record[layout.move_mask + m] = WALKABLE[material[goal]] and presence[goal] == 0 and not frozen
    for s in range(3):
        here = layout.target_mask + s * (config.nearest + 1)
        record[here] = 1
        possible = s == 0
        far = config.reach[s] if s != RANGE or armed else 0
        for k in range(config.nearest):
            within = distance[k] <= far
            record[here + 1 + k] = within
            possible |= within
        record[layout.style_mask + s] = possible


def _layout(config: WorldConfig) -> _Layout:
    fields = ObservationLayout(config).fields
    at = {name: field.offset for name, field in fields.items()}
    end = max(field.offset + field.bytes for field in fields.values())
    return _Layout(*(at.get(name, 0) for name in _Layout._fields[:-1]), end)


def _ring(vision: int) -> Any:
    """[cells, 4] int64 array: the cells of a window in ring order: rows and columns from its centre,
    distance, index."""
    offset = np.array(rule.ring_order(vision), np.int64)
    index = (offset[:, 0] + vision) * (2 * vision + 1) + offset[:, 1] + vision
    return np.column_stack((offset, np.abs(offset).max(1), index))


@cache
def _compiled(world_config: WorldConfig) -> Callable[..., None]:
    """The loop for one config. Its sizes are compile-time constants, so that short loops are unrolled: the
    functions above are inlined, and numba takes variables of the enclosing function as constants."""
    effective = zip(world_config.reach, world_config.damage, strict=True)
    config = fields_of(
        _Config,
        world_config,
        reach=tuple(reach if damage or world_config.rolls else 0 for reach, damage in effective),
        words=-(-world_config.window // 8),
        parts=-(-(world_config.window**2) // 64),
    )
    layout, ring = _layout(world_config), _ring(world_config.vision)
    rank_of_cell = ring[:, 3].argsort()
    area, row_by_row = config.height * config.width, _row_by_row(world_config)

    @compiled
    def loop(world, public_stats, entity_attributes, out, queue, low, high):
        (
            alive, row, col, health, food, water, freeze, heading, age, damage, material, occupant, presence,
            worn
        ) = world  # fmt: skip
        records, shorts, seen = out
        near = np.zeros(config.parts, np.uint64)
        distance = np.empty(config.nearest, np.int64)
        for turn in range(low, high):
            i = queue[turn] if row_by_row else turn
            record = records[i]
            realm, slot = i // config.slots, i % config.slots
            e = i + realm * config.npc_slots
            if not alive[e]:
                record[:] = 0
                seen[i, :] = -1
                continue
            population = slot // config.population_size
            y, x = row[e], col[e]
            tile = realm * area + y * config.width + x

            short, at = shorts[i], layout.self // 2
            short[at] = min(age[e], LARGEST_SHORT)
            short[at + 1] = health[e]
            short[at + 2] = food[e]
            short[at + 3] = water[e]
            short[at + 4] = y
            short[at + 5] = x
            short[at + 6] = freeze[e]
            short[at + 7] = damage[e]
            short[at + 8] = age[e] < config.immune_ticks
            short[at + 9] = population
            short[at + 10] = STEPS[heading[e], 0]
            short[at + 11] = STEPS[heading[e], 1]
            record[layout.alive] = 1
            record[layout.end :] = 0
            _write_windows(record, near, material, presence, rank_of_cell, tile, population, config, layout)
            _write_nearest(
                record, seen[i], near, distance, occupant, public_stats, entity_attributes, ring, tile,
                e - slot, config, layout,
            )  # fmt: skip
            armed = not config.rolls or worn[3 * i + KNIFE] != 0
            _write_masks(record, distance, material, presence, tile, freeze[e] != 0, armed, config, layout)

    if not config.extended:
        made: Callable[..., None] = loop
        return made
    goods = goods_loop(world_config)

    @compiled
    def both(world, public_stats, entity_attributes, out, queue, goods_fields, low, high):
        for start in range(low, high, BLOCK):
            end = min(start + BLOCK, high)
            loop(world, public_stats, entity_attributes, out, queue, start, end)
            goods(goods_fields, queue, out, start, end)

    made = both
    return made


def _row_by_row(config: WorldConfig) -> bool:
    return config.height * config.width >= ROW_BY_ROW_FROM


@compiled
def _sort_by_row(alive, row, queue, slots, npcs, height, low, high):
    """``queue``: the slots, numbered across all realms, realm by realm in the order of their agents' rows."""
    end = np.empty(height + 1, np.int64)
    for r in range(low, high):
        end[:] = 0
        skipped = r * npcs
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
def _write_public_stats(age, health, food, water, freeze, damage, public_stats, low, high):
    """The public attributes of each slot, as one word; its two lowest bytes stay empty for the offsets."""
    for i in range(low, high):
        body = _byte(age[i], 2) | _byte(health[i], 3) | _byte(food[i], 4) | _byte(water[i], 5)
        public_stats[i] = body | _byte(freeze[i], 6) | _byte(damage[i], 7)


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    cfg = world.config
    if cfg.window < 8:  # the loops read eight tiles of a row at a time
        rule.observe(world, records, seen)
        return
    fields = _Fields(*(tensor.view(-1).numpy() for tensor in fields_of(_Fields, world)))
    rows = records.view(-1, records.shape[-1]).numpy()
    queue = np.empty(len(rows) if _row_by_row(cfg) else 0, np.int64)
    if len(queue):
        order = (fields.alive, fields.row, queue, cfg.slots, cfg.npc_slots, cfg.height)
        parallel(_sort_by_row, [(*order, *piece) for piece in realm_slices(world.realms)])
    entities = world.alive.numel()
    public_stats = np.empty(entities, np.uint64)
    entity_attributes = np.empty(entities if cfg.extended else 0, np.uint64)
    stats = (fields.age, fields.health, fields.food, fields.water, fields.freeze, fields.damage)
    pieces = chunks(entities, 1 << 14)
    parallel(_write_public_stats, [(*stats, public_stats, *piece) for piece in pieces])
    if cfg.extended:
        parallel(looks_loop(cfg), [(*looks_arrays(world), entity_attributes, *piece) for piece in pieces])
    out = Records(rows, rows.view(np.int16), seen.view(-1, seen.shape[-1]).numpy())
    goods = (goods_fields(world),) if cfg.extended else ()
    fixed: tuple[Any, ...] = (fields, public_stats, entity_attributes, out, queue, *goods)
    parallel(_compiled(cfg), [(*fixed, *piece) for piece in chunks(len(rows), 1 << 8)])
