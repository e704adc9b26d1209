"""Contests for a tile, for kernels; twin of ``nmmo_gpu.world.contest``.

The rule draws the winner of a tile among the directions from which it is claimed. A program finds these
without a plane of claims: it reads the tile's neighbors and the claims of their occupants."""

import triton
import triton.language as tl

from nmmo_gpu.kernels.random import below, draw_word

NOTE = tl.constexpr(8)
"""``wants`` modulo ``NOTE`` is the direction of the tile that a slot claims, 1 to 4 as in moves, or 0."""


@triton.jit
def wins(world, STREAM: tl.constexpr, realm, row, col, direction, wants, slots, config: tl.constexpr):
    """Returns [...] bool: whether each slot wins the tile (``row``, ``col``) that it claims by moving in
    ``direction`` (0 for none). All claimants of a tile find the same claims and draw the same random word, so
    they agree on one winner.

    Args:
        world: fields ``seed``, ``tick`` and ``occupant``.
        wants: [R, slots], see ``NOTE``; slots beyond these claim nothing.
        config: settings ``height`` and ``width``.
    """
    claims = direction > 0
    plane = realm * (config.height * config.width)
    # The number of claims, and the number of claims with a lower direction than this one.
    claimants, before = tl.zeros(direction.shape, tl.int32), tl.zeros(direction.shape, tl.int32)
    for other in tl.static_range(1, 5):
        from_row = row - ((other == 2) - (other == 4))
        from_col = col - ((other == 1) - (other == 3))
        there = claims & (from_row >= 0) & (from_row < config.height)
        there = there & (from_col >= 0) & (from_col < config.width)
        who = tl.load(world.occupant + plane + from_row * config.width + from_col, mask=there, other=0)
        there = there & (who > 0) & (who <= slots)
        aim = tl.load(wants + realm * slots + who - 1, mask=there, other=0).to(tl.int32) % NOTE
        claimants += (aim == other).to(tl.int32)
        before += ((aim == other) & (other < direction)).to(tl.int32)
    won = claims
    if tl.max(claimants, 0) > 1:
        word = draw_word(world, STREAM, realm, row * config.width + col)
        won = claims & (below(word, claimants) == before)
    return won
