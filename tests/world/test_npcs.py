"""NPCs: how they wander, which agents they hunt, and how long they stay provoked."""

from __future__ import annotations

import pytest
import torch
from support.helpers import SLOT_NAMES, TERRAIN, assert_same, chi_square, corner, draw_world, place, rows_of
from support.npc_worlds import restless_world

from nmmo_gpu.config import preset
from nmmo_gpu.content import Material
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.observation import ring_order
from nmmo_gpu.world.random import Stream, draw

CPU = torch.device("cpu")
KINDS = "cgb"
"""Chicken, goblin and bear, as drawn."""
STAY, EAST, SOUTH, WEST, NORTH = range(5)


def drawn(picture, *, under=".", slots=7, **overrides):
    """Like ``draw_world``, with NPCs: c, g and b, each kind's slots in reading order. NPCs are on the
    material ``under``, one for all; there are five slots of each kind."""
    lines = rows_of(picture)
    plain = "\n".join("".join(under if sign in KINDS else sign for sign in line) for line in lines)
    settings = {"npc_numbers": (5, 5, 5), "slots": slots, **overrides}
    world = draw_world(plain, "full", under=dict.fromkeys(SLOT_NAMES, under), **settings)
    taken = [slots, slots + 5, slots + 10]
    for y, line in enumerate(lines):
        for x, sign in enumerate(line):
            if sign in KINDS:
                kind = KINDS.index(sign)
                for realm in range(world.realms):
                    place(world, realm, taken[kind], corner(world.config) + y, corner(world.config) + x)
                taken[kind] += 1
    return world


def provoke(world, npc, aggro_target, aggro_ticks=5):
    """Makes an NPC (by its index among NPCs) remember an agent in every realm."""
    world.aggro_target[:, npc], world.aggro_ticks[:, npc] = aggro_target, aggro_ticks
    world.aggro_entity[:, npc] = world.entity[:, aggro_target]


def chosen(backend, world):
    """Returns (move, target), [R, S] each, without choices of the agents."""
    nothing = torch.zeros(world.realms, world.config.slots, dtype=torch.int64)
    move, style, target = backend.npcs(world, nothing, nothing, nothing - 1)
    assert not style.any() and (target[:, : world.config.slots] == -1).all()
    return move.long().clone(), target.long().clone()  # the next call may reuse the buffers


def choice(backend, world, slot):
    """Returns (move, target) of one NPC, which is the same in every realm."""
    move, target = chosen(backend, world)
    assert (move[:, slot] == move[0, slot]).all() and (target[:, slot] == target[0, slot]).all()
    return int(move[0, slot]), int(target[0, slot])


CHICKEN, GOBLIN, BEAR = 7, 12, 17
"""First slot of each kind in ``drawn``."""


def test_kinds_of_slots():
    config = preset("full", slots=3, populations=3, npc_numbers=(2, 0, 1))
    assert kind_of_slot(config, CPU).tolist() == [-1, -1, -1, 0, 0, 2]
    assert kind_of_slot(preset("chaos", slots=2, populations=1), CPU).tolist() == [-1, -1]
    assert kind_of_slot(preset("full", npc_numbers=(0, 0, 0)), CPU).tolist() == [-1] * 128
    assert (kind_of_slot(preset("full"), CPU) + 1).bincount().tolist() == [128, 32, 24, 8]


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_choices_of_agents_are_kept_and_empty_slots_choose_nothing(any_backend, kind):
    """Whatever empty slots hold; for any integer dtype and strides."""
    world = drawn("0.c\n...", realms=3, wander=1.0)
    dead = ~world.alive
    world.row[dead], world.col[dead], world.age[dead] = 9, 9, -5
    world.aggro_target.fill_(0)
    world.aggro_ticks.fill_(9)
    actions = torch.randint(3, (3, 7, 5), generator=torch.Generator().manual_seed(1)).to(kind)
    targets = (torch.arange(21).view(3, 7) % 7 - 1).to(kind if kind.is_signed else torch.int16)
    move, style, target = any_backend.npcs(world, actions[..., 1], actions[..., 3], targets)
    assert move.shape == style.shape == target.shape == (3, 22)
    assert torch.equal(move[:, :7].long(), actions[..., 1].long())
    assert torch.equal(style[:, :7].long(), actions[..., 3].long())
    assert torch.equal(target[:, :7].long(), targets.long())
    assert (move[:, CHICKEN] >= 1).sum() and not move[:, CHICKEN + 1 :].any()
    assert not style[:, 7:].any() and (target[:, 7:] == -1).all()


