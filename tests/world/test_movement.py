"""Movement: what blocks a move, and which of several agents gets a tile."""

from __future__ import annotations

import pytest
import torch
from support.helpers import SLOT_NAMES, assert_same, chi_square, draw_world, orders, rows_of, show, unclean

from nmmo_gpu.world import tick


def move(backend, world, **directions):
    """Moves the agents named a0, a1, ... in one tick."""
    moves = {SLOT_NAMES.index(name[1:]): direction for name, direction in directions.items()}
    backend.movement(world, orders(world, move=moves)[0])


def test_the_five_moves(any_backend):
    picture = """
        .....
        .0.1.
        .....
        .2.3.
        ..4..
    """
    world = draw_world(picture)
    move(any_backend, world, a0="east", a1="south", a2="west", a3="north", a4="stay")
    # 1 and 3 wanted the same tile from opposite sides; the loser stayed.
    after = show(world, picture)
    assert after[1][:3] == "..0" and after[3][:3] == "2.." and after[4] == "..4.."
    column = "".join(line[3] for line in after)
    assert column in (".." + "1" + "3.", ".1" + "3" + "..")


@pytest.mark.parametrize(
    ("ground", "enters"),
    [("~", False), ("#", False), ("%", False), ("^", True), (".", True), (",", True), ("f", True)],
)
def test_water_stone_and_orerock_block_and_all_else_is_entered(any_backend, ground, enters):
    """Lava is entered too."""
    for picture, direction, after in (
        (f"0{ground}", "east", ".0"),
        (f"{ground}0", "west", "0."),
        (f"0\n{ground}", "south", ".\n0"),
        (f"{ground}\n0", "north", "0\n."),
    ):
        world = draw_world(picture)
        move(any_backend, world, a0=direction)
        assert show(world, picture) == rows_of(after if enters else picture)


def test_the_current_material_decides_not_the_base(any_backend):
    """A tile with base stone that is grass now is entered; the reverse is not."""
    picture = "0#\n1."
    world = draw_world(picture)
    world.material.copy_(torch.where(world.base == 5, 2, torch.where(world.base == 2, 5, world.base)))
    move(any_backend, world, a0="east", a1="east")
    assert [int(world.col[0, slot]) - 8 for slot in (0, 1)] == [1, 0]


def test_a_tile_that_is_being_left_is_not_entered(any_backend):
    picture = "012.3."
    world = draw_world(picture)
    move(any_backend, world, a0="east", a1="east", a2="east", a3="west")
    assert show(world, picture)[0] in ("01.23.", "0123..")
    # 2 and 3 wanted the tile between them, so one of them is there, and 0 and 1 have not moved.


def test_neighbors_do_not_swap_and_rings_do_not_rotate(any_backend):
    picture = "01\n32"
    world = draw_world(picture)
    before = world.clone()
    move(any_backend, world, a0="east", a1="west")
    assert_same(world, before)
    move(any_backend, world, a0="east", a1="south", a2="west", a3="north")
    assert_same(world, before)


def test_a_tile_whose_agent_stays_or_is_blocked_is_not_entered(any_backend):
    picture = "01#2"
    world = draw_world(picture)
    before = world.clone()
    move(any_backend, world, a0="east", a1="east", a2="west")
    assert_same(world, before)


def test_frozen_killed_and_dead_agents_do_not_move(any_backend):
    picture = "0.\n1.\n2.\n3."
    world = draw_world(picture, slots=5)
    world.freeze[0] = torch.tensor([1, 0, 0, 2, 0])
    world.health[0, 1] = 0  # killed this tick
    move(any_backend, world, a0="east", a1="east", a2="east", a3="east", a4="east")
    assert show(world, picture) == ["0.", "1.", ".2", "3."]
    assert (int(world.row[0, 4]), int(world.col[0, 4])) == (0, 0)


def test_a_frozen_agent_does_not_compete(any_backend):
    """Only 1 can move, so 1 gets the tile, whatever the draw."""
    picture = "0.1"
    for time in range(8):
        world = draw_world(picture)
        world.tick.fill_(time)
        world.freeze[0, 0] = 1
        move(any_backend, world, a0="east", a1="west")
        assert show(world, picture) == ["01."]


def test_an_agent_that_thaws_this_tick_does_not_move_yet(any_backend):
    """Freeze counts as it is at the start of the tick, before upkeep lowers it."""
    picture = "0..."
    world = draw_world(picture)
    world.freeze[0, 0] = 1
    seen = []
    for _ in range(3):
        tick.step(world, any_backend, *orders(world, move={0: "east"}))
        seen.append(show(world, picture)[0])
    assert seen == ["0...", ".0..", "..0."]


def test_planes_and_positions_agree_and_the_workspace_is_clean(any_backend):
    world = draw_world("0...1", slots=6, populations=3, realms=3)
    move(any_backend, world, a0="east", a1="west")
    for slot in (0, 1):
        col = 8 + (1 if slot == 0 else 3)
        assert (world.row[:, slot] == 8).all() and (world.col[:, slot] == col).all()
        assert (world.occupant[:, 8, col] == slot + 1).all() and (world.presence[:, 8, col] == 1).all()
    assert (world.occupant != 0).sum() == 6 and (world.presence != 0).sum() == 6
    assert unclean(world) == []


