"""Work: what each choice needs, takes and gives, how often it succeeds, and who gets a rock's ore."""

from __future__ import annotations

import pytest
import torch
from support.goods import (
    all_work,
    booked,
    draw_workers,
    gained,
    give,
    happened,
    held,
    item,
    set_level,
    with_more,
)
from support.helpers import ODD, assert_same, chi_square, litter, random_world, show

from nmmo_gpu.config import preset
from nmmo_gpu.content import STANDARD, WORKS, Item, Material, Recipe
from nmmo_gpu.world.events import Event
from nmmo_gpu.world.ledger import check_ledger
from nmmo_gpu.world.regrowth_table import NEVER, thresholds
from nmmo_gpu.world.state import MAX_EXPERIENCE
from nmmo_gpu.world.work import possible_works
from nmmo_gpu.world.work import work as torch_rule

MASTER = 20
"""A level at which the standard tiers cannot fail: 10 above the highest."""


def unchanged(backend, world, works):
    """Whether the phase changes nothing."""
    before = world.clone()
    backend.work(world, works)
    assert_same(world, before)
    return True


# What each choice needs, takes and gives.


def test_a_high_level_catches_the_highest_tier(any_backend):
    world = set_level(draw_workers("0~\n.1", realms=2), fishing=MASTER)
    any_backend.work(world, all_work(world, "fish"))
    for realm in range(2):
        for slot in range(2):
            assert held(world, slot, realm) == {"raw_herring": 1}
            assert gained(world, slot, realm)["fishing"] == 30
            assert happened(world, slot, realm) == {"fishing": 1, "fished": 1}
        assert booked(world, realm) == {("made", "raw_herring"): 2}


def test_fish_are_caught_beside_water_only(any_backend):
    """Four neighbors count, diagonal ones do not; the base material decides, as for drinking."""
    world = set_level(draw_workers("0.~.1\n.....\n~...~\n..2.."), fishing=MASTER)
    assert not world.shore[0, world.row[0].long(), world.col[0].long()].any()
    assert unchanged(any_backend, world, all_work(world, "fish"))
    world = set_level(draw_workers("0~.~1\n.....\n2.~..\n~.3.."), fishing=MASTER)
    any_backend.work(world, all_work(world, "fish"))
    assert [held(world, slot) for slot in range(4)] == [{"raw_herring": 1}] * 4


def test_mining_uses_up_the_rock(any_backend):
    picture = "0%.%1\n#####\n2#%##\n%#3##"
    world = set_level(draw_workers(picture, realms=2, ore_regrowth=0.0), mining=MASTER)
    any_backend.work(world, all_work(world, "mine"))
    for realm in range(2):
        assert show(world, picture, realm) == ["0#.#1", "#####", "2####", "##3##"]
        for slot in range(4):
            assert held(world, slot, realm) == {"iron_ore": 1} and gained(world, slot, realm)["mining"] == 120
            assert happened(world, slot, realm) == {"mining": 1, "mined": 1}
        assert booked(world, realm) == {("made", "iron_ore"): 4}
    assert (world.regrow_at == NEVER).all()


def test_stone_corners_and_used_up_rocks_cannot_be_mined(any_backend):
    world = set_level(draw_workers("%.%\n.0.\n%#%"), mining=MASTER)
    assert unchanged(any_backend, world, all_work(world, "mine"))
    world = set_level(draw_workers("0%"), mining=MASTER)
    world.material[world.material == Material.ORE_ROCK] = int(Material.STONE)
    assert unchanged(any_backend, world, all_work(world, "mine"))


def test_an_orerock_is_mined_whatever_its_base(any_backend):
    world = set_level(draw_workers("0~"), mining=MASTER)
    world.material[world.material == Material.WATER] = int(Material.ORE_ROCK)
    any_backend.work(world, all_work(world, "mine"))
    assert held(world) == {"iron_ore": 1}


