"""Movement: at most one agent per tile, ties drawn uniformly."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content import walkable_table
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.world.contest import contest
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
"""(row, column) offset of stay, east, south, west, north."""


def steps(world: World) -> Tensor:
    """[5] int64: what each move adds to the index of a tile, row * width + column."""
    width = world.config.width
    return tensor(tuple(row * width + col for row, col in MOVES), world.device)


def movement(world: World, move: Tensor) -> None:
    """Moves all agents and NPCs at once.

    A move succeeds if the tile is walkable, was empty at the start of the tick, and no competitor wins it
    (see ``contest``). An entity cannot enter a tile that another one is leaving. Frozen entities and those
    killed this tick stay.

    Args:
        move: [R, S] int64; 0 stay, 1 east, 2 south, 3 west, 4 north.
    """
    cfg = world.config
    material, occupant = world.material.view(-1), world.occupant.view(-1)
    presence, row, col = world.presence.view(-1), world.row.view(-1), world.col.view(-1)

    able = world.alive & (world.freeze == 0) & (world.health > 0)
    mover = (able & (move > 0)).view(-1).nonzero().squeeze(1)
    direction = move.reshape(-1)[mover]
    realm = mover // cfg.entities
    origin = row[mover] * cfg.width + col[mover] + realm * (cfg.height * cfg.width)
    goal = origin + steps(world)[direction]
    free = (walkable_table(world.device)[material[goal].long()] & (occupant[goal] == 0)).nonzero().squeeze(1)
    mover, direction, realm, origin, goal = (t[free] for t in (mover, direction, realm, origin, goal))

    # A tile has one winner, so no two writes conflict.
    won = contest(world, Stream.MOVE, realm, goal, direction).nonzero().squeeze(1)
    mover, direction, origin, goal = mover[won], direction[won], origin[won], goal[won]
    occupant[goal] = occupant[origin]
    occupant[origin] = 0
    presence[goal] = presence[origin]
    presence[origin] = 0
    shift = tensor(MOVES, world.device, torch.int32)[direction]
    world.heading.view(-1)[mover] = direction.to(torch.uint8)
    row[mover] += shift[:, 0]
    col[mover] += shift[:, 1]
