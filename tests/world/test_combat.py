"""Combat: reach, damage and drain of each style, all attacks at the same time."""

from __future__ import annotations

import pytest
import torch
from support.helpers import assert_same, blank_maps, draw_world, orders, place, show

from nmmo_gpu.config import preset
from nmmo_gpu.world import tick
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause

CHAOS = {"melee": (1, 10), "range": (2, 2), "mage": (3, 1)}
"""Reach and damage of each style in chaos, from RULES.md."""


def duel(rows: int, cols: int, **settings):
    """Agent 0 in the upper left, agent 1 this many rows and columns away; both with half of their food and
    water."""
    grid = [["."] * (cols + 1) for _ in range(rows + 1)]
    grid[0][0], grid[rows][cols] = "0", "1"
    world = draw_world("\n".join(map("".join, grid)), **settings)
    world.food.fill_(20)
    world.water.fill_(15)
    return world


def fight(backend, world, attack):
    _, style, target = orders(world, attack=attack)
    backend.combat(world, style, target)


@pytest.mark.parametrize("style", CHAOS)
@pytest.mark.parametrize("aside", [0, 1, 9])
def test_a_style_damages_and_drains_up_to_its_reach_in_chaos(any_backend, style, aside):
    """Distances are Chebyshev distances: straight, bent and diagonal alike, for attacks in both
    directions."""
    reach, damage = CHAOS[style]
    for distance in range(1, 6):
        for attacker, victim in ((0, 1), (1, 0)):
            for rows, cols in ((distance, min(aside, distance)), (min(aside, distance), distance)):
                world = duel(rows, cols)
                before = world.clone()
                fight(any_backend, world, {attacker: (style, victim)})
                if distance > reach:
                    before.damage.zero_()
                    assert_same(world, before)
                    continue
                assert world.health[0, victim] == 10 - damage
                assert world.food[0, victim] == 20 - damage and world.water[0, victim] == 15 - damage
                assert world.food[0, attacker] == 20 + damage and world.water[0, attacker] == 15 + damage
                assert world.health[0, attacker] == 10
                assert world.damage[0].tolist() == [damage * (slot == victim) for slot in range(2)]
                assert world.chilled[0].tolist() == [style == "mage" and slot == victim for slot in range(2)]
                assert world.cause[0, victim] == (Cause.COMBAT if damage == 10 else Cause.NONE)


@pytest.mark.parametrize("style", CHAOS)
def test_an_attack_does_nothing_in_law(any_backend, style):
    """Damage is 0, so health, food and water do not change, and a mage does not freeze."""
    for distance in range(1, 6):
        world = duel(distance, distance, preset_name="law")
        world.damage.fill_(77)  # of an earlier tick; combat overwrites the plane
        before = world.clone()
        fight(any_backend, world, {0: (style, 1), 1: (style, 0)})
        before.damage.zero_()
        assert_same(world, before)


@pytest.mark.parametrize("style", CHAOS)
def test_attacks_on_dead_agents_oneself_or_no_target_do_nothing(any_backend, style):
    world = draw_world("01.", slots=4)
    world.alive[0, 1] = False
    world.occupant[world.occupant == 2] = 0
    world.presence.copy_((world.occupant > 0).to(torch.uint8))
    world.food.fill_(20)
    world.damage.fill_(77)
    before = world.clone()
    fight(any_backend, world, {0: (style, 0), 1: (style, 0), 2: (style, 0), 3: (style, 2)})
    fight(any_backend, world, {0: (style, 1)})
    fight(any_backend, world, {0: (style, 3)})
    fight(any_backend, world, {})
    before.damage.zero_()
    assert_same(world, before)


