"""Observation as one compiled loop; twin of ``nmmo_gpu.world.observation``.

The loop takes the sizes of a config as arguments, so that it is compiled once for all configs. Its parts are
inlined functions."""

from __future__ import annotations

from collections import namedtuple
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import KNIFE, walkable_table
from nmmo_gpu.cpu.compile import compiled, fields_of
from nmmo_gpu.cpu.observation_goods import goods_arguments, write_goods, write_looks
from nmmo_gpu.cpu.threads import chunks, parallel, realm_slices
from nmmo_gpu.cpu.words import LOW_BITS, ONES, SEVEN, load, nonzero_bytes, store, trailing_zeros
from nmmo_gpu.world import observation as rule
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, STYLES, ObservationLayout
from nmmo_gpu.world.state import World

_Fields = namedtuple(
    "_Fields",
    "alive row col health food water freeze heading age damage material occupant presence worn public_stats "
    "entity_attributes",
)
"""Fields of the world, flat, and ``ENTITY_FEATURES`` and ``ENTITY_ATTRIBUTES`` of all entities: [R * (S + N)]
uint64, a byte each."""
_Sizes = namedtuple(
    "_Sizes",
    "slots npc_slots population_size populations height width vision window nearest immune_ticks extended "
    "rolls reach",
)
"""``reach``: 0 for a style without an effect."""
_Offsets = namedtuple(
    "_Offsets",
    "alive self entities entity_kind entity_attributes move_mask style_mask target_mask material occupant "
    "end pitch",
)
"""First byte of each field in a record; ``end``: first byte after the fields of the rules; ``pitch``: bytes
from one row of a window to the next."""
_Ring = namedtuple("_Ring", "cells rank")
"""The cells of a window in ring order (``world.observation.ring_order``).

``cells``: [cells, 4] int64, row and column from the center, distance, byte in the window's rows; ``rank``:
[window * pitch] int64, position in ring order, by byte."""

WALKABLE = walkable_table().numpy()
STEPS = np.array(MOVES, np.int64)
LARGEST_BYTE, LARGEST_SHORT = 127, 32767
HIGHEST_BITS, ALL_BITS = ~LOW_BITS, np.uint64(0xFF)
IMMUNE = np.uint64(8 * ENTITY_ATTRIBUTES.index("immune"))
OUT_OF_REACH, STYLE_COUNT = 255, len(STYLES)
BLOCK = 64
"""Number of agents whose records are completed together, while they are in the cache."""
ROW_BY_ROW_FROM = 1 << 21
"""Minimum number of tiles of a realm whose agents are processed in the order of their rows. The windows of
neighbors share cache lines, which on such a large map would be evicted before the next nearby slot. On a
smaller map all tiles stay in the cache, and records are written faster in the order of the slots."""


@compiled(inline="always")
def _occupant_kinds(presence, occupied, own, sizes):
    """Returns the kinds of the occupants of eight tiles, a byte each.

    ``occupied``: 1 for each tile that has one; ``own``: presence of the agent's population on all tiles."""
    kinds = occupied + (occupied & nonzero_bytes(presence ^ own))
    if sizes.npc_slots:
        # The excess of a presence over those of the populations turns 2 into 3 or more. No byte borrows from
        # the next, because the highest bit of each, which is free, is set. It remains set for NPCs.
        beyond = (presence | HIGHEST_BITS) - np.uint64(sizes.populations + 1) * ONES
        npc = (beyond >> SEVEN) & ONES
        kinds += npc + (beyond & LOW_BITS & npc * ALL_BITS)
    return kinds


@compiled(inline="always")
def _write_self(short, fields, e, population, sizes, at):
    """Writes the agent's own state, from the ``at``-th int16 on."""
    short[at] = min(fields.age[e], LARGEST_SHORT)
    short[at + 1] = fields.health[e]
    short[at + 2] = fields.food[e]
    short[at + 3] = fields.water[e]
    short[at + 4] = fields.row[e]
    short[at + 5] = fields.col[e]
    short[at + 6] = fields.freeze[e]
    short[at + 7] = fields.damage[e]
    short[at + 8] = fields.age[e] < sizes.immune_ticks
    short[at + 9] = population
    short[at + 10] = STEPS[fields.heading[e], 0]
    short[at + 11] = STEPS[fields.heading[e], 1]


