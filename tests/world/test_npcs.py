"""NPCs: how they wander, whom they hunt, and how long they bear a grudge."""

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
"""Chicken, goblin, bear, as drawn."""
STAY, EAST, SOUTH, WEST, NORTH = range(5)


def drawn(picture, *, under=".", slots=7, **overrides):
    """As ``draw_world``, with NPCs: c, g and b, each kind's slots in reading order. They stand on what
    ``under`` says, one material for all; there is room for five of each kind."""
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
    """Has an NPC (by its place among them) remember an agent, in every realm."""
    world.aggro_target[:, npc], world.aggro_ticks[:, npc] = aggro_target, aggro_ticks
    world.aggro_entity[:, npc] = world.entity[:, aggro_target]


def chosen(backend, world):
    """(move, target), [R, S] each, when the agents choose nothing."""
    nothing = torch.zeros(world.realms, world.config.slots, dtype=torch.int64)
    move, style, target = backend.npcs(world, nothing, nothing, nothing - 1)
    assert not style.any() and (target[:, : world.config.slots] == -1).all()
    return move.long().clone(), target.long().clone()  # the next call may use the same room


def choice(backend, world, slot):
    """(move, target) of one NPC, the same in every realm."""
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
def test_agents_choices_are_passed_on_and_empty_slots_choose_nothing(any_backend, kind):
    """Whatever the dead slots hold; of any integer type, and not contiguous."""
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


def wandered(backend, world, slot, ticks):
    """[5] how often one NPC chose each move, over so many ticks from the same world."""
    counts = torch.zeros(5, dtype=torch.int64)
    for time in range(ticks):
        world.tick.fill_(time)
        move, target = chosen(backend, world)
        assert (target == -1).all()
        counts += torch.bincount(move[:, slot], minlength=5)
    return counts


def test_whoever_has_no_quarry_wanders_now_and_then_in_any_direction(backend):
    """A chicken, a goblin and a bear: a step with chance 1/4, each way with the same chance."""
    picture = ",,,,,,,\n,c,g,b,\n,,,,,,,"
    for slot, ground in ((CHICKEN, "."), (GOBLIN, ","), (BEAR, ",")):
        world = drawn(picture.replace(",", ground), under=ground, realms=100)
        counts = wandered(backend, world, slot, 40)
        statistic, limit = chi_square(counts, torch.tensor([0.75, *[0.0625] * 4]).double() * 4000)
        assert statistic < limit


def test_steps_are_drawn_for_each_npc_and_tick_by_itself(backend):
    """Two chickens agree on a direction as often as chance has it, within a tick and from tick to tick."""
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
    counts = wandered(backend, drawn("...\n.c.\n...", realms=50, wander=wander), CHICKEN, 40)
    assert abs(1 - int(counts[0]) / 2000 - wander) <= 4 * (wander * (1 - wander) / 2000) ** 0.5


@pytest.mark.parametrize(
    ("npc", "ground", "enters"), [("c", ".", "."), ("g", ",", ".,f"), ("b", ",", ",f"), ("b", "f", ",f")]
)
def test_nobody_leaves_its_habitat(backend, npc, ground, enters):
    """Every material to the east; the other sides are walled. Lava, which agents enter, is nobody's."""
    slot = {"c": CHICKEN, "g": GOBLIN, "b": BEAR}[npc]
    for material in TERRAIN:
        world = drawn(f"###\n#{npc}{material}\n###", under=ground, realms=17, wander=1.0)
        moves = set(chosen(backend, world)[0][:, slot].tolist())
        assert moves == ({STAY, EAST} if material in enters else {STAY}), material


def test_what_a_tile_shows_now_decides(any_backend):
    """An eaten forest is scrub to a goblin as to a bear; grass that once was forest is none to a bear."""
    world = drawn("###\n#bf\n###", under=",", realms=17, wander=1.0)
    east = corner(world.config) + 2
    for shown, moves in ((Material.SCRUB, {STAY, EAST}), (Material.GRASS, {STAY})):
        world.material[:, east - 1, east] = int(shown)
        assert set(chosen(any_backend, world)[0][:, BEAR].tolist()) == moves