def move_counts(backend, world, slot, ticks):
    """Returns [5], how often one NPC chose each move in this many ticks from the same world."""
    counts = torch.zeros(5, dtype=torch.int64)
    for time in range(ticks):
        world.tick.fill_(time)
        move, target = chosen(backend, world)
        assert (target == -1).all()
        counts += torch.bincount(move[:, slot], minlength=5)
    return counts


def test_an_npc_without_a_target_wanders_in_any_direction(backend):
    """A chicken, a goblin and a bear take a step with chance 1/4, each direction with the same chance."""
    picture = ",,,,,,,\n,c,g,b,\n,,,,,,,"
    for slot, ground in ((CHICKEN, "."), (GOBLIN, ","), (BEAR, ",")):
        world = drawn(picture.replace(",", ground), under=ground, realms=100)
        counts = move_counts(backend, world, slot, 40)
        statistic, limit = chi_square(counts, torch.tensor([0.75, *[0.0625] * 4]).double() * 4000)
        assert statistic < limit


def test_wander_steps_are_drawn_per_npc_and_tick(backend):
    """Two chickens agree on a direction as often as by chance, within a tick and between ticks."""
    world = drawn("....\n.cc.\n....", realms=60, wander=1.0)
    steps = []
    for time in range(20):
        world.tick.fill_(time)
        steps.append(chosen(backend, world)[0][:, CHICKEN : CHICKEN + 2])
    all_steps = torch.stack(steps)
    for agree in (all_steps[..., 0] == all_steps[..., 1], all_steps[1:] == all_steps[:-1]):
        assert abs(float(agree.double().mean()) - 0.25) < 4 * (0.25 * 0.75 / agree.numel()) ** 0.5
    assert (all_steps > 0).all()


@pytest.mark.parametrize("wander", [0.0, 0.03, 1.0])
def test_the_chance_of_a_step_is_a_setting(backend, wander):
    counts = move_counts(backend, drawn("...\n.c.\n...", realms=50, wander=wander), CHICKEN, 40)
    assert abs(1 - int(counts[0]) / 2000 - wander) <= 4 * (wander * (1 - wander) / 2000) ** 0.5


@pytest.mark.parametrize(
    ("npc", "ground", "enters"), [("c", ".", "."), ("g", ",", ".,f"), ("b", ",", ",f"), ("b", "f", ",f")]
)
def test_npcs_do_not_leave_their_habitat(backend, npc, ground, enters):
    """Every material is to the east, and the other sides are walls. Lava, which agents enter, is no NPC's
    habitat."""
    slot = {"c": CHICKEN, "g": GOBLIN, "b": BEAR}[npc]
    for material in TERRAIN:
        world = drawn(f"###\n#{npc}{material}\n###", under=ground, realms=17, wander=1.0)
        moves = set(chosen(backend, world)[0][:, slot].tolist())
        assert moves == ({STAY, EAST} if material in enters else {STAY}), material


def test_the_current_material_decides(any_backend):
    """An eaten forest is scrub to a goblin and to a bear; grass that was forest is no habitat of a bear."""
    world = drawn("###\n#bf\n###", under=",", realms=17, wander=1.0)
    east = corner(world.config) + 2
    for shown, moves in ((Material.SCRUB, {STAY, EAST}), (Material.GRASS, {STAY})):
        world.material[:, east - 1, east] = int(shown)
        assert set(chosen(any_backend, world)[0][:, BEAR].tolist()) == moves


APPROACHES = {
    "east": ("b..0", EAST), "west": ("0..b", WEST),
    "south": ("b\n.\n.\n0", SOUTH), "north": ("0\n.\n.\nb", NORTH),
    "mostly east": ("b...\n...0", EAST), "mostly west": ("....\n0..b", WEST),
    "mostly south": ("b.\n..\n.0", SOUTH), "mostly north": ("...\n0..\n...\n.b.", NORTH),
}  # fmt: skip


@pytest.mark.parametrize("name", APPROACHES)
def test_a_bear_approaches_its_target_along_the_longer_axis(any_backend, name):
    picture, direction = APPROACHES[name]
    world = drawn(picture.replace(".", ","), under=",", realms=3, wander=1.0)
    assert choice(any_backend, world, BEAR) == (direction, -1)