@pytest.mark.parametrize("style", CHAOS)
@pytest.mark.parametrize(("age", "immune"), [(0, True), (14, True), (15, False)])
def test_immunity_stops_damage_but_neither_drain_nor_freeze(any_backend, style, age, immune):
    damage = CHAOS[style][1]
    world = duel(0, 1)
    world.age[0, 1] = age
    fight(any_backend, world, {0: (style, 1)})
    assert world.health[0, 1] == (10 if immune else 10 - damage)
    assert world.damage[0, 1] == (0 if immune else damage)
    assert world.food[0].tolist() == [20 + damage, 20 - damage]
    assert world.water[0].tolist() == [15 + damage, 15 - damage]
    assert bool(world.chilled[0, 1]) == (style == "mage")
    assert world.cause[0, 1] == (Cause.COMBAT if damage == 10 and not immune else Cause.NONE)


def test_attacks_on_one_agent_add_up(any_backend):
    """Two range attacks and a mage attack on agent 4 from three sides, two of the attackers of another
    population."""
    world = draw_world(
        """
        0.1
        .4.
        2.3
        """,
        slots=6, populations=2,
    )  # fmt: skip
    world.food.fill_(20)
    world.water.fill_(4)
    fight(any_backend, world, {0: ("range", 4), 1: ("range", 4), 2: ("mage", 4)})
    assert world.health[0].tolist()[:5] == [10, 10, 10, 10, 5]
    assert world.food[0].tolist()[:5] == [22, 22, 21, 20, 15]
    assert world.water[0].tolist()[:5] == [6, 6, 5, 4, 0]
    assert world.damage[0].tolist()[:5] == [0, 0, 0, 0, 5]
    assert world.chilled[0].tolist()[:5] == [False] * 4 + [True]


def test_gains_and_losses_of_an_agent_are_summed_first(any_backend):
    """0 shoots 1, which shoots 2: 1 gains and loses 2."""
    world = draw_world("012")
    world.food.fill_(20)
    fight(any_backend, world, {0: ("range", 1), 1: ("range", 2)})
    assert world.food[0].tolist() == [22, 20, 18]
    assert world.health[0].tolist() == [10, 8, 8]


@pytest.mark.parametrize("level", [0, 3, 20, 29, 32])
def test_a_mutual_drain_changes_nothing(any_backend, level):
    """If each drain were clamped by itself, the gain would be lost at 32, and the sum would be one too high
    at 0."""
    world = draw_world("01")
    world.food.fill_(level)
    world.water.fill_(32 - level)
    fight(any_backend, world, {0: ("melee", 1), 1: ("melee", 0)})
    assert world.food[0].tolist() == [level] * 2
    assert world.water[0].tolist() == [32 - level] * 2
    assert world.health[0].tolist() == [0, 0]
    assert world.cause[0].tolist() == [Cause.COMBAT] * 2


def test_sums_are_clamped_to_0_and_the_maximum(any_backend):
    world = draw_world("01")
    world.food[0] = torch.tensor([30, 4])
    world.water[0] = torch.tensor([32, 0])
    fight(any_backend, world, {0: ("melee", 1)})
    assert world.food[0].tolist() == [32, 0]
    assert world.water[0].tolist() == [32, 0]


def test_health_is_clamped_at_0_under_many_attacks(any_backend):
    world = draw_world(
        """
        123
        405
        678
        """
    )
    fight(any_backend, world, {slot: ("melee", 0) for slot in range(1, 9)})
    assert world.health[0].tolist() == [0] + [10] * 8
    assert world.cause[0].tolist() == [Cause.COMBAT] + [0] * 8
    assert world.food[0].tolist() == [0] + [32] * 8


def test_the_remaining_health_decides_who_lives(any_backend):
    """2 damage at health 3 is survived, at health 2 not; the drain applies even if the attack kills."""
    world = draw_world("01.2")
    world.health[0] = torch.tensor([10, 3, 2])
    world.food.fill_(10)
    fight(any_backend, world, {0: ("range", 1), 1: ("range", 2)})
    assert world.health[0].tolist() == [10, 1, 0]
    assert world.cause[0].tolist() == [0, 0, Cause.COMBAT]
    assert world.food[0].tolist() == [12, 10, 8]