@pytest.mark.parametrize(
    ("work", "level", "goods", "left", "xp"),
    [
        ("sword", 1, {"copper_ore": 2}, {"copper_sword": 1}, 40),
        ("sword", 9, {"iron_ore": 9, "tin_ore": 3, "copper_ore": 9},
         {"iron_ore": 9, "tin_ore": 1, "copper_ore": 9, "tin_sword": 1}, 80),
        ("sword", 10, {"iron_ore": 1, "tin_ore": 1, "copper_ore": 3},
         {"iron_ore": 1, "tin_ore": 1, "copper_ore": 1, "copper_sword": 1}, 40),
        ("knives", 4, {"tin_ore": 1, "copper_ore": 2},
         {"tin_ore": 1, "copper_ore": 1, "copper_knife": 10}, 20),
        ("knives", 99, {"iron_ore": 1, "iron_knife": 7}, {"iron_knife": 17}, 60),
        ("armor", 10, {"iron_ore": 28}, {"iron_ore": 24, "iron_armor": 1}, 240),
        ("armor", 5, {"tin_ore": 4, "iron_ore": 4}, {"iron_ore": 4, "tin_armor": 1}, 160),
    ],
)  # fmt: skip
def test_smithing_uses_the_last_possible_recipe(any_backend, work, level, goods, left, xp):
    """It never fails, and works with a full inventory, because it takes no more room than it frees."""
    world = give(set_level(draw_workers("0.1"), smithing=level), **goods)
    set_level(world, 1, smithing=1, mining=99, cooking=99, fishing=99)
    world.inventory[:, 1] = 0
    before = world.inventory.clone()
    any_backend.work(world, all_work(world, work))
    assert held(world) == left and gained(world)["smithing"] == xp
    assert happened(world) == {"smithed": 1} and happened(world, 1) == {} and held(world, 1) == {}
    made = {name: left[name] - goods.get(name, 0) for name in left if left[name] > goods.get(name, 0)}
    used = {name: n - left.get(name, 0) for name, n in goods.items() if n > left.get(name, 0)}
    entries = {("made", name): n for name, n in made.items()} | {
        ("used", name): n for name, n in used.items()
    }
    assert booked(world) == entries
    assert not torch.equal(before, world.inventory)


@pytest.mark.parametrize(
    ("work", "level", "goods"),
    [
        ("sword", 99, {"copper_ore": 1, "tin_ore": 1, "iron_ore": 1}),
        ("sword", 9, {"iron_ore": 20}), ("knives", 4, {"tin_ore": 20}), ("armor", 99, {"iron_ore": 3}),
        ("cook", 4, {"raw_sardine": 5, "raw_goblin": 5, "raw_herring": 5, "cooked_shrimp": 5}),
        ("eat", 1, {"raw_shrimp": 20, "iron_sword": 1}), ("eat", 1, {}), ("none", 99, {"iron_ore": 20}),
    ],
)  # fmt: skip
def test_impossible_work_does_nothing(any_backend, work, level, goods):
    world = give(set_level(draw_workers("0~\n%."), smithing=level, cooking=level), **goods)
    world.health[:] = 1
    assert not possible_works(world)[0, 0, WORKS.index(work)] or work == "none"
    assert unchanged(any_backend, world, all_work(world, work))


@pytest.mark.parametrize(
    ("level", "goods", "left", "xp"),
    [
        (99, {"raw_shrimp": 2}, {"raw_shrimp": 1, "cooked_shrimp": 1}, 10),
        (99, {"raw_shrimp": 2, "raw_chicken": 1}, {"raw_shrimp": 2, "cooked_chicken": 1}, 20),
        (99, {"raw_sardine": 1, "raw_goblin": 1}, {"raw_sardine": 1, "cooked_goblin": 1}, 40),
        (99, {"raw_herring": 1, "raw_goblin": 1, "cooked_herring": 26},
         {"raw_goblin": 1, "cooked_herring": 27}, 30),
    ],
)  # fmt: skip
def test_cooking_takes_the_highest_tier_held(any_backend, level, goods, left, xp):
    """Of several at one level the last of the table: a chicken before a shrimp, a goblin before a sardine."""
    world = give(set_level(draw_workers("0"), cooking=level), **goods)
    any_backend.work(world, all_work(world, "cook"))
    assert held(world) == left and gained(world)["cooking"] == xp
    assert happened(world) == {"cooked": 1}
    check = {flow for flow, _ in booked(world)}
    assert check == {"made", "used"}


def test_a_burnt_meal_is_lost(backend):
    """About half of the meals burn at the level they need: raw food is always used, and gives either a meal
    with its experience or an entry in the ledger."""
    world = give(draw_workers("0.1.2.3", realms=50), raw_chicken=1, raw_shrimp=3)
    backend.work(world, all_work(world, "cook"))
    assert (world.inventory[..., item(world, "raw chicken")] == 0).all()
    assert (world.inventory[..., item(world, "raw shrimp")] == 3).all()
    cooked = world.inventory[..., item(world, "cooked chicken")]
    assert 60 < int(cooked.sum()) < 140
    assert torch.equal(world.events[..., Event.COOKED], cooked)
    assert torch.equal(world.events[..., Event.BURNT], 1 - cooked)
    assert torch.equal(world.xp[..., 7], 20 * cooked)
    for realm in range(50):
        good, bad = int(cooked[realm].sum()), int(4 - cooked[realm].sum())
        entries = {
            ("made", "cooked_chicken"): good, ("used", "raw_chicken"): good, ("burnt", "raw_chicken"): bad,
        }  # fmt: skip
        assert booked(world, realm) == {name: n for name, n in entries.items() if n}