@compiled(inline="always")
def _write_windows(record, near, fields, tile, population, sizes, ring, at):
    """Writes the windows, and adds the ranks of all occupants in ring order to ``near``, a set of bits."""
    window = sizes.window
    corner = tile - sizes.vision * (sizes.width + 1)
    own = np.uint64(population + 1) * ONES
    words = (window + 7) // 8
    # The last word of a row is made of the row's last eight cells, of which the shift drops the first ones.
    last, drop = window - 8, np.uint64(8 * (8 * words - window))
    for r in range(window):
        for w in range(words):
            byte = r * at.pitch + 8 * w
            source = corner + r * sizes.width + min(8 * w, last)
            shift = drop if w == words - 1 else np.uint64(0)
            store(record, at.material + byte, load(fields.material, source) >> shift)
            presence = load(fields.presence, source) >> shift
            if presence == 0:
                store(record, at.occupant + byte, presence)
                continue
            occupied = nonzero_bytes(presence)
            store(record, at.occupant + byte, _occupant_kinds(presence, occupied, own, sizes))
            while occupied:
                rank = ring.rank[byte + (trailing_zeros(occupied) >> 3)]
                occupied &= occupied - np.uint64(1)
                near[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)


@compiled(inline="always")
def _write_entity(record, k, other, rank, fields, sizes, ring, at):
    """Writes row ``k`` of the entity table; returns the entity's distance, large if it cannot be attacked."""
    dy, dx, distance = ring.cells[rank, 0], ring.cells[rank, 1], ring.cells[rank, 2]
    offsets = np.uint64(dy & 0xFF | (dx & 0xFF) << 8)
    store(record, at.entities + 8 * k, fields.public_stats[other] | offsets)
    record[at.entity_kind + k] = record[at.occupant + ring.cells[rank, 3]]
    if sizes.extended:
        attributes = fields.entity_attributes[other]
        store(record, at.entity_attributes + 8 * k, attributes)
        if sizes.rolls and attributes >> IMMUNE:
            distance = np.int64(OUT_OF_REACH)
    return distance


@compiled(inline="always")
def _write_nearest(record, seen, near, fields, tile, first, reach, sizes, ring, at):
    """Writes the entity table, ``seen`` and the masks of styles and targets, and empties ``near``.

    ``first``: the realm's first slot, numbered across all realms; ``reach``: of the agent, per style."""
    choices = sizes.nearest + 1
    record[at.style_mask] = 1
    for s in range(1, STYLE_COUNT):
        record[at.style_mask + s] = 0
    for s in range(STYLE_COUNT):
        record[at.target_mask + s * choices] = 1
    # The nearest have the lowest bits. The agent itself, which has rank 0, is excluded.
    part, bits = 0, near[0] & ~np.uint64(1)
    near[0] = 0
    k = 0
    while k < sizes.nearest:
        while bits == 0 and part < len(near) - 1:
            part += 1
            bits = near[part]
            near[part] = 0
        if bits == 0:
            break
        rank = 64 * part + trailing_zeros(bits)
        bits &= bits - np.uint64(1)
        other = fields.occupant[tile + ring.cells[rank, 0] * sizes.width + ring.cells[rank, 1]] - 1
        seen[k] = other
        distance = _write_entity(record, k, first + other, rank, fields, sizes, ring, at)
        for s in range(STYLE_COUNT):
            within = distance <= reach[s]
            record[at.target_mask + s * choices + 1 + k] = within
            record[at.style_mask + s] |= within
        k += 1
    near[part:] = 0
    for rest in range(k, sizes.nearest):
        store(record, at.entities + 8 * rest, np.uint64(0))
        if sizes.extended:
            store(record, at.entity_attributes + 8 * rest, np.uint64(0))
        record[at.entity_kind + rest] = 0
        seen[rest] = -1
        for s in range(STYLE_COUNT):
            record[at.target_mask + s * choices + 1 + rest] = 0


@compiled(inline="always")
def _write_moves(record, fields, tile, frozen, sizes, at):
    """Writes the mask of moves."""
    record[at.move_mask] = 1
    for m in range(1, len(STEPS)):
        goal = tile + STEPS[m, 0] * sizes.width + STEPS[m, 1]
        free = WALKABLE[fields.material[goal]] and fields.presence[goal] == 0
        record[at.move_mask + m] = free and not frozen


