"""Contests for a tile among competitors from its sides: one wins, drawn uniformly."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.content.tables import tensor
from nmmo_gpu.world.random import Stream, below, draw
from nmmo_gpu.world.state import World

# A tile's competitors come from its four sides, so a claim is one of four bits, and a set of claims one of
# 16 masks. CLAIMANTS[mask] is the number of set bits, NTH[mask][n] the n-th of them.
CLAIMANTS = tuple(mask.bit_count() for mask in range(16))
NTH = tuple(
    tuple((bits + [0] * 4)[:4]) for bits in ([1 << d for d in range(4) if m >> d & 1] for m in range(16))
)


def claims_plane(world: World) -> Tensor:
    """[R, H, W] uint8, a workspace of zeros: one bit per direction from which a tile is claimed."""
    return world.workspace("claims", tuple(world.material.shape), torch.uint8, fill=0)


def contest(world: World, stream: Stream, realm: Tensor, tile: Tensor, direction: Tensor) -> Tensor:
    """[k] bool: whether each competitor wins the tile that it claims.

    The winner is drawn per tile, not per agent, so no slot has an advantage.

    Args:
        stream: the stream of the draw.
        realm: [k] int64.
        tile: [k] int64, index into a flattened [R, H, W] plane.
        direction: [k] int64, 1 to 4, the move by which each enters the tile; all different for one tile.
    """
    area = world.config.height * world.config.width
    claims = claims_plane(world).view(-1)
    bit = tensor((0, 1, 2, 4, 8), world.device, torch.uint8)[direction]
    # The bits of one tile are all different, so adding them is a set union, in any order.
    claims.scatter_add_(0, tile, bit)
    mask = claims[tile]
    claims[tile] = 0
    won = mask == bit
    contested = (~won).nonzero().squeeze(1)
    if contested.numel():
        among = mask[contested].long()
        word = draw(world.seed, world.tick, stream, realm[contested], tile[contested] % area)[0]
        nth = below(word, tensor(CLAIMANTS, world.device)[among])
        won[contested] = tensor(NTH, world.device, torch.uint8)[among, nth] == bit[contested]
    return won
