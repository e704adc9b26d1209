"""Movement as compiled loops; twin of ``nmmo_gpu.world.movement``."""

from typing import Any

import numpy as np
from torch import Tensor

from nmmo_gpu.content import walkable_table
from nmmo_gpu.cpu.compile import arrays_of, choices_of, compiled
from nmmo_gpu.cpu.contest import wins
from nmmo_gpu.cpu.threads import parallel, realm_slices
from nmmo_gpu.world import movement as rule
from nmmo_gpu.world.contest import claims_plane
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

_MOVE_FIELDS = "alive freeze health heading row col material occupant presence"

MOVES = np.array(rule.MOVES, np.int64)
WALKABLE = walkable_table().numpy()
STREAM = int(Stream.MOVE)


@compiled
def _movement(seed, tick, move, world, claims, low, high):
    alive, freeze, health, heading, row, col, material, occupant, presence = world
    slots = alive.shape[1]
    goal = np.empty(slots, np.int64)
    mover = np.empty(slots, np.int64)
    width = material.shape[2]
    for r in range(low, high):
        ground = material[r].reshape(-1)
        stands = occupant[r].reshape(-1)
        shows = presence[r].reshape(-1)
        claim = claims[r].reshape(-1)
        count = 0
        for a in range(slots):
            m = move[r, a]
            if m == 0 or not alive[r, a] or freeze[r, a] > 0 or health[r, a] <= 0:
                continue
            to = (row[r, a] + MOVES[m, 0]) * width + col[r, a] + MOVES[m, 1]
            if not WALKABLE[ground[to]] or stands[to] != 0:
                continue
            mover[count] = a
            goal[count] = to
            claim[to] |= np.uint8(1 << (m - 1))
            count += 1
        # All tiles are tested for occupancy before any entity moves.
        for i in range(count):
            a, to = mover[i], goal[i]
            m = move[r, a]
            if not wins(seed, tick, STREAM, r, to, claim[to], 1 << (m - 1)):
                continue
            here = row[r, a] * width + col[r, a]
            stands[to] = stands[here]
            stands[here] = 0
            shows[to] = shows[here]
            shows[here] = 0
            heading[r, a] = m
            row[r, a] += MOVES[m, 0]
            col[r, a] += MOVES[m, 1]
        for i in range(count):
            claim[goal[i]] = 0


def arguments(world: World, move: Tensor) -> tuple[Any, ...]:
    """Arguments of ``_movement``, except the range of realms."""
    fields, claims = arrays_of(_MOVE_FIELDS, world), claims_plane(world).numpy()
    return world.seed.numpy(), int(world.tick), *choices_of(move), fields, claims


def movement(world: World, move: Tensor) -> None:
    """See ``nmmo_gpu.world.movement.movement``."""
    fixed = arguments(world, move)
    parallel(_movement, [(*fixed, *piece) for piece in realm_slices(world.realms)])