@pytest.mark.parametrize(
    ("health", "constitution", "meals", "eaten"),
    [
        # Missing 5: the herring heals exactly that; of equals the last.
        (5, 10, {"cooked_shrimp": 1, "cooked_sardine": 1, "cooked_herring": 1}, "cooked_herring"),
        (5, 10, {"cooked_herring": 1, "cooked_goblin": 1}, "cooked_goblin"),
        # Missing 4: a herring would heal too much, and the best other meal heals 3; of equals the last.
        (6, 10, {"cooked_shrimp": 1, "cooked_sardine": 1, "cooked_herring": 1}, "cooked_sardine"),
        (6, 10, {"cooked_sardine": 1, "cooked_chicken": 1, "cooked_goblin": 1}, "cooked_chicken"),
        # Missing 2 or less: the shrimp if nothing is wasted, else the smallest there is; of equals the first.
        (8, 10, {"cooked_shrimp": 1, "cooked_sardine": 1}, "cooked_shrimp"),
        (9, 10, {"cooked_shrimp": 1, "cooked_sardine": 1}, "cooked_shrimp"),
        (9, 10, {"cooked_chicken": 1, "cooked_sardine": 1, "cooked_goblin": 1}, "cooked_sardine"),
        (10, 10, {"cooked_goblin": 2, "cooked_herring": 1}, "cooked_herring"),
        # Maximum health is the level in constitution.
        (9, 30, {"cooked_shrimp": 1, "cooked_goblin": 1}, "cooked_goblin"),
        (30, 30, {"cooked_goblin": 1}, "cooked_goblin"),
        (1, 99, {"cooked_shrimp": 1, "raw_goblin": 1}, "cooked_shrimp"),
    ],
)  # fmt: skip
def test_eating_avoids_waste_else_takes_the_smallest_meal(any_backend, health, constitution, meals, eaten):
    world = give(set_level(draw_workers("0"), constitution=constitution), **meals)
    world.health[:], world.food[:] = health, 7
    heals = {"shrimp": 2, "sardine": 3, "herring": 5, "chicken": 3, "goblin": 5}[
        eaten.removeprefix("cooked_")
    ]
    any_backend.work(world, all_work(world, "eat"))
    left = {name: n - (name == eaten) for name, n in meals.items()}
    assert held(world) == {name: n for name, n in left.items() if n}
    assert int(world.health) == min(health + heals, constitution) and int(world.food) == 17
    assert happened(world) == {"eaten": 1} and booked(world) == {("eaten", eaten): 1}
    assert gained(world).keys() == {"constitution"}, "experience other than that of birth"


def test_eating_does_not_exceed_maximum_food(any_backend):
    world = give(draw_workers("0.1.2"), cooked_shrimp=1)
    world.food[0] = torch.tensor([22, 23, 32])
    any_backend.work(world, all_work(world, "eat"))
    assert world.food[0].tolist() == [32, 32, 32]


def test_without_skills_maximum_health_is_that_of_the_config(any_backend):
    world = give(draw_workers("0.1", skills=False, max_health=40), cooked_goblin=1)
    world.health[0] = torch.tensor([33, 38])
    any_backend.work(world, all_work(world, "eat"))
    assert world.health[0].tolist() == [38, 40]


# Room.


@pytest.mark.parametrize(("picture", "work", "makes"), [("0~", "fish", "raw"), ("0%", "mine", "ore")])
def test_the_last_unit_of_room(backend, picture, work, makes):
    """One unit is enough. Without one, or if it is reserved for an offer, there is not even an attempt."""
    for count, offer, possible in (
        (27, "", True), (28, "", False), (27, "iron sword", False), (27, "iron knife", True),
        (26, "raw shrimp", True),
    ):  # fmt: skip
        for buys in (False, True):
            world = set_level(draw_workers(picture, ore_regrowth=0.0), fishing=MASTER, mining=MASTER)
            give(world, tin_ore=count, iron_knife=1000)
            if offer:
                world.offer[:] = 1 + item(world, offer) + buys * len(STANDARD.items)
            assert bool(possible_works(world)[0, 0, WORKS.index(work)]) == possible
            if possible:
                backend.work(world, all_work(world, work))
                assert int(world.inventory.sum()) == count + 1001 and len(happened(world)) == 2
                assert any(makes in name for name in held(world))
            else:
                assert unchanged(backend, world, all_work(world, work))