def test_killed_agents_attack_but_do_not_move(any_backend):
    """At the same time 1 kills 0, whose own attack counts. 0 stays on its tile, which blocks it, and is then
    removed."""
    picture = "0.1.2"
    world = draw_world(picture)
    world.health[0, 0] = 2
    step = orders(world, move={0: "east"}, attack={0: ("range", 1), 1: ("range", 0)})
    tick.step(world, any_backend, *step)
    assert world.health[0, 1] == 9  # 10 - 2, and upkeep heals 1
    assert show(world, picture) == ["..1.2"]
    assert world.cause[0].tolist() == [Cause.COMBAT, 0, 0]
    assert (int(world.row[0, 0]), int(world.col[0, 0])) == (8, 8)


def test_combat_uses_positions_before_movement(any_backend):
    """Stepping out of reach comes too late, stepping into reach too early."""
    world = draw_world("01#.2.3", slots=4)
    step = orders(world, move={1: "south", 2: "east"}, attack={0: ("melee", 1), 2: ("melee", 3)})
    tick.step(world, any_backend, *step)
    assert world.cause[0].tolist() == [0, Cause.COMBAT, 0, 0]
    assert world.damage[0, 3] == 0


def test_a_freeze_prevents_the_next_two_moves(any_backend):
    """Freeze is set to 3, and upkeep subtracts one: this tick's move succeeds, the next two do not."""
    picture = "0.1....."
    world = draw_world(picture)
    seen = []
    for time in range(5):
        attack = {0: ("mage", 1)} if time == 0 else {}
        tick.step(world, any_backend, *orders(world, move={1: "east"}, attack=attack))
        seen.append((show(world, picture)[0], int(world.freeze[0, 1])))
    assert seen == [
        ("0..1....", 2), ("0..1....", 1), ("0..1....", 0), ("0...1...", 0), ("0....1..", 0)
    ]  # fmt: skip


def test_a_second_freeze_resets_to_3_and_does_not_add(any_backend):
    world = draw_world("0.1")
    for expected in (2, 2):
        tick.step(world, any_backend, *orders(world, attack={0: ("mage", 1)}))
        assert int(world.freeze[0, 1]) == expected


def test_realms_do_not_affect_each_other(any_backend):
    """Only agent 0 of realm 1 attacks; slot numbers count within the realm."""
    world = draw_world("01", realms=3)
    _, style, target = orders(world)
    target[1, 0] = 1
    before = world.clone()
    any_backend.combat(world, style, target)
    assert world.health.tolist() == [[10, 10], [10, 0], [10, 10]]
    for name in ("health", "food", "water", "damage", "chilled", "cause"):
        after, expected = getattr(world, name)[::2], getattr(before, name)[::2]
        assert torch.equal(after, expected), name


def test_reach_and_damage_come_from_the_config(any_backend):
    """A mage without damage neither damages nor freezes; melee with reach 0 reaches no one."""
    world = draw_world("01", reach=(0, 7, 7), damage=(127, 3, 0), immune_ticks=0, age=0)
    fight(any_backend, world, {0: ("melee", 1), 1: ("mage", 0)})
    assert world.health[0].tolist() == [10, 10] and not world.chilled.any()
    fight(any_backend, world, {0: ("range", 1)})
    assert world.health[0].tolist() == [10, 7]


def test_the_sums_of_a_crowd_do_not_overflow(any_backend):
    """299 attackers with damage 127 on one agent exceed 16 bits."""
    config = preset(
        "chaos", height=48, width=48, border=15, vision=15, slots=300, populations=1,
        damage=(127, 127, 127), reach=(15, 15, 15), births=0, regrowth=0.0,
    )  # fmt: skip
    world = empty_world(config, blank_maps(config, 1), 1)
    for slot in range(300):
        place(world, 0, slot, 15 + slot // 18, 15 + slot % 18)
    world.food.fill_(20)
    world.water.fill_(20)
    victim = 9 * 18 + 9
    fight(any_backend, world, {slot: ("melee", victim) for slot in range(300)})
    assert world.health[0].tolist() == [10 * (slot != victim) for slot in range(300)]
    assert world.food[0].tolist() == [32 * (slot != victim) for slot in range(300)]
    assert world.water[0].tolist() == [32 * (slot != victim) for slot in range(300)]
