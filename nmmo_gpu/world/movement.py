"""Movement: at most one agent to a tile, ties drawn fairly."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from nmmo_gpu.world.content import walkable_table
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import World

MOVES = ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))
"""(row, column) offset of stay, east, south, west, north."""

# A tile's competitors come from its four sides, so a claim is one of four bits, and a set of claims one of
# 16 masks. CLAIMANTS[mask] is how many bits are set, NTH[mask][n] the n-th of them.
CLAIMANTS = tuple(mask.bit_count() for mask in range(16))
NTH = tuple(
    tuple((bits + [0] * 4)[:4]) for bits in ([1 << d for d in range(4) if m >> d & 1] for m in range(16))
)


@cache
def _tables(device: torch.device, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    offsets = torch.tensor(MOVES, dtype=torch.int32, device=device)
    step = (offsets[:, 0] * width + offsets[:, 1]).long()
    bit = torch.tensor([0, 1, 2, 4, 8], dtype=torch.uint8, device=device)
    claimants = torch.tensor(CLAIMANTS, device=device)
    nth = torch.tensor(NTH, dtype=torch.uint8, device=device)
    return offsets, step, bit, claimants, nth


def claims_plane(world: World) -> Tensor:
    """[R, H, W] uint8, a workspace of zeros: one bit per direction from which a tile is claimed."""
    return world.workspace("claims", tuple(world.material.shape), torch.uint8, fill=0)


def movement(world: World, move: Tensor) -> None:
    """Moves everybody at once, agents and NPCs.

    A move succeeds when the tile is walkable, was empty at the start of the tick, and no competitor wins
    it. The winner is drawn per tile, not per agent, so no slot has an advantage. Nobody follows into a
    tile that is being left. The frozen and those killed this tick stay.

    Args:
        move: [R, S] int64; 0 stay, 1 east, 2 south, 3 west, 4 north.
    """
    cfg = world.config
    offsets, steps, bits, claimants, nth = _tables(world.device, cfg.width)
    material, occupant = world.material.view(-1), world.occupant.view(-1)
    presence, claims = world.presence.view(-1), claims_plane(world).view(-1)
    row, col = world.row.view(-1), world.col.view(-1)

    able = world.alive & (world.freeze == 0) & (world.health > 0)
    mover = (able & (move > 0)).view(-1).nonzero().squeeze(1)
    direction = move.reshape(-1)[mover]
    realm = mover // cfg.entities
    area = cfg.height * cfg.width
    origin = row[mover] * cfg.width + col[mover] + realm * area
    goal = origin + steps[direction]
    free = (walkable_table(world.device)[material[goal].long()] & (occupant[goal] == 0)).nonzero().squeeze(1)
    mover, direction, realm = mover[free], direction[free], realm[free]
    origin, goal, bit = origin[free], goal[free], bits[direction]

    # Claim: bits of one tile are all different, so adding them is a set union, in any order.
    claims.scatter_add_(0, goal, bit)
    mask = claims[goal]
    claims[goal] = 0
    won = mask == bit
    contested = (~won).nonzero().squeeze(1)
    if contested.numel():
        tile, among = goal[contested], mask[contested].long()
        word = draw(world.seed, world.tick, Stream.MOVE, realm[contested], tile % area)[0]
        won[contested] = nth[among, below(word, claimants[among])] == bit[contested]

    # Commit: a tile has one winner, so no two writes meet.
    winner = won.nonzero().squeeze(1)
    mover, origin, goal = mover[winner], origin[winner], goal[winner]
    occupant[goal] = occupant[origin]
    occupant[origin] = 0
    presence[goal] = presence[origin]
    presence[origin] = 0
    shift = offsets[direction[winner]]
    world.heading.view(-1)[mover] = direction[winner].to(torch.uint8)
    row[mover] += shift[:, 0]
    col[mover] += shift[:, 1]