def test_cooking_smithing_and_eating_need_no_room(any_backend):
    world = set_level(draw_workers("0.1.2.3"), cooking=MASTER, smithing=1)
    give(world, copper_ore=14, raw_shrimp=13, cooked_shrimp=1)
    assert int(world.inventory[0, 0].sum()) == 28
    any_backend.work(world, all_work(world, {0: "cook", 1: "sword", 2: "armor", 3: "eat"}))
    assert world.events[0].sum(1).tolist() == [1, 1, 1, 1]


# Chances.


def outcome_counts(world, items):
    """Returns how often each item was obtained, and how often nothing was."""
    got = torch.stack([(world.inventory[..., item(world, name)] > 0).sum() for name in items])
    return torch.cat((got, (world.realms * world.config.slots - got.sum())[None]))


CROWD = {"picture": "0~1~2~3\n.......\n4~5~6~7", "realms": 700}
"""Many agents beside water."""
MINERS = {"picture": "0%#1%#2\n######%\n%3#%4##", "realms": 1000, "ore_regrowth": 0.0}
"""Many miners, one for each rock."""


@pytest.mark.parametrize(
    ("level", "shares"),
    [
        (1, {"raw shrimp": 0.5}),
        (3, {"raw shrimp": 0.6}),
        # The sardine is tried first, the shrimp with what is left.
        (5, {"raw sardine": 0.5, "raw shrimp": 0.5 * 0.7}),
        (9, {"raw sardine": 0.7, "raw shrimp": 0.3 * 0.9}),
        (10, {"raw herring": 0.5, "raw sardine": 0.5 * 0.75, "raw shrimp": 0.125 * 0.95}),
        (12, {"raw herring": 0.6, "raw sardine": 0.4 * 0.85, "raw shrimp": 0.06}),
        (19, {"raw herring": 0.95, "raw sardine": 0.05}),
    ],
)
@pytest.mark.parametrize("work", ["fish", "mine"])
def test_tiers_are_tried_from_the_top_down_with_their_chances(backend, work, level, shares):
    world = draw_workers(**(CROWD if work == "fish" else MINERS), seed=level)
    ore = {"raw shrimp": "copper ore", "raw sardine": "tin ore", "raw herring": "iron ore"}
    if work == "mine":
        shares = {ore[name]: share for name, share in shares.items()}
    set_level(world, **{"fishing" if work == "fish" else "mining": level})
    backend.work(world, all_work(world, work))
    counts = outcome_counts(world, shares)
    assert int(counts[:-1].sum()) == int(world.inventory.sum()), "nothing but what was expected"
    nothing = 1 - sum(shares.values())
    expected = torch.tensor([*shares.values(), nothing], dtype=torch.float64) * counts.sum()
    if nothing < 1e-9:
        assert counts[-1] == 0
        counts, expected = counts[:-1], expected[:-1]
    statistic, limit = chi_square(counts, expected)
    assert statistic < limit, (counts, expected)
    tried = world.events[..., Event.FISHING if work == "fish" else Event.MINING]
    assert (tried == 1).all(), "an attempt counts once, whatever its result"


@pytest.mark.parametrize(
    ("food", "level", "chance"),
    [("shrimp", 1, 0.5), ("shrimp", 8, 0.85), ("goblin", 5, 0.5), ("goblin", 13, 0.9), ("herring", 20, 1.0),
     ("herring", 99, 1.0)],
)  # fmt: skip
def test_the_chance_of_cooking(backend, food, level, chance):
    world = set_level(draw_workers(**CROWD, seed=level), cooking=level)
    give(world, **{f"raw_{food}": 1})
    backend.work(world, all_work(world, "cook"))
    counts = outcome_counts(world, [f"cooked {food}"])
    if chance == 1.0:
        assert counts[1] == 0
    else:
        expected = torch.tensor([chance, 1 - chance], dtype=torch.float64) * counts.sum()
        statistic, limit = chi_square(counts, expected)
        assert statistic < limit