@pytest.mark.parametrize(
    ("picture", "row", "col"),
    [
        ("b,\n,0", SOUTH, EAST), (",b\n0,", SOUTH, WEST), (",0\nb,", NORTH, EAST),
        ("0,,\n,,,\n,,b", NORTH, WEST),
    ],
)  # fmt: skip
def test_between_axes_of_equal_length_the_step_is_drawn(backend, picture, row, col):
    """A diagonal tile is not adjacent."""
    world = drawn(picture, under=",", realms=60)
    counts = torch.zeros(5, dtype=torch.int64)
    for time in range(20):
        world.tick.fill_(time)
        move, target = chosen(backend, world)
        assert (target[:, BEAR] == -1).all()
        counts += torch.bincount(move[:, BEAR], minlength=5)
    assert int(counts[[row, col]].sum()) == 1200
    statistic, limit = chi_square(counts[[row, col]])
    assert statistic < limit


@pytest.mark.parametrize("picture", ["b0", "0b", "b\n0", "0\nb"])
def test_a_bear_attacks_an_adjacent_agent_and_stays(any_backend, picture):
    """Also if it is frozen, and where it could not walk on."""
    world = drawn(picture, under=",", realms=3, slots=7, wander=1.0)
    assert choice(any_backend, world, BEAR) == (STAY, 0)
    world.freeze[:, BEAR] = 2
    assert choice(any_backend, world, BEAR) == (STAY, 0)


def test_a_bear_neither_leaves_its_habitat_nor_walks_around(any_backend):
    """On grass, and behind water: it waits at the edge and does not wander."""
    for between in ".~":
        world = drawn(f",,,,\nb{between},0\n,,,,", under=",", realms=7, wander=1.0)
        assert choice(any_backend, world, BEAR) == (STAY, -1)


def test_blocked_moves_are_chosen_and_left_to_movement(any_backend):
    """It chooses the tile of a chicken and of another agent, and chooses a move while frozen."""
    world = drawn(",,c0\n,b,,\n,,,,\n,1,,", under=",", realms=3, age=20)
    world.age[:, 1] = 0
    assert choice(any_backend, world, BEAR) == (EAST, -1)
    world = drawn("bc,0", under=",", realms=3)
    world.freeze[:, BEAR] = 1
    assert choice(any_backend, world, BEAR) == (EAST, -1)


def hunts(any_backend, world, slot):
    """Whether the NPC moves although it does not wander."""
    assert world.config.wander == 0.0
    move, target = choice(any_backend, world, slot)
    return move != STAY or target >= 0


def test_a_bear_sees_three_tiles_far_and_around_corners(any_backend):
    for picture, seen in (
        ("0,,b", True), ("0,,,b", False), ("0,,,\n,,,,\n,,,,\n,,,b", True), ("0,,,,\n,,,,b", False),
        ("0#,b", True),
    ):  # fmt: skip
        world = drawn(picture, under=",", wander=0.0)
        assert hunts(any_backend, world, BEAR) == seen, picture


@pytest.mark.parametrize(
    ("picture", "moves", "target"),
    [
        ("1,,b,0", {EAST}, -1),  # two tiles are nearer than three
        ("0,,,\n,,,,\n,,b,\n,,,,\n,,,,\n,,1,", {WEST, NORTH}, -1),  # two diagonal steps or three straight
        ("0b1", {STAY}, 0), ("1b0", {STAY}, 1),  # in one row the western one
        (",1,\n0b2", {STAY}, 1), (",3,\n,b,\n,0,", {STAY}, 3),  # the northern row first
        ("b2\n1,", {STAY}, 2), (",b1\n0,,", {STAY}, 1),  # its own row before the one below
        ("0,,\n,b1", {NORTH, WEST}, -1),  # as near as 1 and earlier in reading order
        ("0,,,,,,\n,,,b,,1", {WEST}, -1), ("1,,,,,,\n,,,b,,0", {WEST}, -1),
    ],
)  # fmt: skip
def test_a_bear_hunts_the_nearest_agent_and_the_first_in_reading_order(any_backend, picture, moves, target):
    """By Chebyshev distance; slots do not matter."""
    world = drawn(picture, under=",", wander=0.0, realms=9)
    move, chose = chosen(any_backend, world)
    assert set(move[:, BEAR].tolist()) == moves and (chose[:, BEAR] == target).all()


