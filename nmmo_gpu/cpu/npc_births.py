"""Births of NPCs as compiled loops; twin of ``nmmo_gpu.world.npc_births``."""

from typing import Any

import numpy as np

from nmmo_gpu.cpu.compile import arrays_of, compiled
from nmmo_gpu.cpu.npcs import HABITAT, HEALTH, habits, kinds
from nmmo_gpu.cpu.random import below, draw
from nmmo_gpu.cpu.spawning import inland
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import npc_births as rule
from nmmo_gpu.world.npc_births import order_mask
from nmmo_gpu.world.npcs import chance
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_BIRTH_FIELDS = (
    "alive entity row col health food water freeze heading age damage aggro_target aggro_entity "
    "aggro_ticks material occupant presence next_entity"
)

BIRTH_STREAM, ORDER_STREAM = int(Stream.NPC_BIRTH), int(Stream.BIRTH_ORDER)
CANDIDATES = rule.CANDIDATES
SIXTEEN = np.uint64(16)


@compiled
def _npc_births(seed, tick, world, kinds, habits, config, low, high):
    """Processes realms ``low`` to ``high``.

    ``config``: the chance of a birth as in ``world.npcs.chance``, border, number of tiles inland, mask of the
    order of births, populations."""
    (
        alive, entity, row, col, health, food, water, freeze, heading, age, damage, aggro_target,
        aggro_entity, aggro_ticks, material, occupant, presence, next_entity
    ) = world  # fmt: skip
    trying, border, places, mask, populations = config
    slots = alive.shape[1]
    npcs = aggro_target.shape[1]
    agents = slots - npcs
    width = occupant.shape[2]
    tried = np.empty(npcs, np.int64)
    tile = np.empty(npcs, np.int64)
    for r in range(low, high):
        ground = material[r].reshape(-1)
        stands = occupant[r].reshape(-1)
        shows = presence[r].reshape(-1)
        # During the draws, a free tile that was drawn holds -1 - rank of its current winner.
        count = 0
        order = 0
        for n in range(npcs):
            a = agents + n
            if alive[r, a]:
                continue
            words = draw(seed, tick, BIRTH_STREAM, r, 8 * a)
            if np.int64(words[0] >> SIXTEEN) >= trying:
                continue
            home = habits[kinds[a], HABITAT]
            for candidate in range(1, CANDIDATES + 1):
                part = candidate % 4
                if part == 0:
                    words = draw(seed, tick, BIRTH_STREAM, r, 8 * a + candidate // 4)
                at = inland(below(words[part], places), border, width)
                if not home >> ground[at] & 1 or stands[at] > 0:
                    continue
                if count == 0:
                    order = np.int64(draw(seed, tick, ORDER_STREAM, r, 0)[0]) & mask
                stands[at] = min(stands[at], -1 - (n ^ order))
                tried[count] = n
                tile[count] = at
                count += 1
                break
        for i in range(count):
            n, at = tried[i], tile[i]
            if stands[at] != -1 - (n ^ order):
                continue
            a = agents + n
            kind = kinds[a]
            alive[r, a] = True
            entity[r, a] = next_entity[r]
            next_entity[r] += 1
            row[r, a] = at // width
            col[r, a] = at % width
            health[r, a] = habits[kind, HEALTH]
            food[r, a] = 0
            water[r, a] = 0
            freeze[r, a] = 0
            heading[r, a] = 0
            age[r, a] = 0
            damage[r, a] = 0
            aggro_target[r, n] = -1
            aggro_entity[r, n] = -1
            aggro_ticks[r, n] = 0
            stands[at] = a + 1
            shows[at] = populations + 1 + kind


def arguments(world: World) -> tuple[Any, ...]:
    """Arguments of ``_npc_births``, except the range of realms."""
    cfg = world.config
    config = chance(cfg.npc_births), cfg.border, cfg.inland, order_mask(cfg), cfg.populations
    fields = arrays_of(_BIRTH_FIELDS, world)
    return world.seed.numpy(), int(world.tick), fields, kinds(cfg), habits(cfg.tables.npcs), config


def npc_births(world: World) -> None:
    """See ``nmmo_gpu.world.npc_births.npc_births``."""
    fixed = arguments(world)
    parallel(_npc_births, [(*fixed, *piece) for piece in realm_slices(world.realms)])