def test_results_are_drawn_for_each_agent_in_each_tick(backend):
    """Two agents, two realms, two ticks, two tiers: successes coincide no more than by chance."""
    world = set_level(draw_workers(**CROWD), fishing=1)
    wins = []
    for now in (0, 1):
        world.tick.fill_(now)
        world.inventory.zero_()
        backend.work(world, all_work(world, "fish"))
        wins.append(world.inventory[..., item(world, "raw shrimp")].clone())
    pairs = {
        "ticks": (wins[0], wins[1]), "agents": (wins[0][:, :-1], wins[0][:, 1:]),
        "realms": (wins[0][:-1], wins[0][1:]),
    }  # fmt: skip
    for name, (a, b) in pairs.items():
        statistic, limit = chi_square(torch.bincount((2 * a + b).view(-1).long(), minlength=4))
        assert statistic < limit, name


def test_lower_tiers_have_draws_of_their_own(backend):
    """An agent that misses the sardine catches the shrimp with the usual chance: with one word for both
    tiers, of those that miss at 0.5 only 0.2 / 0.5 would catch at 0.7."""
    world = set_level(draw_workers(**CROWD, seed=5), fishing=5)
    backend.work(world, all_work(world, "fish"))
    shrimp, nothing = outcome_counts(world, ["raw sardine", "raw shrimp"])[1:].tolist()
    assert 0.66 < shrimp / (shrimp + nothing) < 0.74


# Which rock, and who gets it.


@pytest.mark.parametrize("picture", [".%.\n%0%\n.%.", "...\n%0%\n...", ".%.\n#0%\n...", ".%.\n%0#\n.%."])
def test_the_rock_is_drawn_uniformly_among_adjacent_ones(backend, picture):
    world = set_level(draw_workers(picture, realms=1500, ore_regrowth=0.0), mining=MASTER)
    before = world.material.clone()
    backend.work(world, all_work(world, "mine"))
    changed = (world.material != before).view(1500, -1)
    assert (changed.sum(1) == 1).all()
    at = changed.sum(0)
    counts = at[at > 0]
    assert len(counts) == picture.count("%")
    statistic, limit = chi_square(counts)
    assert statistic < limit
    assert (world.inventory[..., 2] == 1).all()


@pytest.mark.parametrize(
    ("picture", "miners"),
    [("#0#\n#%1\n###", 2), ("###\n0%1\n###", 2), ("#0#\n#%#\n#1#", 2), ("#0#\n1%#\n###", 2),
     ("#0#\n1%2\n###", 3), ("###\n0%1\n#2#", 3), ("#0#\n1%#\n#2#", 3), ("#0#\n1%2\n#3#", 4)],
)  # fmt: skip
def test_one_of_several_miners_gets_the_ore_drawn_uniformly(backend, picture, miners):
    """The others get nothing but the attempt."""
    realms = 1200
    world = set_level(draw_workers(picture, realms=realms, ore_regrowth=0.0), mining=MASTER)
    backend.work(world, all_work(world, "mine"))
    won = world.inventory[..., 2]
    assert (won.sum(1) == 1).all() and int(world.inventory.sum()) == realms
    statistic, limit = chi_square(won.sum(0))
    assert statistic < limit
    assert torch.equal(world.xp[..., 6], 120 * won) and torch.equal(world.events[..., Event.MINED], won)
    assert (world.events[..., Event.MINING] == 1).all()
    assert (world.ledger[:, 2, 0] == 1).all() and (world.ledger[:, :-1].sum((1, 2)) == 1).all()
    assert show(world, picture, 7)[1][1] == "#"


def test_miners_that_fail_do_not_compete(backend):
    """A miner with a high level beside a beginner gets the rock whenever the beginner fails, and half of the
    time otherwise."""
    world = draw_workers("0%1", realms=3000, ore_regrowth=0.0)
    set_level(world, 0, mining=MASTER)
    backend.work(world, all_work(world, "mine"))
    got = torch.stack((world.inventory[:, 0, 2].sum(), world.inventory[:, 1, 0].sum()))
    assert int(got.sum()) == 3000
    statistic, limit = chi_square(got, torch.tensor([0.75, 0.25], dtype=torch.float64) * 3000)
    assert statistic < limit


def test_other_rocks_and_agents_that_do_not_mine_do_not_interfere(any_backend):
    picture = "#%0#\n#1%2\n#%3#"
    world = set_level(draw_workers(picture, ore_regrowth=0.0), mining=MASTER)
    any_backend.work(world, all_work(world, {2: "mine", 0: "none", 1: "fish", 3: "eat"}))
    assert show(world, picture) == ["#%0#", "#1#2", "#%3#"]
    assert [held(world, slot) for slot in range(4)] == [{}, {}, {"iron_ore": 1}, {}]


