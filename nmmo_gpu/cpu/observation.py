"""Observation as one compiled loop; twin of ``nmmo_gpu.world.observation``."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.cpu.compile import compiled
from nmmo_gpu.cpu.threads import chunks, parallel, realm_slices
from nmmo_gpu.cpu.words import ONES, load, nonzero_bytes, store, trailing_zeros
from nmmo_gpu.world import observation as rule
from nmmo_gpu.world.content import walkable_table
from nmmo_gpu.world.layout import FRIEND, STRANGER, ObservationLayout
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.state import World

WALKABLE = walkable_table().numpy()
STEPS = np.array(MOVES, np.int64)
LARGEST_BYTE, LARGEST_SHORT = 127, 32767
ROW_BY_ROW_FROM = 1 << 21
"""Tiles of a realm from which on agents look around in the order of their rows. The windows of neighbours
share cache lines, which on so large a map are gone before the next slot happens to be near by. On a smaller
map all tiles stay in the cache, and records are written faster in the order of the slots."""


@cache
def _compiled(config: WorldConfig) -> Callable[..., None]:
    """The loop for one config: its sizes are constants to the compiler, so that short loops unroll."""
    at = {name: field.offset for name, field in ObservationLayout(config).fields.items()}
    used = max(f.offset + f.bytes for f in ObservationLayout(config).fields.values())
    vision, window, nearest = config.vision, config.window, config.nearest
    words = -(-window // 8)
    slots, size = config.slots, config.population_size
    height, width = config.height, config.width
    immune_ticks = config.immune_ticks
    reach = tuple(r if d else 0 for r, d in zip(config.reach, config.damage, strict=True))
    order = np.array(rule.ring_order(vision), np.int64)
    rank_of_cell = np.empty(window * window, np.int64)
    rank_of_cell[(order[:, 0] + vision) * window + order[:, 1] + vision] = np.arange(len(order))
    distance_of_rank = np.abs(order).max(1)
    self_at, entities_at, kind_at = at["self"] // 2, at["entities"], at["entity_kind"]
    move_at, style_at, target_at = at["move_mask"], at["style_mask"], at["target_mask"]
    alive_at, material_at, occupant_at = at["alive"], at["material"], at["occupant"]
    row_by_row = _row_by_row(config)

    @compiled
    def loop(
        alive, row, col, health, food, water, freeze, heading, age, damage, material, occupant, presence,
        cards, records, shorts, seen, queue, low, high,
    ):  # fmt: skip
        best = np.empty(nearest, np.int64)
        for turn in range(low, high):
            i = queue[turn] if row_by_row else turn
            record = records[i]
            if not alive[i]:
                record[:] = 0
                seen[i, :] = -1
                continue
            realm, slot = i // slots, i % slots
            population = slot // size
            y, x = row[i], col[i]
            plane = realm * height * width
            tile = plane + y * width + x

            short = shorts[i]
            short[self_at] = min(age[i], LARGEST_SHORT)
            short[self_at + 1] = health[i]
            short[self_at + 2] = food[i]
            short[self_at + 3] = water[i]
            short[self_at + 4] = y
            short[self_at + 5] = x
            short[self_at + 6] = freeze[i]
            short[self_at + 7] = damage[i]
            short[self_at + 8] = age[i] < immune_ticks
            short[self_at + 9] = population
            short[self_at + 10] = STEPS[heading[i], 0]
            short[self_at + 11] = STEPS[heading[i], 1]
            record[alive_at] = 1
            record[used:] = 0

            # Windows, and on the way the nearest others: ranks in ring order, sorted by insertion.
            found = 0
            corner = tile - vision * (width + 1)
            mine = np.uint64(population + 1) * ONES
            for r in range(window):
                for w in range(words):
                    first = min(8 * w, window - 8)
                    cell = r * window + first
                    source = corner + r * width + first
                    store(record, material_at + cell, load(material, source))
                    who = load(presence, source)
                    somebody = nonzero_bytes(who)
                    store(record, occupant_at + cell, somebody + (somebody & nonzero_bytes(who ^ mine)))
                    # The last word of a row begins within the one before it; look at each cell once.
                    somebody >>= np.uint64(8 * (8 * w - first))
                    cell += 8 * w - first
                    while somebody:
                        rank = rank_of_cell[cell + (trailing_zeros(somebody) >> 3)]
                        somebody &= somebody - np.uint64(1)
                        if rank == 0 or (found == nearest and rank > best[nearest - 1]):
                            continue
                        if found < nearest:
                            found += 1
                        k = found - 1
                        while k > 0 and best[k - 1] > rank:
                            best[k] = best[k - 1]
                            k -= 1
                        best[k] = rank

            for k in range(nearest):
                here = entities_at + 8 * k
                if k >= found:
                    store(record, here, np.uint64(0))
                    record[kind_at + k] = 0
                    seen[i, k] = -1
                    continue
                dy, dx = order[best[k], 0], order[best[k], 1]
                other = occupant[tile + dy * width + dx] - 1
                seen[i, k] = other
                store(record, here, cards[realm * slots + other] | np.uint64(dy & 0xFF | (dx & 0xFF) << 8))
                record[kind_at + k] = FRIEND if other // size == population else STRANGER

            record[move_at] = 1
            for m in range(1, 5):
                goal = tile + STEPS[m, 0] * width + STEPS[m, 1]
                free = WALKABLE[material[goal]] and presence[goal] == 0 and freeze[i] == 0
                record[move_at + m] = free
            for s in range(3):
                here = target_at + s * (nearest + 1)
                record[here] = 1
                anybody_near = s == 0
                for k in range(nearest):
                    near = k < found and distance_of_rank[best[k]] <= reach[s]
                    record[here + 1 + k] = near
                    anybody_near |= near
                record[style_at + s] = anybody_near

    made: Callable[..., None] = loop
    return made


def _row_by_row(config: WorldConfig) -> bool:
    return config.height * config.width >= ROW_BY_ROW_FROM


@compiled
def _sort_by_row(alive, row, queue, slots, height, low, high):
    """``queue``: the slots, counted through all realms, realm by realm in the order of their agents' rows."""
    end = np.empty(height + 1, np.int64)
    for r in range(low, high):
        end[:] = 0
        for i in range(r * slots, (r + 1) * slots):
            end[row[i] + 1 if alive[i] else 0] += 1
        end[0] += r * slots
        for y in range(height):
            end[y + 1] += end[y]
        for i in range((r + 1) * slots - 1, r * slots - 1, -1):
            y = row[i] + 1 if alive[i] else 0
            end[y] -= 1
            queue[end[y]] = i