def test_immune_agents_are_not_hunted(any_backend):
    """A bear chooses the nearest agent that is not immune; agents are immune until age 15."""
    world = drawn(",,,\n0b,1\n,,,", under=",", wander=0.0)
    world.age[0, 0] = 14
    assert choice(any_backend, world, BEAR) == (EAST, -1)
    world.age[0, 1] = 14
    assert choice(any_backend, world, BEAR) == (STAY, -1)
    world.age[0, 0] = 15
    assert choice(any_backend, world, BEAR) == (STAY, 0)


def test_agents_of_every_population_are_hunted_and_no_npc_is(any_backend):
    for slot in range(6):
        world = drawn(f"cb{slot}\n,g,", under=",", wander=0.0, slots=6, populations=3, realms=3)
        assert choice(any_backend, world, 16) == (STAY, slot)
    world = drawn(",c,\ngbb\n,g,", under=",", wander=0.0, slots=6, populations=3)
    assert choice(any_backend, world, 16) == choice(any_backend, world, 17) == (STAY, -1)


def test_dead_agents_are_not_hunted(any_backend):
    """A slot whose agent died next to the bear keeps its position; its tile is free."""
    world = drawn("b,\n,,", under=",", wander=0.0, slots=7)
    world.row[0, 3], world.col[0, 3], world.age[0, 3] = corner(world.config), corner(world.config) + 1, 99
    assert choice(any_backend, world, BEAR) == (STAY, -1)


def test_only_bears_hunt_unprovoked(any_backend):
    """Chickens and unprovoked goblins ignore adjacent agents."""
    world = drawn("c0g\n.1.", wander=0.0)
    assert choice(any_backend, world, CHICKEN) == choice(any_backend, world, GOBLIN) == (STAY, -1)


# ------------------------------------------------------------------------------------------------------ aggro


def test_a_provoked_goblin_hunts_its_target_although_others_are_nearer(any_backend):
    world = drawn("1g...0\n.2....", wander=0.0, realms=3)
    provoke(world, 5, 0)
    assert choice(any_backend, world, GOBLIN) == (EAST, -1)
    provoke(world, 5, 2)
    assert choice(any_backend, world, GOBLIN) == (STAY, 2)


def test_aggro_lasts_for_the_kinds_ticks_and_is_then_cleared(any_backend):
    """Set to 5 by a hit, it makes the goblin attack in five ticks; aggro_target is cleared with the last of
    them."""
    world = drawn("g0", wander=0.0)
    provoke(world, 5, 0)
    history = []
    for _ in range(7):
        target = choice(any_backend, world, GOBLIN)[1]
        history.append(
            (
                target,
                int(world.aggro_ticks[0, 5]),
                int(world.aggro_target[0, 5]),
                int(world.aggro_entity[0, 5]),
            )
        )
    entity = int(world.entity[0, 0])
    remembered = [(0, left, 0, entity) for left in (4, 3, 2, 1)]
    assert history == [*remembered, (0, 0, -1, -1), (-1, 0, -1, -1), (-1, 0, -1, -1)]


def test_a_target_that_died_or_whose_slot_was_refilled_is_not_attacked(any_backend):
    """Its aggro_ticks decreases in any case."""
    world = drawn("g0", wander=0.0, realms=3)
    provoke(world, 5, 0)
    world.entity[:, 0] += 100  # another agent, born on the same tile
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    world.entity[:, 0] -= 100
    world.alive[:, 0] = False
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    world.alive[:, 0] = True
    assert choice(any_backend, world, GOBLIN) == (STAY, 0)
    assert (world.aggro_ticks[:, 5] == 2).all() and (world.aggro_target[:, 5] == 0).all()


def test_a_target_is_not_followed_beyond_five_tiles_but_again_when_it_returns(any_backend):
    world = drawn("g.....0", wander=0.0)
    provoke(world, 5, 0)
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    world.col[0, 0] -= 1
    assert choice(any_backend, world, GOBLIN) == (EAST, -1)


def test_without_aggro_ticks_there_is_no_target(any_backend):
    """And nothing decreases."""
    world = drawn("g0", wander=0.0)
    provoke(world, 5, 0, aggro_ticks=0)
    before = world.clone()
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    assert_same(world, before)


def test_an_immune_target_is_not_attacked(any_backend):
    world = drawn("g0", wander=0.0)
    provoke(world, 5, 0)
    world.age[0, 0] = 14
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)