def test_an_npc_beside_a_rock_does_not_compete(any_backend):
    """Not even one whose index is that of a miner in the next realm."""
    picture = "0%#1#\n##2%#"
    world = draw_workers(
        picture, realms=8, slots=2, npcs=True, npc_numbers=(2, 0, 0), ore_regrowth=0.0
    )  # fmt: skip
    any_backend.work(set_level(world, mining=MASTER), all_work(world, "mine"))
    assert (world.inventory[..., 2] == 1).all()


def test_the_order_of_slots_does_not_decide_who_wins(backend):
    """The agent in the west wins equally often, whether its slot is the lower or the higher one."""
    shares = []
    for picture in ("0%1", "1%0"):
        world = set_level(draw_workers(picture, realms=1500, ore_regrowth=0.0), mining=MASTER)
        backend.work(world, all_work(world, "mine"))
        west = int(picture[0])
        shares.append(world.inventory[:, west, 2])
    assert torch.equal(shares[0], shares[1]), "the winner is drawn by rock and side"


# Regrowth of ore.


def test_a_used_up_rock_returns_at_its_tick(any_backend):
    world = set_level(draw_workers("0%", realms=3, ore_regrowth=0.6), mining=MASTER)
    world.tick.fill_(700)
    any_backend.work(world, all_work(world, "mine"))
    rock = (world.regrow_at != NEVER).view(3, -1)
    assert (rock.sum(1) == 1).all() and torch.equal(rock, (world.base == Material.ORE_ROCK).view(3, -1))
    due = world.regrow_at.view(3, -1)[rock]
    assert (due > 700).all() and (due < 790).all()
    for now in range(701, int(due.max()) + 1):
        world.tick.fill_(now)
        any_backend.regrowth(world)
        back = world.material.view(3, -1)[rock] == Material.ORE_ROCK
        assert torch.equal(back, due <= now)
    assert (world.regrow_at == NEVER).all()
    any_backend.work(world, all_work(world, "mine"))
    assert (world.inventory[:, 0, 2] == 2).all()


def test_its_wait_is_geometric_with_the_chance_of_ore(backend):
    """In bins of nearly equal probability; forest has another chance."""
    world = draw_workers("0%#1%#2%#3%\n###########\n%4#%5#%6#%7", realms=500, ore_regrowth=0.05, regrowth=0.5)
    set_level(world, mining=MASTER)
    world.tick.fill_(40)
    backend.work(world, all_work(world, "mine"))
    waits = world.regrow_at[world.regrow_at != NEVER].long() - 40
    assert len(waits) == 4000 and int(waits.min()) >= 1
    table = torch.tensor(thresholds(0.05), dtype=torch.float64) / (1 << 32)
    edges = [3, 7, 13, 20, 30, 50]
    below = torch.stack([(waits <= edge).sum() for edge in edges])
    law = torch.tensor([1 - 0.95**edge for edge in edges], dtype=torch.float64)
    assert torch.allclose(table[[edge - 1 for edge in edges]], law, atol=1e-6)
    counts = torch.diff(torch.cat((torch.tensor([0]), below, torch.tensor([4000]))))
    edge = torch.tensor([0.0, 1.0], dtype=torch.float64)
    expected = torch.diff(torch.cat((edge[:1], law, edge[1:]))) * 4000
    statistic, limit = chi_square(counts, expected)
    assert statistic < limit


def test_with_regrowth_1_a_rock_returns_in_the_next_tick(any_backend):
    world = set_level(draw_workers("0%", ore_regrowth=1.0), mining=MASTER)
    any_backend.work(world, all_work(world, "mine"))
    assert int((world.regrow_at == 1).sum()) == 1
    world.tick += 1
    any_backend.regrowth(world)
    assert torch.equal(world.material, world.base)


# Who works.


def test_dead_and_killed_agents_do_nothing(any_backend):
    """Empty slots may hold anything."""
    world = set_level(draw_workers("0~1~2\n%.%.%"), fishing=MASTER, mining=MASTER, smithing=99, cooking=99)
    give(world, iron_ore=10, raw_herring=3, cooked_goblin=2)
    world.alive[:, 0] = False
    world.health[:, 1] = 0
    litter(world, 3)
    for name in WORKS[1:]:
        before = world.clone()
        any_backend.work(world, all_work(world, {0: name, 1: name}))
        assert_same(world, before)
    before = world.events.clone()
    any_backend.work(world, all_work(world, "armor"))
    assert (world.events - before).sum(2).tolist() == [[0, 0, 1]]


