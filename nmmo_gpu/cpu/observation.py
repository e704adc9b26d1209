"""Observation as one compiled loop; twin of ``nmmo_gpu.world.observation``."""

# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numba
import numpy as np
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.cpu.threads import parallel, slices
from nmmo_gpu.world.content import walkable_table
from nmmo_gpu.world.layout import FRIEND, STRANGER, ObservationLayout
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.state import World

WALKABLE = walkable_table().numpy()
STEPS = np.array(MOVES, np.int64)
LARGEST_BYTE, LARGEST_SHORT = 127, 32767


@cache
def _compiled(config: WorldConfig) -> Callable[..., None]:
    """The loop for one config: its sizes are constants to the compiler, so that short loops unroll."""
    at = {name: field.offset for name, field in ObservationLayout(config).fields.items()}
    used = max(f.offset + f.bytes for f in ObservationLayout(config).fields.values())
    vision, window, nearest = config.vision, config.window, config.nearest
    slots, size = config.slots, config.population_size
    height, width = config.height, config.width
    immune_ticks = config.immune_ticks
    reach = tuple(r if d else 0 for r, d in zip(config.reach, config.damage, strict=True))
    order = np.array(ring_order(vision), np.int64)
    rank_of_cell = np.empty(window * window, np.int64)
    rank_of_cell[(order[:, 0] + vision) * window + order[:, 1] + vision] = np.arange(len(order))
    distance_of_rank = np.abs(order).max(1)
    self_at, entities_at, kind_at = at["self"] // 2, at["entities"], at["entity_kind"]
    move_at, style_at, target_at = at["move_mask"], at["style_mask"], at["target_mask"]
    alive_at, material_at, occupant_at = at["alive"], at["material"], at["occupant"]

    @numba.njit(nogil=True, cache=True)
    def loop(
        alive, row, col, health, food, water, freeze, age, damage, material, occupant, presence,
        records, shorts, seen, low, high,
    ):  # fmt: skip
        best = np.empty(nearest, np.int64)
        for i in range(low, high):
            record = records[i]
            if not alive[i]:
                record[:] = 0
                seen[i, :] = -1
                continue
            realm, slot = i // slots, i % slots
            population = slot // size
            mine = population + 1
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
            record[alive_at] = 1
            record[used:] = 0

            # Windows, and on the way the nearest others: ranks in ring order, sorted by insertion.
            found = 0
            corner = tile - vision * (width + 1)
            for r in range(window):
                source = corner + r * width
                here = material_at + r * window
                for c in range(window):
                    record[here + c] = material[source + c]
                here = occupant_at + r * window
                anybody = np.uint8(0)
                for c in range(window):
                    who = presence[source + c]
                    anybody |= who
                    record[here + c] = (who != 0) + ((who != 0) & (who != mine))
                if anybody:
                    for c in range(window):
                        if record[here + c]:
                            rank = rank_of_cell[r * window + c]
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
                    record[here : here + 8] = 0
                    record[kind_at + k] = 0
                    seen[i, k] = -1
                    continue
                dy, dx = order[best[k], 0], order[best[k], 1]
                other_slot = occupant[tile + dy * width + dx] - 1
                other = realm * slots + other_slot
                seen[i, k] = other_slot
                record[here] = dy & 0xFF
                record[here + 1] = dx & 0xFF
                record[here + 2] = min(age[other], LARGEST_BYTE)
                record[here + 3] = min(health[other], LARGEST_BYTE)
                record[here + 4] = min(food[other], LARGEST_BYTE)
                record[here + 5] = min(water[other], LARGEST_BYTE)
                record[here + 6] = min(freeze[other], LARGEST_BYTE)
                record[here + 7] = min(damage[other], LARGEST_BYTE)
                record[kind_at + k] = FRIEND if other_slot // size == population else STRANGER

            record[move_at] = 1
            for m in range(1, 5):
                goal = tile + STEPS[m, 0] * width + STEPS[m, 1]
                free = WALKABLE[material[goal]] and occupant[goal] == 0 and freeze[i] == 0
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

    return loop


def observe(world: World, records: Tensor, seen: Tensor) -> None:
    """See ``nmmo_gpu.world.observation.observe``."""
    loop = _compiled(world.config)
    arrays = [
        t.view(-1).numpy()
        for t in (
            world.alive, world.row, world.col, world.health, world.food, world.water, world.freeze,
            world.age, world.damage, world.material, world.occupant, world.presence,
        )
    ]  # fmt: skip
    rows = records.view(-1, records.shape[-1]).numpy()
    out = (rows, rows.view(np.int16), seen.view(-1, seen.shape[-1]).numpy())
    parallel(loop, [(*arrays, *out, *piece) for piece in slices(len(rows), 8)])