STARS = {
    2: ("0.1", {"a0": "east", "a1": "west"}),
    3: (".0.\n1.2", {"a0": "south", "a1": "east", "a2": "west"}),
    4: (".0.\n1.2\n.3.", {"a0": "south", "a1": "east", "a2": "west", "a3": "north"}),
}


def winners(backend, picture, orders_, seed=1, realms=60, ticks=25):
    """Returns [ticks, realms], the slot that got the contested tile; exactly one did, and all others
    stayed."""
    world = draw_world(picture, realms=realms, seed=seed)
    lines = rows_of(picture)
    y, x = next((y, line.index(".", 1)) for y, line in enumerate(lines) if line[1:2] == ".")
    count = sum(sign in SLOT_NAMES for line in lines for sign in line)
    won = []
    for time in range(ticks):
        after = world.clone()
        after.tick.fill_(time)
        move(backend, after, **orders_)
        winner = after.occupant[:, 8 + y, 8 + x].long() - 1
        assert (winner >= 0).all(), "no agent got a free tile"
        stayed = (after.row == world.row) & (after.col == world.col)
        assert (stayed.sum(1) == count - 1).all()
        assert not stayed[torch.arange(realms), winner].any()
        assert (after.occupant != 0).sum() == (after.presence != 0).sum() == count * realms
        assert unclean(after) == []
        won.append(winner)
    return torch.stack(won)


@pytest.mark.parametrize("competitors", STARS)
def test_a_contested_tile_has_one_winner_drawn_uniformly_in_each_tick(backend, competitors):
    won = winners(backend, *STARS[competitors])
    statistic, limit = chi_square(torch.bincount(won.view(-1), minlength=competitors))
    assert statistic < limit
    assert (won.amin(0) != won.amax(0)).all(), "in some realm the same agent won every tick"
    assert (won.amin(1) != won.amax(1)).all(), "in some tick the same agent won in every realm"


@pytest.mark.parametrize("competitors", [2, 3])
def test_any_sides_compete_fairly(backend, competitors):
    """Every combination of sides, also adjacent ones."""
    sides = {"a0": ("south", 0, 1), "a1": ("west", 1, 2), "a2": ("north", 2, 1), "a3": ("east", 1, 0)}
    for first in range(4):
        chosen = [list(sides)[(first + k) % 4] for k in range(competitors)]
        grid = [list("..."), list("..."), list("...")]
        plan = {}
        for slot, name in enumerate(chosen):
            direction, y, x = sides[name]
            grid[y][x] = str(slot)
            plan[f"a{slot}"] = direction
        grid[0] = [sign if sign != "." else "#" for sign in grid[0]]
        won = winners(backend, "\n".join(map("".join, grid)), plan, seed=first, ticks=12)
        statistic, limit = chi_square(torch.bincount(won.view(-1), minlength=competitors))
        assert statistic < limit


def test_the_winner_depends_on_the_tile_not_on_the_slots(backend):
    """With reversed slots, the same side wins in the same place."""
    picture, plan = STARS[4]
    mirrored = picture.translate(str.maketrans("0123", "3210"))
    turned = {f"a{3 - int(name[1:])}": direction for name, direction in plan.items()}
    first, second = winners(backend, picture, plan), winners(backend, mirrored, turned)
    assert torch.equal(first, 3 - second)


def test_seeds_draw_different_winners(backend):
    picture, plan = STARS[4]
    first, second = winners(backend, picture, plan, seed=1), winners(backend, picture, plan, seed=-1)
    agree = float((first == second).double().mean())
    assert 0.2 < agree < 0.3


def test_heading_is_that_of_the_last_successful_move(any_backend):
    """An agent that is blocked, is frozen, loses the tile or stays keeps its heading."""
    picture = "0.#1\n2.~3\n4.5."
    world = draw_world(picture)
    world.heading.fill_(3)
    world.freeze[0, 2] = 1
    move(any_backend, world, a0="east", a1="west", a2="east", a3="north", a4="east", a5="west")
    assert world.heading[0, :4].tolist() == [1, 3, 3, 3]
    assert sorted(world.heading[0, 4:].tolist()) == ([1, 3] if world.occupant[0, 10, 9] == 5 else [3, 3])


def test_several_contests_in_one_realm_are_independent(backend):
    """Two contested tiles are next to each other: each has one winner, and all four outcomes occur."""
    picture = "0.1\n2.3"
    outcomes = set()
    for time in range(40):
        world = draw_world(picture)
        world.tick.fill_(time)
        move(backend, world, a0="east", a1="west", a2="east", a3="west")
        outcomes.add(tuple(line[1] for line in show(world, picture)))
    assert outcomes == {("0", "2"), ("0", "3"), ("1", "2"), ("1", "3")}


def test_an_empty_realm_does_not_change(any_backend):
    world = draw_world("...", slots=7, realms=3)
    before = world.clone()
    any_backend.movement(world, torch.ones(3, 7, dtype=torch.int64))
    assert_same(world, before)