@compiled(inline="always")
def _byte(value, place):
    return np.uint64(min(value, LARGEST_BYTE)) << np.uint64(8 * place)


@compiled
def _write_cards(age, health, food, water, freeze, damage, cards, low, high):
    """What others see of each slot, as one word; its two lowest bytes stay empty for the offsets."""
    for i in range(low, high):
        body = _byte(age[i], 2) | _byte(health[i], 3) | _byte(food[i], 4) | _byte(water[i], 5)
        cards[i] = body | _byte(freeze[i], 6) | _byte(damage[i], 7)


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    if world.config.window < 8:  # the loops look at eight tiles of a row at a time
        rule.observe(world, records, seen)
        return
    loop = _compiled(world.config)
    arrays = [
        t.view(-1).numpy()
        for t in (
            world.alive, world.row, world.col, world.health, world.food, world.water, world.freeze,
            world.heading, world.age, world.damage, world.material, world.occupant, world.presence,
        )
    ]  # fmt: skip
    rows = records.view(-1, records.shape[-1]).numpy()
    queue = np.empty(len(rows) if _row_by_row(world.config) else 0, np.int64)
    if len(queue):
        sizes = (world.config.slots, world.config.height)
        fixed = (arrays[0], arrays[1], queue, *sizes)
        parallel(_sort_by_row, [(*fixed, *piece) for piece in realm_slices(world.realms)])
    cards = np.empty(len(rows), np.uint64)
    looks = [
        t.view(-1).numpy()
        for t in (world.age, world.health, world.food, world.water, world.freeze, world.damage)
    ]
    parallel(_write_cards, [(*looks, cards, *piece) for piece in chunks(len(rows), 1 << 14)])
    out = (cards, rows, rows.view(np.int16), seen.view(-1, seen.shape[-1]).numpy(), queue)
    parallel(loop, [(*arrays, *out, *piece) for piece in chunks(len(rows), 1 << 8)])
