"""Combat of the full game: hits, damage, top attackers and experience, with rolled and flat damage."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.goods import booked, draw_workers, gained, give, happened, held, set_level
from support.helpers import (
    ODD,
    assert_same,
    blank_maps,
    chi_square,
    draw_world,
    orders,
    place,
    random_orders,
    random_world,
)

from nmmo_gpu.config import preset
from nmmo_gpu.content import SKILLS
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.random import Stream, draw
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause, World

SWORD, KNIFE, ARMOR = range(3)
RANKS = {"copper": 1, "tin": 2, "iron": 3}
KNIVES = ("copper_knife", "tin_knife", "iron_knife")
# Bonuses of the item table in RULES.md, by rank of the worn gear; 0 for none.
ATTACK = {"melee": (0, 10, 15, 19), "range": (0, 5, 8, 10), "mage": (0, 0, 0, 0)}
STRENGTH = {"melee": (0, 9, 14, 14), "range": (0, 4, 7, 8), "mage": (0, 0, 0, 0)}
PROTECTION = (0, 55, 90, 105)


def fight(backend, world, attack):
    _, style, target = orders(world, attack=attack)
    backend.combat(world, style, target)


def wear(world: World, slot: int | slice = slice(None), *, knives: int = 9, **gear: str) -> World:
    """Equips agents with metals by kind of gear, and gives them a stock of the worn knives."""
    for place_, kind in enumerate(("sword", "knife", "armor")):
        if kind in gear:
            world.worn[:, slot, place_] = RANKS[gear[kind]]
            give(world, slot, **{f"{gear[kind]}_{kind}": knives if kind == "knife" else 1})
    return world


def rolled(world: World, realm: int, slot: int, victim: int, style: str) -> int:
    """Returns what an attack that counts does, 0 for a miss, computed from the rules step by step."""
    cfg = world.config
    agent = slot < cfg.slots
    kind = {"melee": SWORD, "range": KNIFE, "mage": ARMOR}[style]
    weapon = int(world.worn[realm, slot, kind]) if agent and style != "mage" else 0
    armor = int(world.worn[realm, victim, ARMOR]) if victim < cfg.slots else 0
    level = int(world.level[realm, slot, SKILLS.index(style)])
    a = level * (ATTACK[style][weapon] + 64)
    d = int(world.level[realm, victim, SKILLS.index("defense")]) * (PROTECTION[armor] + 64)
    words = draw(world.seed, world.tick, Stream.STRIKE, torch.tensor([realm]), torch.tensor([slot]))
    aim, force = int(words[0]), int(words[1])
    # Chances as fractions of 2^32: of (a > d) 1 - (d + 2) / (2 (a + 1)), else a / (2 (d + 1)).
    hits = aim * 2 * (a + 1) >> 32 < 2 * a - d if a > d else aim * 2 * (d + 1) >> 32 < a
    maximum = int(0.5 + (8 + level) * (STRENGTH[style][weapon] + 64) / 640)
    return 1 + (force * maximum >> 32) if hits else 0


def without_effect(world: World) -> World:
    """Returns the world as combat leaves it if no attack counts."""
    after = world.clone()
    after.damage.zero_()
    after.top_attacker.fill_(-1)
    return after


@pytest.mark.parametrize("systems", [{"rolls": True}, {"rolls": False, "damage": (10, 2, 1)}])
def test_an_attack_that_does_not_count_has_no_effect(any_backend, systems):
    """Out of reach, on a dead agent, on oneself, without a target, by a dead agent: no roll, no event and no
    knife."""
    world = wear(draw_workers("01...2..3", slots=5, **systems), knife="tin")
    world.alive[:, 3] = False
    world.health[:, 3] = 10  # garbage
    world.damage.fill_(77)
    world.top_attacker.fill_(1)
    expected = without_effect(world)
    for style in ("melee", "range", "mage"):
        fight(
            any_backend, world, {0: (style, 0), 1: (style, 3), 2: (style, -1), 3: (style, 2), 4: (style, 2)}
        )
        fight(any_backend, world, {0: (style, 2), 2: (style, 0)})  # five tiles
        assert_same(world, expected)
    fight(any_backend, world, {1: ("melee", 2), 2: ("melee", 1)})  # four tiles
    assert_same(world, expected)


def test_an_agent_without_health_does_not_attack(any_backend):
    """Whatever took its health: being alive is not enough."""
    world = wear(draw_workers("01"), knife="tin")
    world.health[0, 0] = 0
    expected = without_effect(world)
    for style in ("melee", "range", "mage"):
        fight(any_backend, world, {0: (style, 1)})
        assert_same(world, expected)


def test_rolled_attacks_on_immune_agents_or_without_a_knife_do_not_count(any_backend):
    """They do not freeze either. A knife that is held but not worn, because it needs a higher level, does not
    count."""
    world = wear(draw_workers("01.2", immune_ticks=21, age=20), 0, knife="iron", sword="iron")
    world.damage.fill_(77)
    expected = without_effect(world)
    for style in ("melee", "range", "mage"):
        fight(any_backend, world, {0: (style, 1)})
        assert_same(world, expected)
    world.age.fill_(21)
    world.worn[:, 0, KNIFE] = 0
    expected = without_effect(world)
    fight(any_backend, world, {0: ("range", 1), 1: ("range", 2), 2: ("range", 1)})
    assert_same(world, expected)


@pytest.mark.parametrize(("style", "reach"), [("melee", 1), ("range", 4), ("mage", 4)])
def test_reach_is_one_tile_for_melee_and_four_for_the_others(any_backend, style, reach):
    for rows, cols in ((0, reach), (reach, 0), (reach, reach), (reach, 1), (0, reach + 1), (reach + 1, 2)):
        grid = [["."] * (cols + 1) for _ in range(rows + 1)]
        grid[0][0], grid[rows][cols] = "0", "1"
        world = wear(draw_workers("\n".join(map("".join, grid))), knife="copper")
        fight(any_backend, world, {1: (style, 0)})
        counts = max(rows, cols) <= reach
        assert happened(world, 1).get("attacks", 0) == counts
        assert held(world, 1)["copper_knife"] == 9 - (counts and style == "range")


@pytest.mark.parametrize("style", ["melee", "range", "mage"])
def test_a_rolled_attack_matches_the_rules(any_backend, style):
    """Damage, health, experience, events, top_attacker and chill of one attack in many ticks; food and water
    do not change."""
    world = wear(draw_workers("01", age=30), 0, knives=99, sword="tin", knife="iron")
    set_level(world, 0, melee=14, range=12, mage=20)
    set_level(wear(world, 1, armor="copper"), 1, defense=6)
    start, missed = world.clone(), 0
    for now in range(24):
        world = start.clone()
        world.tick.fill_(now + (5 << 32))
        damage = rolled(world, 0, 0, 1, style)
        before = world.clone()
        fight(any_backend, world, {0: (style, 1)})
        missed += damage == 0
        before.damage[0, 0] = 0
        before.damage[0, 1] = damage
        before.health[0, 1] = max(10 - damage, 0)
        before.cause[0, 1] = Cause.COMBAT if damage >= 10 else Cause.NONE
        before.top_attacker[0] = torch.tensor([-1, 0 if damage else -1])
        before.chilled[0, 1] = style == "mage" and damage > 0
        before.events[0, 0, Event.ATTACKS] = 1
        before.events[0, 0, Event.HITS] = damage > 0
        before.events[0, 0, Event.DAMAGE] = damage
        before.xp[0, 0, SKILLS.index(style)] += 3 * damage
        before.xp[0, 0, SKILLS.index("constitution")] += damage
        before.xp[0, 1, SKILLS.index("defense")] += 3 * damage
        before.xp[0, 1, SKILLS.index("constitution")] += damage
        if style == "range":
            give(before, 0, iron_knife=98)
            before.ledger[0, world.config.tables.items.index("iron knife"), Flow.USED] += 1
        assert_same(world, before, f"{style}, tick {now}")
    assert 0 < missed < 24


def test_a_throw_uses_one_worn_knife_hit_or_miss(any_backend):
    """The best usable knives are worn, and the others stay. The ledger adds up the knives of two throwers."""
    world = give(draw_workers("01.2"), **dict.fromkeys(KNIVES, 2))
    world.worn[0, :, KNIFE] = torch.tensor([2, 2, 1])
    set_level(world, 1, defense=99)
    for throws, now in ((1, 3), (2, 4)):
        world.tick.fill_(now)
        fight(any_backend, world, {0: ("range", 1), 1: ("range", 2), 2: ("range", 1)})
        knives = [[held(world, slot).get(knife, 0) for knife in KNIVES] for slot in range(3)]
        assert knives == [[2, 2 - throws, 2], [2, 2 - throws, 2], [2 - throws, 2, 2]]
        used = {item: n for (flow, item), n in booked(world).items() if flow == "used"}
        assert used == {"copper_knife": throws, "tin_knife": 2 * throws}
    assert [happened(world, slot)["attacks"] for slot in range(3)] == [2, 2, 2]
    assert "hits" not in happened(world, 0)


CASES = {
    "equals": ("melee", 1, 0, 1, 0),
    "far better": ("melee", 40, 3, 1, 0),
    "better sword than armor": ("melee", 9, 2, 5, 1),
    "hopeless": ("melee", 3, 1, 20, 3),
    "knife": ("range", 30, 3, 20, 1),
    "knives hard to throw": ("range", 5, 1, 8, 2),
    "mage": ("mage", 60, 3, 25, 2),
    "mage in need": ("mage", 4, 1, 4, 2),
    "half a point more": ("mage", 7, 0, 1, 0),
}


@pytest.mark.parametrize("case", CASES)
def test_hits_and_damage_have_the_right_distributions(backend, case):
    """170 pairs over 120 ticks are compared with chances computed as fractions: of a miss, and of each
    damage."""
    style, level, weapon, defense, armor = CASES[case]
    config = preset("full", **ODD, npcs=False, slots=340, populations=1, births=0)
    world = empty_world(config, blank_maps(config, 1), 99)
    for slot in range(340):
        place(world, 0, slot, 8 + slot // 20, 9 + slot % 20)
    set_level(world, slice(0, None, 2), **{style: level})
    set_level(world, slice(1, None, 2), defense=defense)
    world.worn[0, 0::2, :2] = weapon
    world.worn[0, 1::2, ARMOR] = armor
    give(world, **dict.fromkeys(KNIVES, 1000))
    a = level * (ATTACK[style][weapon] + 64)
    d = defense * (PROTECTION[armor] + 64)
    chance = 1 - (d + 2) / (2 * (a + 1)) if a > d else a / (2 * (d + 1))
    maximum = int(0.5 + (8 + level) * (STRENGTH[style][weapon] + 64) / 640)

    counts = torch.zeros(maximum + 1, dtype=torch.int64)
    attack = {slot: (style, slot + 1) for slot in range(0, 340, 2)}
    _, styles, targets = orders(world, attack=attack)
    for now in range(120):
        world.tick.fill_(7 * now)
        world.health.fill_(1000)
        backend.combat(world, styles, targets)
        counts += torch.bincount(world.damage[0, 1::2].long(), minlength=maximum + 1)
    total = 120 * 170
    expected = torch.tensor([(1 - chance) * total] + [chance * total / maximum] * maximum)
    statistic, bound = chi_square(counts, expected.double())
    assert counts.numel() == maximum + 1 and statistic < bound
    assert int(world.events[0, :, Event.HITS].sum()) == total - int(counts[0])
    assert int(world.events[0, :, Event.ATTACKS].sum()) == total


def test_damage_of_several_attackers_adds_up_and_trains_each(any_backend):
    """Three attack one, which attacks one of them: all gain experience from what they did and what was done
    to them."""
    world = set_level(draw_workers("012\n.3.", age=40), melee=30, mage=30)
    world.health.fill_(50)
    base = world.xp.clone()
    attack = {0: ("melee", 3), 1: ("mage", 3), 2: ("melee", 3), 3: ("mage", 1)}
    did = {slot: rolled(world, 0, slot, victim, style) for slot, (style, victim) in attack.items()}
    fight(any_backend, world, attack)
    assert sum(damage > 0 for damage in did.values()) >= 3, "choose a seed with which more of them hit"
    suffered = {0: 0, 1: did[3], 2: 0, 3: did[0] + did[1] + did[2]}
    for slot, (style, _) in attack.items():
        learnt = (world.xp - base)[0, slot].tolist()
        expected = [0] * len(SKILLS)
        expected[SKILLS.index(style)] += 3 * did[slot]
        expected[SKILLS.index("defense")] += 3 * suffered[slot]
        expected[SKILLS.index("constitution")] += did[slot] + suffered[slot]
        assert learnt == expected
        assert world.damage[0, slot] == suffered[slot] and world.health[0, slot] == 50 - suffered[slot]
        assert happened(world, slot).get("damage", 0) == did[slot]


def test_experience_may_exceed_its_limit_until_the_tick_ends(any_backend):
    """Growth clamps it; here it must not wrap."""
    world = set_level(draw_workers("01"), melee=99)
    world.xp.fill_(1_000_000_000)
    world.tick.fill_(next(t for t in range(99) if _at(world, t) > 0))
    fight(any_backend, world, {0: ("melee", 1)})
    assert world.xp[0, 0, 0] == 1_000_000_000 + 3 * int(world.damage[0, 1]) > 1_000_000_000


def _at(world, now):
    world.tick.fill_(now)
    return rolled(world, 0, 0, 1, "melee")


def test_two_agents_can_kill_each_other(any_backend):
    world = set_level(draw_workers("01"), melee=99)
    world.health.fill_(1)
    world.tick.fill_(next(t for t in range(999) if _at(world, t) and rolled(world, 0, 1, 0, "melee")))
    fight(any_backend, world, {0: ("melee", 1), 1: ("melee", 0)})
    assert world.health.tolist() == [[0, 0]] and world.cause.tolist() == [[Cause.COMBAT] * 2]
    assert world.top_attacker.tolist() == [[1, 0]]


def test_without_skills_no_experience_is_gained(any_backend):
    world = draw_workers("01", skills=False)
    xp = world.xp.clone()
    for now in range(20):
        world.tick.fill_(now)
        world.health.fill_(10)
        fight(any_backend, world, {0: ("melee", 1), 1: ("mage", 0)})
    assert world.events[0, :, Event.HITS].min() > 0 and torch.equal(world.xp, xp)


def test_the_attacker_with_the_most_damage_is_the_top_attacker(any_backend):
    """Whatever its slot and its number in the draw among equals are."""
    for strong in range(4):
        for now in range(5):
            world = draw_workers("012\n.3.\n.4.", rolls=False, damage=(9, 2, 1))
            world.tick.fill_(now)
            attack = {slot: ("melee" if slot == strong else "mage", 4) for slot in range(4)}
            world.col[0, :4] = world.col[0, 4]  # all on one tile, which combat does not check
            world.row[0, :4] = world.row[0, 4]
            fight(any_backend, world, attack)
            assert world.top_attacker[0].tolist() == [-1, -1, -1, -1, strong]


@pytest.mark.parametrize("systems", [{"rolls": True}, {"rolls": False, "damage": (1, 1, 1)}])
def test_the_top_attacker_is_drawn_uniformly_among_equals(backend, systems):
    """No slot has an advantage, whatever its other draws are: damage is 1 for all, mages at level 1."""
    world = draw_workers("012\n345", realms=40, **systems)
    _, style, target = orders(world, attack={slot: ("mage", 2) for slot in (0, 1, 3, 4, 5)})
    counts = torch.zeros(6, dtype=torch.int64)
    shared = 0
    for now in range(150):
        world.tick.fill_(now)
        world.health.fill_(100)
        hits = world.events[..., Event.HITS].clone()
        backend.combat(world, style, target)
        hits = world.events[..., Event.HITS] - hits
        all_hit = hits.sum(1) == (5 if not systems["rolls"] else 3)
        shared += int(all_hit.sum())
        # Among realms with the same number of hits, each agent that hit has the same chance.
        top_attacker = world.top_attacker[all_hit, 2].long()
        assert hits[all_hit].gather(1, top_attacker[:, None]).all()
        counts += torch.bincount(top_attacker, minlength=6)
    assert shared > 1000 and counts[2] == 0
    statistic, bound = chi_square(counts[[0, 1, 3, 4, 5]])
    assert statistic < bound


def test_the_top_attacker_is_cleared_in_the_next_tick(any_backend):
    world = draw_workers("01", rolls=False, damage=(3, 3, 3))
    fight(any_backend, world, {0: ("melee", 1)})
    assert world.top_attacker.tolist() == [[-1, 0]] and world.damage.tolist() == [[0, 3]]
    fight(any_backend, world, {})
    assert world.top_attacker.tolist() == [[-1, -1]] and world.damage.tolist() == [[0, 0]]


def test_flat_damage_in_the_full_game_is_that_of_chaos(any_backend):
    """Health, food, water, damage, chill and cause are equal; some of the victims are immune, and some are
    attacked by many."""
    plain = preset("chaos", **{**ODD, "border": 12}, slots=60, populations=3, immune_ticks=3)
    full = dataclasses.replace(plain, skills=True)
    for seed in range(3):
        world = random_world(full, 2, seed, fill=0.9)
        world.health.clamp_(max=10)
        old = empty_world(plain, world.base, 0)
        for name, tensor in old.tensors():
            if tensor.numel():
                tensor.copy_(getattr(world, name))
        _, style, target = random_orders(world, torch.Generator().manual_seed(seed))
        any_backend.combat(world, style, target)
        any_backend.combat(old, style, target)
        for name in ("health", "food", "water", "damage", "chilled", "cause"):
            assert torch.equal(getattr(world, name), getattr(old, name)), name
        assert int(old.damage.sum()) > 0


def test_flat_attacks_count_and_train_unless_the_target_is_immune(any_backend):
    """Immunity stops damage, experience and events, but neither drain nor chill."""
    world = draw_workers("01", rolls=False, damage=(4, 3, 2), immune_ticks=20, age=20)
    world.food.fill_(20)
    world.xp.zero_()
    fight(any_backend, world, {0: ("mage", 1)})
    assert gained(world, 0) == {"mage": 6, "constitution": 2}
    assert gained(world, 1) == {"defense": 6, "constitution": 2}
    assert happened(world, 0) == {"attacks": 1, "hits": 1, "damage": 2} and happened(world, 1) == {}
    world = draw_workers("01", rolls=False, damage=(4, 3, 2), immune_ticks=21, age=20)
    world.food.fill_(20)
    world.xp.zero_()
    fight(any_backend, world, {0: ("mage", 1)})
    assert gained(world, 0) == gained(world, 1) == {}
    assert happened(world, 0) == {"attacks": 1} and world.top_attacker[0, 1] == -1
    assert world.food.tolist() == [[22, 18]] and world.chilled.tolist() == [[False, True]]
    assert world.health.tolist() == [[10, 10]]


def test_flat_attacks_without_damage_do_nothing(any_backend):
    world = draw_workers("01", rolls=False, damage=(4, 0, 0))
    expected = without_effect(world)
    for style in ("range", "mage"):
        fight(any_backend, world, {0: (style, 1), 1: (style, 0)})
        assert_same(world, expected)


def test_flat_throws_neither_need_nor_use_a_knife(any_backend):
    world = wear(draw_workers("01", rolls=False, damage=(4, 3, 0)), 1, knife="tin")
    fight(any_backend, world, {0: ("range", 1), 1: ("range", 0)})
    assert world.health.tolist() == [[7, 7]] and held(world, 1) == {"tin_knife": 9}


def zoo(picture: str, numbers: tuple[int, int, int], slots: int, **settings) -> World:
    """Returns a world of agents followed by this many chickens, goblins and bears."""
    return draw_world(
        picture, "full", slots=slots, npc_numbers=numbers, age=40, seed=5, **settings
    )  # fmt: skip


def hitting(world: World, slot: int, victim: int, style: str = "melee") -> World:
    """Returns the world at a tick in which that attack hits."""
    for now in range(1, 2000):
        world.tick.fill_(now)
        if rolled(world, 0, slot, victim, style):
            return world
    raise AssertionError("the attack never hits")


def test_only_kinds_that_can_be_provoked_are(any_backend):
    """A goblin turns on the agent that hit it, for five ticks; a chicken and a bear do not. A miss does not
    provoke."""
    for victim, kind in ((2, "chicken"), (3, "goblin"), (4, "bear")):
        world = zoo("01234", (1, 1, 1), 2)
        world.col[0] = world.col[0, 0]
        world.entity[0, 1] = 4321
        set_level(world, melee=60)
        world.health[0, 2:] = 100
        hitting(world, 1, victim)
        fight(any_backend, world, {1: ("melee", victim)})
        angry = kind == "goblin"
        assert world.top_attacker[0, victim] == 1
        assert world.aggro_target[0].tolist() == [-1, 1 if angry else -1, -1]
        assert world.aggro_entity[0].tolist() == [-1, 4321 if angry else -1, -1]
        assert world.aggro_ticks[0].tolist() == [0, 5 * angry, 0]
    calm = zoo("01", (0, 1, 0), 1)
    calm.tick.fill_(next(t for t in range(1, 99) if not _at(calm, t)))
    fight(any_backend, calm, {0: ("melee", 1)})
    assert calm.aggro_target.tolist() == [[-1]] and calm.aggro_ticks.tolist() == [[0]]
    assert happened(calm, 0) == {"attacks": 1}


def test_a_provoked_npc_turns_on_a_new_attacker_only_if_it_hits(any_backend):
    world = zoo("012", (0, 1, 0), 2)
    world.col[0] = world.col[0, 0]
    set_level(world, melee=60)
    world.health[0, 2] = 100
    world.aggro_target[0, 0], world.aggro_entity[0, 0], world.aggro_ticks[0, 0] = (
        0,
        int(world.entity[0, 0]),
        2,
    )
    fight(any_backend, world, {})
    assert world.aggro_target[0, 0] == 0 and world.aggro_ticks[0, 0] == 2
    hitting(world, 1, 2)
    fight(any_backend, world, {1: ("melee", 2)})
    assert (
        world.aggro_target[0, 0] == 1
        and world.aggro_entity[0, 0] == world.entity[0, 1]
        and world.aggro_ticks[0, 0] == 5
    )


@pytest.mark.parametrize("style", ["melee", "range", "mage"])
def test_killing_an_npc_trains_the_killers_style(any_backend, style):
    """150 for a bear in addition to the experience for damage; another agent that hit it gets nothing
    more."""
    world = zoo("0.\n12", (0, 0, 1), 2)
    set_level(wear(world, 0, knife="iron"), 0, **{style: 99})
    world.xp.zero_()
    world.health[0, 2] = 3
    for now in range(1, 3000):
        world.tick.fill_(now)
        first, second = rolled(world, 0, 0, 2, style), rolled(world, 0, 1, 2, "mage")
        if first >= 3 and second:
            break
    fight(any_backend, world, {0: (style, 2), 1: ("mage", 2)})
    assert world.cause[0].tolist() == [0, 0, Cause.COMBAT] and world.top_attacker[0, 2] == 0
    assert gained(world, 0) == {style: 3 * first + 150, "constitution": first}
    assert gained(world, 1) == {"mage": 3 * second, "constitution": second}
    assert happened(world, 0) == {"attacks": 1, "hits": 1, "damage": first}


def test_npcs_attack_by_their_level_and_record_no_events(any_backend):
    """A bear attacks with level 15 and no weapon. Its victim gains experience, and the bear gets no
    events."""
    world = zoo("01", (0, 0, 1), 1)
    world.xp.zero_()
    damages = set()
    for now in range(60):
        world.tick.fill_(now)
        world.health[0, 0] = 90
        damage = rolled(world, 0, 1, 0, "melee")
        fight(any_backend, world, {1: ("melee", 0)})
        assert world.damage[0].tolist() == [damage, 0]
        assert world.top_attacker[0].tolist() == [1 if damage else -1, -1]
        damages.add(damage)
    assert damages == {0, 1, 2}  # floor(0.5 + 23 * 64 / 640) = 2
    total = gained(world)["constitution"]
    assert gained(world) == {"defense": 3 * total, "constitution": total}
    assert happened(world, 0) == {}


def test_npcs_are_never_immune_and_never_throw(any_backend):
    world = zoo("01", (0, 0, 1), 1)
    world.age.fill_(0)
    world.age[0, 0] = 40
    hitting(world, 0, 1)
    fight(any_backend, world, {0: ("melee", 1), 1: ("range", 0)})
    assert world.damage[0, 1] > 0 and world.damage[0, 0] == 0


def test_realms_and_ticks_draw_independently(backend):
    world = draw_workers("01", realms=64)
    _, style, target = orders(world, attack={0: ("melee", 1)})
    backend.combat(world, style, target)
    first = world.damage[:, 1].clone()
    assert 10 < int((first > 0).sum()) < 54
    world.tick += 1
    backend.combat(world, style, target)
    assert not torch.equal(first, world.damage[:, 1])