CHASES = {
    "east": ("b..0", EAST), "west": ("0..b", WEST),
    "south": ("b\n.\n.\n0", SOUTH), "north": ("0\n.\n.\nb", NORTH),
    "mostly east": ("b...\n...0", EAST), "mostly west": ("....\n0..b", WEST),
    "mostly south": ("b.\n..\n.0", SOUTH), "mostly north": ("...\n0..\n...\n.b.", NORTH),
}  # fmt: skip


@pytest.mark.parametrize("name", CHASES)
def test_a_bear_goes_towards_its_quarry_along_the_longer_axis(any_backend, name):
    picture, direction = CHASES[name]
    world = drawn(picture.replace(".", ","), under=",", realms=3, wander=1.0)
    assert choice(any_backend, world, BEAR) == (direction, -1)


@pytest.mark.parametrize(
    ("picture", "row", "col"),
    [
        ("b,\n,0", SOUTH, EAST), (",b\n0,", SOUTH, WEST), (",0\nb,", NORTH, EAST),
        ("0,,\n,,,\n,,b", NORTH, WEST),
    ],
)  # fmt: skip
def test_between_axes_of_equal_length_it_is_drawn(backend, picture, row, col):
    """Standing diagonally is not standing next to somebody."""
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
def test_it_strikes_whom_it_stands_next_to_and_stays(any_backend, picture):
    """A frozen one too, and one in a place where it could not go on."""
    world = drawn(picture, under=",", realms=3, slots=7, wander=1.0)
    assert choice(any_backend, world, BEAR) == (STAY, 0)
    world.freeze[:, BEAR] = 2
    assert choice(any_backend, world, BEAR) == (STAY, 0)


def test_it_does_not_follow_out_of_its_habitat_nor_go_round(any_backend):
    """On grass, and behind water: it waits at the edge, and does not wander meanwhile."""
    for between in ".~":
        world = drawn(f",,,,\nb{between},0\n,,,,", under=",", realms=7, wander=1.0)
        assert choice(any_backend, world, BEAR) == (STAY, -1)


def test_whether_the_way_is_taken_is_for_movement_to_say(any_backend):
    """It goes for the tile of a chicken and of another agent; frozen, it wants to go all the same."""
    world = drawn(",,c0\n,b,,\n,,,,\n,1,,", under=",", realms=3, age=20)
    world.age[:, 1] = 0
    assert choice(any_backend, world, BEAR) == (EAST, -1)
    world = drawn("bc,0", under=",", realms=3)
    world.freeze[:, BEAR] = 1
    assert choice(any_backend, world, BEAR) == (EAST, -1)


def sees(any_backend, world, slot):
    """Whether the NPC goes somewhere though it does not wander."""
    assert world.config.wander == 0.0
    move, target = choice(any_backend, world, slot)
    return move != STAY or target >= 0


def test_a_bear_sees_three_tiles_far_and_round_corners(any_backend):
    for picture, seen in (
        ("0,,b", True), ("0,,,b", False), ("0,,,\n,,,,\n,,,,\n,,,b", True), ("0,,,,\n,,,,b", False),
        ("0#,b", True),
    ):  # fmt: skip
        world = drawn(picture, under=",", wander=0.0)
        assert sees(any_backend, world, BEAR) == seen, picture


@pytest.mark.parametrize(
    ("picture", "moves", "target"),
    [
        ("1,,b,0", {EAST}, -1),  # two tiles are nearer than three
        ("0,,,\n,,,,\n,,b,\n,,,,\n,,,,\n,,1,", {WEST, NORTH}, -1),  # two diagonal steps, and three straight
        ("0b1", {STAY}, 0), ("1b0", {STAY}, 1),  # of one row the western one
        (",1,\n0b2", {STAY}, 1), (",3,\n,b,\n,0,", {STAY}, 3),  # the northern row first
        ("b2\n1,", {STAY}, 2), (",b1\n0,,", {STAY}, 1),  # its own row before the one below
        ("0,,\n,b1", {NORTH, WEST}, -1),  # as near as 1, and read earlier: so it leaves 1 alone
        ("0,,,,,,\n,,,b,,1", {WEST}, -1), ("1,,,,,,\n,,,b,,0", {WEST}, -1),
    ],
)  # fmt: skip
def test_a_bear_takes_the_nearest_and_among_equals_the_first_read(any_backend, picture, moves, target):
    """By Chebyshev distance; slots do not matter."""
    world = drawn(picture, under=",", wander=0.0, realms=9)
    move, chose = chosen(any_backend, world)
    assert set(move[:, BEAR].tolist()) == moves and (chose[:, BEAR] == target).all()