def test_only_works_of_the_config_can_be_done(any_backend):
    """Each is removed in turn: then it does nothing and is never possible, and the others still are."""
    goods = {"iron_ore": 10, "raw_herring": 3, "cooked_goblin": 2}
    for out in WORKS[1:]:
        others = tuple(name for name in reversed(WORKS[1:]) if name != out)
        world = draw_workers("0~\n%.", works=others, ore_regrowth=0.0)
        give(set_level(world, fishing=MASTER, mining=MASTER, smithing=99, cooking=99), **goods)
        assert unchanged(any_backend, world, all_work(world, out))
        assert possible_works(world)[0, 0].tolist() == [name != out for name in WORKS]
    world = draw_workers("0~", works=("cook", "cook"))
    give(set_level(world, cooking=99), raw_shrimp=2)
    any_backend.work(world, all_work(world, "cook"))
    assert held(world) == {"raw_shrimp": 1, "cooked_shrimp": 1}, "a work listed twice is done once a tick"


def test_without_skills_no_experience_is_gained(any_backend):
    """Levels stay those of birth, and all else is as with skills."""
    world = draw_workers("0~1~2~3~4~5", skills=False, realms=4)
    give(world, 5, copper_ore=2)
    before = world.xp.clone()
    any_backend.work(world, all_work(world, {slot: "fish" for slot in range(5)} | {5: "sword"}))
    assert torch.equal(world.xp, before)
    assert held(world, 5) == {"copper_sword": 1} and 4 < int(world.inventory[..., 3].sum()) < 16


def test_experience_is_added(any_backend):
    """Also above its maximum, to which growth clamps it."""
    world = set_level(draw_workers("0~1"), fishing=MASTER)
    world.xp[0, :, 5] = torch.tensor([7, MAX_EXPERIENCE])
    any_backend.work(world, all_work(world, "fish"))
    assert world.xp[0, :, 5].tolist() == [37, MAX_EXPERIENCE + 30]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_choices_of_any_integer_dtype_from_a_larger_tensor(any_backend, dtype):
    world = give(set_level(draw_workers("0~1~2"), fishing=MASTER), 1, copper_ore=2)
    actions = torch.full((1, 3, 5), 7).to(dtype)
    actions[0, :, 3] = torch.tensor([1, 4, 0])
    any_backend.work(world, actions[..., 3])
    assert [held(world, slot) for slot in range(3)] == [{"raw_herring": 1}, {"copper_sword": 1}, {}]


def test_all_agents_work_in_one_tick(any_backend):
    """NPCs follow the agents in the tensors and do not work."""
    world = draw_workers("0~2\n%3.\n1.4\n..5", npcs=True, npc_numbers=(3, 1, 1), ore_regrowth=0.0, realms=2)
    set_level(world, fishing=MASTER, mining=MASTER, cooking=MASTER)
    give(world, 2, raw_herring=1)
    give(world, 3, cooked_shrimp=1)
    give(world, 4, copper_ore=6)
    names = {0: "fish", 1: "mine", 2: "cook", 3: "eat", 4: "armor"}
    any_backend.work(world, all_work(world, names))
    expected = [
        {"raw_herring": 1},
        {"iron_ore": 1},
        {"cooked_herring": 1},
        {},
        {"copper_ore": 2, "copper_armor": 1},
        {},
    ]
    for realm in range(2):
        assert [held(world, slot, realm) for slot in range(6)] == expected


# What is possible.


def goods_world(seed, realms=3, **settings):
    """Returns agents with all kinds of goods among water, rocks and grass."""
    config = preset("full", **{**ODD, "border": 12, "slots": 60, "populations": 3, **settings})
    return random_world(config, realms, seed, odds="~..%%#f,", fill=0.8)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("choice", range(1, len(WORKS)))
def test_possible_is_exactly_what_does_something(choice, seed):
    """In random worlds an agent's events increase if and only if its choice was possible."""
    settings = [{}, {"skills": False}, {"capacity": 12}, {"npcs": False, "exchange": False}][seed]
    world = litter(goods_world(seed, **settings), seed)
    possible = possible_works(world)
    assert possible.shape == (3, 60, len(WORKS)) and possible[..., 0].all()
    before = world.clone()
    torch_rule(world, torch.full((3, 60), choice))
    acted = (world.events != before.events).any(2)
    assert torch.equal(acted, possible[..., choice] & world.agents(world.alive))
    moved = (world.inventory != before.inventory).any(2)
    assert not (moved & ~acted).any()
    shares = possible[..., choice][world.agents(world.alive)].float().mean()
    assert 0 < float(shares) < 1, "possible and impossible choices occur"


