"""Movement."""

from __future__ import annotations

import torch
from support.helpers import blank_maps, place, random_orders, random_world
from support.parity import CRAMPED
from support.ticking import generator

from nmmo_gpu.config import preset
from nmmo_gpu.world.reset import empty_world


def test_random_moves(any_case):
    moved = 0
    for seed, world in any_case.worlds(wounded=True):
        move = random_orders(world, generator(seed))[0]
        after = any_case.twin.both("movement", world, move)
        moved += int((after.tile() != world.tile()).sum())
    assert moved > 0


def test_crowds_that_move_in_the_same_direction(any_case):
    """All agents move to one side, and to the middle from all four sides: blocked rows, and two, three or
    four agents of several blocks that compete for a tile."""
    both = any_case.twin.both
    world = random_world(any_case.config, any_case.setting.realms, 4, fill=1.0, odds=".,")
    for direction in any_case.twin.few(range(1, 5), (4,)):
        world = both("movement", world, torch.full(world.alive.shape, direction))
        world.tick += 1
    for time in range(3):
        south, east = world.row < 16 + time, world.col < 23
        vertical, horizontal = torch.where(south, 2, 4), torch.where(east, 1, 3)
        across = torch.rand(world.alive.shape, generator=generator(time)) < 0.5
        world = both("movement", world, torch.where(across, vertical, horizontal))
        world.tick += 1


def test_adjacent_contests_of_up_to_four_agents(twin, monkeypatch):
    """Crosses that tile the plane: the agents on the four arms of each compete for its center, and some of
    them are frozen. Slots are assigned at random, so that competitors belong to different blocks."""
    if not twin.compiled:
        monkeypatch.setattr("nmmo_gpu.kernels.launch.BLOCK", 32)
    arms = {(0, -1): 1, (-1, 0): 2, (0, 1): 3, (1, 0): 4}
    inside = {(row, col) for row in range(12, 21) for col in range(12, 35)}
    crosses = [
        {(row + down, col + right): direction for (down, right), direction in arms.items()}
        for row, col in sorted(inside)
        if (row + 2 * col) % 5 == 0
    ]
    moves = {at: direction for cross in crosses if inside >= cross.keys() for at, direction in cross.items()}
    config = preset("chaos", **CRAMPED, slots=len(moves), populations=1, births=0)
    world = empty_world(config, blank_maps(config, 1), 3)
    move = torch.zeros(1, len(moves), dtype=torch.int64)
    places = list(moves)
    for slot, k in enumerate(torch.randperm(len(moves), generator=generator(1)).tolist()):
        place(world, 0, slot, *places[k])
        move[0, slot] = moves[places[k]]
    won = set()
    for time in range(4):
        world.tick.fill_(time)
        world.freeze.copy_(torch.rand(1, len(moves), generator=generator(time)) < 0.1 * time)
        after = twin.both("movement", world, move)
        moved = after.tile() != world.tile()
        won |= set(move[0, moved].tolist())
        centers = len(moves) // 4
        assert moved.sum() == centers if time == 0 else moved.sum() > 0.9 * centers
    assert len(moves) > 80 and won == {1, 2, 3, 4}