def test_the_immune_are_left_alone(any_backend):
    """A bear looks past them, to the nearest that is not; immune until age 15."""
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


def test_the_dead_are_not_hunted(any_backend):
    """A slot whose agent died next to the bear keeps its position; nobody stands there."""
    world = drawn("b,\n,,", under=",", wander=0.0, slots=7)
    world.row[0, 3], world.col[0, 3], world.age[0, 3] = corner(world.config), corner(world.config) + 1, 99
    assert choice(any_backend, world, BEAR) == (STAY, -1)


def test_only_bears_go_looking(any_backend):
    """Chickens and unprovoked goblins do not mind whom they stand next to."""
    world = drawn("c0g\n.1.", wander=0.0)
    assert choice(any_backend, world, CHICKEN) == choice(any_backend, world, GOBLIN) == (STAY, -1)


# ------------------------------------------------------------------------------------------------- grudges


def test_a_provoked_goblin_goes_for_its_foe_though_others_are_nearer(any_backend):
    world = drawn("1g...0\n.2....", wander=0.0, realms=3)
    provoke(world, 5, 0)
    assert choice(any_backend, world, GOBLIN) == (EAST, -1)
    provoke(world, 5, 2)
    assert choice(any_backend, world, GOBLIN) == (STAY, 2)


def test_it_fights_for_as_many_ticks_as_its_kind_is_provoked_and_then_forgets(any_backend):
    """Set to 5 by a hit, it strikes in five ticks; the aggro_target is forgotten with the last of them."""
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
    mine = int(world.entity[0, 0])
    remembered = [(0, left, 0, mine) for left in (4, 3, 2, 1)]
    assert history == [*remembered, (0, 0, -1, -1), (-1, 0, -1, -1), (-1, 0, -1, -1)]


def test_it_does_not_fight_a_foe_that_died_or_whose_slot_is_somebody_elses(any_backend):
    """Its aggro_ticks runs down all the same."""
    world = drawn("g0", wander=0.0, realms=3)
    provoke(world, 5, 0)
    world.entity[:, 0] += 100  # reborn on the same spot
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    world.entity[:, 0] -= 100
    world.alive[:, 0] = False
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    world.alive[:, 0] = True
    assert choice(any_backend, world, GOBLIN) == (STAY, 0)
    assert (world.aggro_ticks[:, 5] == 2).all() and (world.aggro_target[:, 5] == 0).all()


def test_it_does_not_chase_beyond_five_tiles_but_goes_on_when_the_foe_comes_back(any_backend):
    world = drawn("g.....0", wander=0.0)
    provoke(world, 5, 0)
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    world.col[0, 0] -= 1
    assert choice(any_backend, world, GOBLIN) == (EAST, -1)


def test_without_aggro_ticks_the_target_is_nobody(any_backend):
    """Nor is there anything to run down."""
    world = drawn("g0", wander=0.0)
    provoke(world, 5, 0, aggro_ticks=0)
    before = world.clone()
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)
    assert_same(world, before)


def test_it_leaves_an_immune_foe_alone(any_backend):
    world = drawn("g0", wander=0.0)
    provoke(world, 5, 0)
    world.age[0, 0] = 14
    assert choice(any_backend, world, GOBLIN) == (STAY, -1)


def test_a_foe_that_cannot_be_fought_is_no_quarry_so_it_wanders(any_backend):
    world = drawn("...\n.g.......0\n...", wander=1.0, realms=17)
    provoke(world, 5, 0)
    assert set(chosen(any_backend, world)[0][:, GOBLIN].tolist()) == {EAST, SOUTH, WEST, NORTH}