@pytest.mark.parametrize("seed", range(3))
def test_goods_are_conserved(backend, seed):
    """Whatever all agents do, for some ticks."""
    world = goods_world(seed, regrowth=0.0)
    check_ledger(world)
    random = torch.Generator().manual_seed(seed)
    for _ in range(10):
        backend.work(world, torch.randint(len(WORKS), (3, 60), generator=random))
        check_ledger(world)
        backend.growth(world)
        backend.regrowth(world)
        world.tick += 1
        world.validate()
    assert int(world.events.sum()) > 0


# More content.


def test_unusual_content(backend):
    """An item that feeds without healing, a catch of three, a pie that takes two and weighs nothing, a bundle
    that needs room, and a recipe that makes its own material."""
    content = with_more(
        STANDARD,
        items=(
            Item("pearl"), Item("bread", feeds=20), Item("salad", heals=4, feeds=1), Item("thread", weight=0),
            Item("net"),
        ),
        recipes=(
            Recipe("fish", "fishing", 15, 55, "pearl", amount=3),
            Recipe("fish", "mining", 15, 66, "thread", amount=9),
            Recipe("cook", "cooking", 30, 5, "bread", takes="pearl", takes_amount=2),
            Recipe("sword", "cooking", 30, 7, "net", amount=3, takes="thread", takes_amount=4),
            Recipe("armor", "smithing", 30, 9, "net", amount=2, takes="net", takes_amount=1),
        ),
    )  # fmt: skip

    def world_with(room, **levels):
        world = set_level(draw_workers("0~1", content=content, ore_regrowth=0.0), **levels)
        return give(world, raw_shrimp=28 - room, thread=5)

    # Pearls need room for three; without it, the next lower tier is caught (always, at level 25).
    world = world_with(3, fishing=25)
    backend.work(world, all_work(world, "fish"))
    assert held(world) == {"raw_shrimp": 25, "thread": 5, "pearl": 3} and happened(world)["fished"] == 3
    assert gained(world)["fishing"] == 55
    world = world_with(2, fishing=25)
    backend.work(world, all_work(world, "fish"))
    assert held(world) == {"raw_shrimp": 26, "thread": 5, "raw_herring": 1}
    # Thread weighs nothing, so it is caught with a full inventory, by another skill.
    world = world_with(0, fishing=25, mining=25)
    backend.work(world, all_work(world, "fish"))
    assert held(world) == {"raw_shrimp": 28, "thread": 14}
    assert gained(world)["mining"] == 66 and "fishing" not in gained(world)
    # Three nets need room for three, because the thread frees none.
    world = world_with(2, cooking=99)
    assert unchanged(backend, world, all_work(world, "sword"))
    world = world_with(3, cooking=99)
    backend.work(world, all_work(world, "sword"))
    assert held(world) == {"raw_shrimp": 25, "thread": 1, "net": 3} and gained(world)["cooking"] == 7
    # A net becomes two, which needs room for one more.
    world = give(world_with(1, smithing=30), net=1, raw_shrimp=26)
    backend.work(world, all_work(world, "armor"))
    assert held(world) == {"raw_shrimp": 26, "thread": 5, "net": 2}
    assert booked(world) == {("made", "net"): 4, ("used", "net"): 2}
    # Bread takes two pearls and heals nothing: it is the smallest meal.
    world = give(world_with(20, cooking=50), raw_shrimp=0, pearl=2, cooked_goblin=1)
    backend.work(world, all_work(world, "cook"))
    assert held(world) == {"thread": 5, "bread": 1, "cooked_goblin": 1}
    world.food[:] = 3
    backend.work(world, all_work(world, "eat"))
    assert held(world) == {"thread": 5, "cooked_goblin": 1} and world.food[0].tolist() == [23, 23]
    # Salad heals four: its healing is between sardine's and herring's.
    world = give(world_with(20), raw_shrimp=0, salad=1, cooked_herring=1, cooked_sardine=1)
    world.health[:] = 6
    backend.work(world, all_work(world, "eat"))
    assert "salad" not in held(world) and world.health[0].tolist() == [10, 10]


def test_content_without_recipes_or_meals(any_backend):
    world = draw_workers("0~\n%.", content=with_more(STANDARD))
    bare = draw_workers("0~\n%.", content=type(STANDARD)(items=STANDARD.items[:3], prices=(1,)))
    for name in WORKS:
        assert unchanged(any_backend, bare, all_work(bare, name))
    assert possible_works(bare)[0, 0].tolist() == [True] + [False] * 7
    assert possible_works(world)[0, 0].any()
