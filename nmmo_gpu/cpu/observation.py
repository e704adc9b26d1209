"""Observation as one compiled loop; twin of ``nmmo_gpu.world.observation``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import KNIFE, RANGE, walkable_table
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.observation_goods import goods_arrays, goods_loop, looks_arrays, looks_loop
from nmmo_gpu.cpu.threads import chunks, parallel, realm_slices
from nmmo_gpu.cpu.words import LOW_BITS, ONES, SEVEN, load, nonzero_bytes, store, trailing_zeros
from nmmo_gpu.world import observation as rule
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation_layout import ENTITY_ATTRIBUTES, ObservationLayout
from nmmo_gpu.world.state import World

WALKABLE = walkable_table().numpy()
STEPS = np.array(MOVES, np.int64)
LARGEST_BYTE, LARGEST_SHORT = 127, 32767
HIGHEST_BITS, ALL_BITS = ~LOW_BITS, np.uint64(0xFF)
IMMUNE = np.uint64(8 * ENTITY_ATTRIBUTES.index("immune"))
OUT_OF_REACH = 255
BLOCK = 64
"""Number of agents whose records are completed together, while they are in the cache."""
ROW_BY_ROW_FROM = 1 << 21
"""Minimum number of tiles of a realm whose agents are processed in the order of their rows. The windows of
neighbors share cache lines, which on such a large map would be evicted before the next nearby slot. On a
smaller map all tiles stay in the cache, and records are written faster in the order of the slots."""


@cache
def _compiled(config: WorldConfig) -> Callable[..., None]:
    """Returns the loop for a config. Its sizes are compile-time constants, so that short loops are
    unrolled."""
    at = {name: field.offset for name, field in ObservationLayout(config).fields.items()}
    used = max(f.offset + f.bytes for f in ObservationLayout(config).fields.values())
    vision, window, nearest = config.vision, config.window, config.nearest
    words = -(-window // 8)
    slots, size, npcs, populations = (
        config.slots,
        config.population_size,
        config.npc_slots,
        config.populations,
    )
    height, width = config.height, config.width
    immune_ticks = config.immune_ticks
    extended, rolls = config.extended, config.rolls
    reach = tuple(r if d or rolls else 0 for r, d in zip(config.reach, config.damage, strict=True))
    order = np.array(rule.ring_order(vision), np.int64)
    rank_of_cell = np.empty(window * window, np.int64)
    rank_of_cell[(order[:, 0] + vision) * window + order[:, 1] + vision] = np.arange(len(order))
    cell_of_rank = (order[:, 0] + vision) * window + order[:, 1] + vision
    distance_of_rank = np.abs(order).max(1)
    self_at, entities_at, kind_at = at["self"] // 2, at["entities"], at["entity_kind"]
    looks_at = at.get("entity_attributes", 0)
    move_at, style_at, target_at = at["move_mask"], at["style_mask"], at["target_mask"]
    alive_at, material_at, occupant_at = at["alive"], at["material"], at["occupant"]
    row_by_row = _row_by_row(config)
    sets = -(-window * window // 64)
    first_npc = np.uint64(populations + 1) * ONES

    @compiled
    def loop(
        alive, row, col, health, food, water, freeze, heading, age, damage, material, occupant, presence,
        worn, public_stats, entity_attributes, records, shorts, seen, queue, low, high,
    ):  # fmt: skip
        near = np.zeros(sets, np.uint64)
        distance = np.empty(nearest, np.int64)
        for turn in range(low, high):
            i = queue[turn] if row_by_row else turn
            record = records[i]
            realm, slot = i // slots, i % slots
            e = i + realm * npcs
            if not alive[e]:
                record[:] = 0
                seen[i, :] = -1
                continue
            population = slot // size
            y, x = row[e], col[e]
            plane = realm * height * width
            tile = plane + y * width + x

            short = shorts[i]
            short[self_at] = min(age[e], LARGEST_SHORT)
            short[self_at + 1] = health[e]
            short[self_at + 2] = food[e]
            short[self_at + 3] = water[e]
            short[self_at + 4] = y
            short[self_at + 5] = x
            short[self_at + 6] = freeze[e]
            short[self_at + 7] = damage[e]
            short[self_at + 8] = age[e] < immune_ticks
            short[self_at + 9] = population
            short[self_at + 10] = STEPS[heading[e], 0]
            short[self_at + 11] = STEPS[heading[e], 1]
            record[alive_at] = 1
            record[used:] = 0

            # Write the windows, and collect the ranks of the other entities in ring order, as a set of bits.
            corner = tile - vision * (width + 1)
            mine = np.uint64(population + 1) * ONES
            for r in range(window):
                for w in range(words):
                    first = min(8 * w, window - 8)
                    cell = r * window + first
                    source = corner + r * width + first
                    store(record, material_at + cell, load(material, source))
                    seen_presence = load(presence, source)
                    if seen_presence == 0:
                        store(record, occupant_at + cell, seen_presence)
                        continue
                    occupied = nonzero_bytes(seen_presence)
                    kind = occupied + (occupied & nonzero_bytes(seen_presence ^ mine))
                    if npcs:
                        # The excess of a presence over those of the populations turns 2 into 3 or more. No
                        # byte borrows from the next, because the highest bit of each, which is free, is set.
                        # It remains set for NPCs.
                        beyond = (seen_presence | HIGHEST_BITS) - first_npc
                        npc = (beyond >> SEVEN) & ONES
                        kind += npc + (beyond & LOW_BITS & npc * ALL_BITS)
                    store(record, occupant_at + cell, kind)
                    # The last word of a row overlaps the previous one; the shift drops the repeated cells.
                    occupied >>= np.uint64(8 * (8 * w - first))
                    cell += 8 * w - first
                    while occupied:
                        rank = rank_of_cell[cell + (trailing_zeros(occupied) >> 3)]
                        occupied &= occupied - np.uint64(1)
                        near[rank >> 6] |= np.uint64(1) << np.uint64(rank & 63)

            # The nearest of them have the lowest bits. The agent itself, which has rank 0, is excluded.
            part, bits = 0, near[0] & ~np.uint64(1)
            for k in range(nearest):
                here = entities_at + 8 * k
                while bits == 0 and part < sets - 1:
                    part += 1
                    bits = near[part]
                if bits == 0:
                    store(record, here, np.uint64(0))
                    if extended:
                        store(record, looks_at + 8 * k, np.uint64(0))
                    record[kind_at + k] = 0
                    seen[i, k] = -1
                    distance[k] = OUT_OF_REACH
                    continue
                rank = 64 * part + trailing_zeros(bits)
                bits &= bits - np.uint64(1)
                dy, dx = order[rank, 0], order[rank, 1]
                there = tile + dy * width + dx
                other = occupant[there] - 1
                seen[i, k] = other
                known = realm * (slots + npcs) + other
                store(record, here, public_stats[known] | np.uint64(dy & 0xFF | (dx & 0xFF) << 8))
                distance[k] = distance_of_rank[rank]
                if extended:
                    look = entity_attributes[known]
                    store(record, looks_at + 8 * k, look)
                    if rolls and look >> IMMUNE:
                        distance[k] = OUT_OF_REACH
                record[kind_at + k] = record[occupant_at + cell_of_rank[rank]]
            for part in range(sets):
                near[part] = 0

            record[move_at] = 1
            for m in range(1, 5):
                goal = tile + STEPS[m, 0] * width + STEPS[m, 1]
                free = WALKABLE[material[goal]] and presence[goal] == 0 and freeze[e] == 0
                record[move_at + m] = free
            for s in range(3):
                here = target_at + s * (nearest + 1)
                record[here] = 1
                possible = s == 0
                far = reach[s]
                if rolls and s == RANGE and worn[3 * i + KNIFE] == 0:
                    far = 0
                for k in range(nearest):
                    within = distance[k] <= far
                    record[here + 1 + k] = within
                    possible |= within
                record[style_at + s] = possible

    if not extended:
        made: Callable[..., None] = loop
        return made
    goods = goods_loop(config)

    @compiled
    def both(first, second, records, shorts, seen, queue, low, high):
        for start in range(low, high, BLOCK):
            end = min(start + BLOCK, high)
            loop(*first, records, shorts, seen, queue, start, end)
            goods(*second, queue, records, shorts, start, end)

    made = both
    return made


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


@compiled
def _write_cards(age, health, food, water, freeze, damage, public_stats, low, high):
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
    loop = _compiled(cfg)
    arrays = [
        t.view(-1).numpy()
        for t in (
            world.alive, world.row, world.col, world.health, world.food, world.water, world.freeze,
            world.heading, world.age, world.damage, world.material, world.occupant, world.presence,
            world.worn,
        )
    ]  # fmt: skip
    rows = records.view(-1, records.shape[-1]).numpy()
    queue = np.empty(len(rows) if _row_by_row(cfg) else 0, np.int64)
    if len(queue):
        order = (arrays[0], arrays[1], queue, cfg.slots, cfg.npc_slots, cfg.height)
        parallel(_sort_by_row, [(*order, *piece) for piece in realm_slices(world.realms)])
    entities = world.alive.numel()
    public_stats, entity_attributes = (
        np.empty(entities, np.uint64),
        np.empty(entities if cfg.extended else 0, np.uint64),
    )
    body = [
        t.view(-1).numpy()
        for t in (world.age, world.health, world.food, world.water, world.freeze, world.damage)
    ]
    pieces = chunks(entities, 1 << 14)
    parallel(_write_cards, [(*body, public_stats, *piece) for piece in pieces])
    fixed: tuple[Any, ...] = (*arrays, public_stats, entity_attributes)
    if cfg.extended:
        parallel(looks_loop(cfg), [(*looks_arrays(world), entity_attributes, *piece) for piece in pieces])
        fixed = (fixed, goods_arrays(world))
    out = (rows, rows.view(np.int16), seen.view(-1, seen.shape[-1]).numpy(), queue)
    parallel(loop, [(*fixed, *out, *piece) for piece in chunks(len(rows), 1 << 8)])