def test_aggro_of_others_are_not_touched(any_backend):
    """Of empty slots, and of kinds that are not provoked: chickens and bears."""
    world = drawn("cgb", under=",", wander=0.0)
    world.aggro_ticks.fill_(1)
    world.aggro_target.fill_(3)
    world.aggro_entity.fill_(33)
    chosen(any_backend, world)
    assert world.aggro_ticks[0].tolist() == [1] * 5 + [0] + [1] * 9
    assert world.aggro_target[0].tolist() == [3] * 5 + [-1] + [3] * 9
    assert world.aggro_entity[0].tolist() == [33] * 5 + [-1] + [33] * 9


def test_nothing_but_aggro_changes(any_backend):
    world = drawn("0g.b1c\n......", under=",", realms=3)
    provoke(world, 5, 0)
    before = world.clone()
    chosen(any_backend, world)
    changed = {name for (name, a), (_, b) in zip(world.tensors(), before.tensors(), strict=True)
               if not torch.equal(a, b)}  # fmt: skip
    assert changed == {"aggro_ticks"}


# ---------------------------------------------------------------------------------- everything at once


def by_the_book(world, realm, slot):
    """(move, target) of a living NPC, spelt out for one of them."""
    cfg = world.config
    npc = slot - cfg.slots
    row = cfg.tables.npcs[int(kind_of_slot(cfg, CPU)[slot])]
    y, x = int(world.row[realm, slot]), int(world.col[realm, slot])

    def away(who):
        return int(world.row[realm, who]) - y, int(world.col[realm, who]) - x

    def fair(who):
        return bool(world.alive[realm, who]) and int(world.age[realm, who]) >= cfg.immune_ticks

    quarry = None
    if row.hunts == 2:
        at = {away(who): who for who in range(cfg.slots) if fair(who)}
        quarry = next((at[cell] for cell in ring_order(row.sight) if cell in at), None)
    aggro_target = int(world.aggro_target[realm, npc])
    if row.hunts == 1 and world.aggro_ticks[realm, npc] > 0 and aggro_target >= 0 and fair(aggro_target):
        near = max(map(abs, away(aggro_target))) <= row.sight
        quarry = (
            aggro_target
            if near and world.entity[realm, aggro_target] == world.aggro_entity[realm, npc]
            else None
        )
    place = torch.tensor([realm]), torch.tensor([slot])
    words = [int(word) for word in draw(world.seed, world.tick, Stream.NPC, *place)]
    if quarry is None:
        goes = words[0] / 2**32 < cfg.wander
        move = 1 + words[2] * 4 // 2**32 if goes else 0
    else:
        south, east = away(quarry)
        if abs(south) + abs(east) == 1:
            return 0, quarry
        vertical = words[1] % 2 == 1 if abs(south) == abs(east) else abs(south) > abs(east)
        move = (2 if south > 0 else 4) if vertical else (1 if east > 0 else 3)
    ground = int(world.material[realm, y + MOVES[move][0], x + MOVES[move][1]])
    return (move if row.habitat >> ground & 1 else 0), -1


CROWDED = preset(
    "full", height=33, width=47, border=12, slots=24, populations=3, npc_numbers=(9, 14, 11), wander=0.5,
)  # fmt: skip


def test_everybody_chooses_by_the_book(backend):
    """A crowd of all kinds, against the rule spelt out for one at a time. Slots of the dead hold garbage."""
    seen = set()
    for seed in range(6):
        world = restless_world(CROWDED, 2, seed)
        before = world.clone()
        move, target = chosen(backend, world)
        for realm in range(world.realms):
            for slot in range(world.config.slots, world.config.entities):
                expected = by_the_book(before, realm, slot) if before.alive[realm, slot] else (0, -1)
                assert (int(move[realm, slot]), int(target[realm, slot])) == expected, (seed, realm, slot)
                kind = int(kind_of_slot(world.config, CPU)[slot])
                seen.add((kind, expected[0] > 0, expected[1] >= 0))
    assert seen == {(kind, goes, False) for kind in range(3) for goes in (False, True)} | {
        (kind, False, True) for kind in (1, 2)
    }