@compiled(allocates=False)
def _write_records(fields, records, seen, queue, sizes, ring, at, near, low, high):
    """Writes the fields of ``law`` and ``chaos`` into records ``low`` to ``high``, in the order of ``queue``
    unless it is empty.

    Args:
        records: the records as bytes and as int16.
        seen: [R * S, nearest], the slots of the entity table, -1 for none.
        near: [cells / 64] uint64, zero before and after.
    """
    for turn in range(low, high):
        i = queue[turn] if len(queue) else turn
        record = records[0][i]
        realm, slot = i // sizes.slots, i % sizes.slots
        e = i + realm * sizes.npc_slots
        if not fields.alive[e]:
            record[:] = 0
            seen[i, :] = -1
            continue
        population = slot // sizes.population_size
        tile = (realm * sizes.height + fields.row[e]) * sizes.width + fields.col[e]
        record[at.alive] = 1
        record[at.end : at.material] = 0
        _write_self(records[1][i], fields, e, population, sizes, at.self // 2)
        _write_windows(record, near, fields, tile, population, sizes, ring, at)
        reach = sizes.reach
        if sizes.rolls and fields.worn[3 * i + KNIFE] == 0:
            reach = (reach[0], 0, reach[2])
        _write_nearest(record, seen[i], near, fields, tile, e - slot, reach, sizes, ring, at)
        _write_moves(record, fields, tile, fields.freeze[e] != 0, sizes, at)


@compiled(allocates=False)
def _write_full_records(basic, goods, records, seen, queue, low, high):
    """As ``_write_records``, with all fields of the full game.

    ``basic`` and ``goods``: the other arguments of the two loops."""
    fields, sizes, ring, at, near = basic
    for start in range(low, high, BLOCK):
        end = min(start + BLOCK, high)
        _write_records(fields, records, seen, queue, sizes, ring, at, near, start, end)
        write_goods(goods, records, queue, start, end)


@cache
def _constants(config: WorldConfig) -> tuple[_Sizes, _Ring, _Offsets]:
    """Returns what the loop needs to know of a config."""
    layout = ObservationLayout(config)
    effective = zip(config.reach, config.damage, strict=True)
    reach = tuple(r if damage or config.rolls else 0 for r, damage in effective)
    sizes = fields_of(_Sizes, config, reach=reach)
    order = np.array(rule.ring_order(config.vision), np.int64)
    byte = (order[:, 0] + config.vision) * layout.pitch + order[:, 1] + config.vision
    cells = np.column_stack((order, np.abs(order).max(1), byte))
    rank = np.zeros(config.window * layout.pitch, np.int64)
    rank[byte] = np.arange(len(byte))
    offsets = {name: field.offset for name, field in layout.fields.items()}
    at = _Offsets(*(offsets.get(name, 0) for name in _Offsets._fields[:-2]), layout.stock_bytes, layout.pitch)
    return sizes, _Ring(cells, rank), at


def _row_by_row(config: WorldConfig) -> bool:
    return config.height * config.width >= ROW_BY_ROW_FROM


@compiled
def _sort_by_row(alive, row, queue, slots, npcs, height, low, high):
    """Fills ``queue`` with the slots, numbered across all realms, realm by realm in the order of their
    agents' rows."""
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


@compiled(allocates=False)
def _write_public_stats(age, health, food, water, freeze, damage, public_stats, low, high):
    """Writes the public attributes of each slot as one word, whose two lowest bytes are left for offsets."""
    for i in range(low, high):
        body = _byte(age[i], 2) | _byte(health[i], 3) | _byte(food[i], 4) | _byte(water[i], 5)
        public_stats[i] = body | _byte(freeze[i], 6) | _byte(damage[i], 7)


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    cfg = world.config
    if cfg.window < 8:  # the loops read eight tiles of a row at a time
        rule.observe(world, records, seen)
        return
    entities = world.alive.numel()
    public_stats = np.empty(entities, np.uint64)
    entity_attributes = np.empty(entities if cfg.extended else 0, np.uint64)
    flat = (getattr(world, name).view(-1).numpy() for name in _Fields._fields[:-2])
    fields = _Fields(*flat, public_stats, entity_attributes)
    body = (fields.age, fields.health, fields.food, fields.water, fields.freeze, fields.damage)
    pieces = chunks(entities, 1 << 14)
    parallel(_write_public_stats, [(*body, public_stats, *piece) for piece in pieces])
    rows = records.view(-1, records.shape[-1]).numpy()
    queue = np.empty(len(rows) if _row_by_row(cfg) else 0, np.int64)
    if len(queue):
        order = (fields.alive, fields.row, queue, cfg.slots, cfg.npc_slots, cfg.height)
        parallel(_sort_by_row, [(*order, *piece) for piece in realm_slices(world.realms)])
    out = ((rows, rows.view(np.int16)), seen.view(-1, seen.shape[-1]).numpy(), queue)
    sizes, ring, at = _constants(cfg)
    if cfg.extended:
        write_looks(world, entity_attributes, pieces)
        goods = goods_arguments(world)
    tasks: list[tuple[Any, ...]] = []
    for piece in chunks(len(rows), 1 << 8):
        near = np.zeros((len(ring.cells) + 63) // 64, np.uint64)
        if cfg.extended:
            tasks.append(((fields, sizes, ring, at, near), goods, *out, *piece))
        else:
            tasks.append((fields, *out, sizes, ring, at, near, *piece))
    parallel(_write_full_records if cfg.extended else _write_records, tasks)