def test_an_npc_whose_target_cannot_be_attacked_wanders(any_backend):
    world = drawn("...\n.g.......0\n...", wander=1.0, realms=17)
    provoke(world, 5, 0)
    assert set(chosen(any_backend, world)[0][:, GOBLIN].tolist()) == {EAST, SOUTH, WEST, NORTH}


def test_aggro_of_others_does_not_change(any_backend):
    """That is of empty slots, and of kinds that are not provoked: chickens and bears."""
    world = drawn("cgb", under=",", wander=0.0)
    world.aggro_ticks.fill_(1)
    world.aggro_target.fill_(3)
    world.aggro_entity.fill_(33)
    chosen(any_backend, world)
    assert world.aggro_ticks[0].tolist() == [1] * 5 + [0] + [1] * 9
    assert world.aggro_target[0].tolist() == [3] * 5 + [-1] + [3] * 9
    assert world.aggro_entity[0].tolist() == [33] * 5 + [-1] + [33] * 9


def test_only_aggro_changes(any_backend):
    world = drawn("0g.b1c\n......", under=",", realms=3)
    provoke(world, 5, 0)
    before = world.clone()
    chosen(any_backend, world)
    changed = {name for (name, a), (_, b) in zip(world.tensors(), before.tensors(), strict=True)
               if not torch.equal(a, b)}  # fmt: skip
    assert changed == {"aggro_ticks"}


# ---------------------------------------------------------------------------- comparison with a plain version


def plain_choice(world, realm, slot):
    """Computes (move, target) of one living NPC."""
    cfg = world.config
    npc = slot - cfg.slots
    row = cfg.tables.npcs[int(kind_of_slot(cfg, CPU)[slot])]
    y, x = int(world.row[realm, slot]), int(world.col[realm, slot])

    def offset(other):
        return int(world.row[realm, other]) - y, int(world.col[realm, other]) - x

    def valid(other):
        return bool(world.alive[realm, other]) and int(world.age[realm, other]) >= cfg.immune_ticks

    hunted = None
    if row.hunts == 2:
        at = {offset(other): other for other in range(cfg.slots) if valid(other)}
        hunted = next((at[cell] for cell in ring_order(row.sight) if cell in at), None)
    aggro_target = int(world.aggro_target[realm, npc])
    if row.hunts == 1 and world.aggro_ticks[realm, npc] > 0 and aggro_target >= 0 and valid(aggro_target):
        in_sight = max(map(abs, offset(aggro_target))) <= row.sight
        hunted = (
            aggro_target
            if in_sight and world.entity[realm, aggro_target] == world.aggro_entity[realm, npc]
            else None
        )
    place = torch.tensor([realm]), torch.tensor([slot])
    words = [int(word) for word in draw(world.seed, world.tick, Stream.NPC, *place)]
    if hunted is None:
        goes = words[0] / 2**32 < cfg.wander
        move = 1 + words[2] * 4 // 2**32 if goes else 0
    else:
        south, east = offset(hunted)
        if abs(south) + abs(east) == 1:
            return 0, hunted
        vertical = words[1] % 2 == 1 if abs(south) == abs(east) else abs(south) > abs(east)
        move = (2 if south > 0 else 4) if vertical else (1 if east > 0 else 3)
    ground = int(world.material[realm, y + MOVES[move][0], x + MOVES[move][1]])
    return (move if row.habitat >> ground & 1 else 0), -1


CROWDED = preset(
    "full", height=33, width=47, border=12, slots=24, populations=3, npc_numbers=(9, 14, 11), wander=0.5,
)  # fmt: skip


def test_choices_match_a_plain_version(backend):
    """In a crowd of all kinds; empty slots hold garbage."""
    seen = set()
    for seed in range(6):
        world = restless_world(CROWDED, 2, seed)
        before = world.clone()
        move, target = chosen(backend, world)
        for realm in range(world.realms):
            for slot in range(world.config.slots, world.config.entities):
                expected = plain_choice(before, realm, slot) if before.alive[realm, slot] else (0, -1)
                assert (int(move[realm, slot]), int(target[realm, slot])) == expected, (seed, realm, slot)
                kind = int(kind_of_slot(world.config, CPU)[slot])
                seen.add((kind, expected[0] > 0, expected[1] >= 0))
    assert seen == {(kind, goes, False) for kind in range(3) for goes in (False, True)} | {
        (kind, False, True) for kind in (1, 2)
    }
