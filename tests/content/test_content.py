"""Content: the tables and the experience curve match the rules, and invalid content is refused."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import (
    GEAR,
    MATERIALS,
    SKILLS,
    STANDARD,
    WORKS,
    Content,
    Drop,
    Item,
    Material,
    NPCKind,
    Recipe,
)
from nmmo_gpu.content.check import complaint
from nmmo_gpu.content.tables import ONE, combat_level, experience_table, tables
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.spawning import birth_experience, birth_levels

FULL = preset("full")
TABLES = FULL.tables


def numbers(*names: str) -> list[int]:
    return [TABLES.items.index(name) for name in names]


# ------------------------------------------------------------------------------------------------------ rules


def test_skills_works_and_gear_are_in_order():
    assert " ".join(SKILLS) == "melee range mage defense constitution fishing mining cooking smithing"
    assert " ".join(WORKS) == "none fish mine cook sword knives armor eat"
    assert " ".join(GEAR) == "sword knife armor"


def test_the_22_items_are_in_the_order_of_the_rules():
    metals, fish = ("copper", "tin", "iron"), ("shrimp", "sardine", "herring")
    beasts = ("chicken", "goblin")
    expected = [f"{metal} ore" for metal in metals] + [f"raw {food}" for food in (*fish, *beasts)]
    expected += [f"cooked {food}" for food in (*fish, *beasts)]
    expected += [f"{metal} {gear}" for gear in ("sword", "knife", "armor") for metal in metals]
    assert list(TABLES.items) == expected and len(expected) == 22
    assert TABLES.gold == 22


def test_knives_weigh_nothing_and_trade_in_lots_of_ten():
    for number, name in enumerate(TABLES.items):
        knife = name.endswith("knife")
        assert TABLES.weight[number] == (not knife) and TABLES.lot[number] == (10 if knife else 1), name
    assert FULL.capacity == 28 and FULL.birth_gold == 10


def test_gear_by_rank_with_the_levels_and_bonuses_of_the_rules():
    assert TABLES.gear == ((13, 14, 15), (16, 17, 18), (19, 20, 21))
    assert TABLES.gear_level == ((1, 5, 10),) * 3
    assert TABLES.attack == ((0, 10, 15, 19), (0, 5, 8, 10), (0, 0, 0, 0))
    assert TABLES.strength == ((0, 9, 14, 14), (0, 4, 7, 8), (0, 0, 0, 0))
    assert TABLES.defense == (0, 55, 90, 105)


def test_meals_heal_2_3_5_3_5_and_feed_10():
    heals = dict(zip(range(8, 13), (2, 3, 5, 3, 5), strict=True))
    assert {item: healed for item, healed, _ in TABLES.meals} == heals
    assert all(feeds == 10 for _, _, feeds in TABLES.meals)
    order = [(healed, item) for item, healed, _ in TABLES.meals]
    assert order == sorted(order), "by increasing healing, then by number"


RECIPES = {
    "fish": [(1, "fishing", 10, "raw shrimp"), (5, "fishing", 20, "raw sardine"),
             (10, "fishing", 30, "raw herring")],
    "mine": [(1, "mining", 40, "copper ore"), (5, "mining", 80, "tin ore"), (10, "mining", 120, "iron ore")],
    "cook": [(1, "cooking", 10, "cooked shrimp", 1, "raw shrimp", 1),
             (1, "cooking", 20, "cooked chicken", 1, "raw chicken", 1),
             (5, "cooking", 20, "cooked sardine", 1, "raw sardine", 1),
             (5, "cooking", 40, "cooked goblin", 1, "raw goblin", 1),
             (10, "cooking", 30, "cooked herring", 1, "raw herring", 1)],
    "sword": [(1, "smithing", 40, "copper sword", 1, "copper ore", 2),
              (5, "smithing", 80, "tin sword", 1, "tin ore", 2),
              (10, "smithing", 120, "iron sword", 1, "iron ore", 2)],
    "knives": [(1, "smithing", 20, "copper knife", 10, "copper ore", 1),
               (5, "smithing", 40, "tin knife", 10, "tin ore", 1),
               (10, "smithing", 60, "iron knife", 10, "iron ore", 1)],
    "armor": [(1, "smithing", 80, "copper armor", 1, "copper ore", 4),
              (5, "smithing", 160, "tin armor", 1, "tin ore", 4),
              (10, "smithing", 240, "iron armor", 1, "iron ore", 4)],
}  # fmt: skip
"""(level, skill, experience, product, amount, material, amount), as in the rules."""


def test_recipes_match_the_rules_by_increasing_level():
    for choice, work in enumerate(WORKS):
        expected = RECIPES.get(work, [])
        assert len(TABLES.recipes[choice]) == len(expected)
        for row, (level, skill, xp, makes, *rest) in zip(TABLES.recipes[choice], expected, strict=True):
            amount, takes, takes_amount = rest or (1, None, 0)
            assert (row.level, SKILLS[row.skill], row.experience) == (level, skill, xp)
            assert TABLES.items[row.makes] == makes and row.amount == amount
            assert (TABLES.items[row.takes] if row.takes >= 0 else None) == takes
            assert row.takes_amount == takes_amount
            # A fish or an ore needs room; all others free more than they take, and knives weigh nothing.
            assert row.room == (work in ("fish", "mine"))


def test_a_recipe_needs_room_for_the_weight_it_adds():
    content = Content(
        items=(Item("log"), Item("plank"), Item("nail", weight=0)),
        recipes=(
            Recipe("sword", "smithing", 1, 0, "plank", 5, "log", 2),
            Recipe("armor", "smithing", 1, 0, "plank", 2, "nail", 9),
            Recipe("knives", "smithing", 1, 0, "nail", 9, "log", 1),
            Recipe("cook", "cooking", 1, 0, "plank", 1, "log", 1),
        ),
        prices=(1,),
    )  # fmt: skip
    room = {WORKS[choice]: rows[0].room for choice, rows in enumerate(tables(content).recipes) if rows}
    assert room == {"sword": 3, "armor": 2, "knives": 0, "cook": 0}


def test_npcs_match_the_rules():
    chicken, goblin, bear = TABLES.npcs
    on = {name: 1 << Material[name.upper()] for name in ("grass", "scrub", "forest")}
    assert [kind.name for kind in STANDARD.npcs] == ["chicken", "goblin", "bear"]
    assert [row.health for row in TABLES.npcs] == [5, 15, 40]
    assert [row.level for row in TABLES.npcs] == [1, 5, 15]
    assert [row.experience for row in TABLES.npcs] == [10, 50, 150]
    assert [row.number for row in TABLES.npcs] == [32, 24, 8]
    assert [row.habitat for row in TABLES.npcs] == [
        on["grass"], on["grass"] | on["scrub"] | on["forest"], on["forest"] | on["scrub"],
    ]  # fmt: skip
    assert (chicken.hunts, goblin.hunts, bear.hunts) == (0, 1, 2), "never, provoked, always"
    assert (goblin.sight, goblin.aggro_ticks, bear.sight) == (5, 5, 3)
    raw_chicken, raw_goblin, sword, iron = numbers("raw chicken", "raw goblin", "copper sword", "iron ore")
    half, gold = ONE // 2, TABLES.gold
    assert chicken.drops == ((raw_chicken, 1, 1, ONE), (raw_chicken, 1, 1, half))
    assert goblin.drops == ((raw_goblin, 1, 1, ONE), (gold, 1, 100, half), (sword, 1, 1, round(0.2 * ONE)))
    assert bear.drops == ((iron, 2, 2, ONE), (gold, 50, 250, ONE))


def test_prices_match_the_rules():
    assert TABLES.prices == (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450, 675)
    assert FULL.offer_ticks == 100


def test_orerocks_block_movement():
    assert not MATERIALS[Material.ORE_ROCK].walkable and int(Material.ORE_ROCK) == 6
    assert FULL.ore_regrowth == 0.25 and FULL.wander == 0.25 and FULL.npc_births == 0.05


# ------------------------------------------------------------------------------------------------- curves


def seventh_root_of_two_to_the(i: int) -> Fraction:
    """Returns 2^(i / 7), rounded down to 60 digits: the integer root of a large power of two."""
    digits = 10**60
    low, high = 0, digits << (i // 7 + 1)
    wanted = (1 << i) * digits**7
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle**7 <= wanted else (low, middle)
    return Fraction(low, digits)


def test_experience_of_every_level_in_exact_arithmetic():
    """exp[i] = exp[i-1] + floor(floor(i + 300 * 2^(i/7)) / 4), without floating-point numbers."""
    needed = 0
    table = experience_table()
    assert len(table) == 99 and table[0] == 0
    for i in range(1, 99):
        needed += math.floor(i + 300 * seventh_root_of_two_to_the(i)) // 4
        assert table[i] == needed, f"level {i + 1}"


def test_known_values_of_the_experience_curve():
    """Each step is rounded down by itself; if the sum were rounded instead, level 99 would need 37 more."""
    table = experience_table()
    assert (table[1], table[2], table[9], table[98]) == (83, 174, 1151, 13_034_394)
    summed = sum(math.floor(i + 300 * seventh_root_of_two_to_the(i)) for i in range(1, 99)) // 4
    assert summed == 13_034_431


def test_agents_are_born_at_level_1_and_constitution_10():
    born = dict(zip(SKILLS, birth_levels(), strict=True))
    assert born.pop("constitution") == 10 and set(born.values()) == {1}
    assert birth_experience()[SKILLS.index("constitution")] == sum(birth_experience()) == 1151


def test_combat_level_weighs_body_and_best_style():
    for defense, constitution, style in ((1, 10, 1), (99, 99, 99), (15, 40, 15), (20, 10, 7), (1, 99, 1)):
        exact = Fraction(defense + constitution, 4) + Fraction(13 * style, 20)
        assert combat_level(defense, constitution, style) == math.floor(exact)
        found = combat_level(*(torch.tensor([n], dtype=torch.int32) for n in (defense, constitution, style)))
        assert found.tolist() == [math.floor(exact)]
    assert combat_level(99, 99, 99) == 113, "fits in a signed byte"


# ------------------------------------------------------------------------------------- numbers of NPCs by map


@pytest.mark.parametrize(
    ("height", "width", "counts"),
    [(80, 80, (32, 24, 8)), (160, 160, (128, 96, 32)), (33, 47, (8, 6, 2)), (40, 60, (12, 9, 3)),
     (32, 32, (5, 4, 1))],
)  # fmt: skip
def test_numbers_of_npcs_are_proportional_to_the_area_and_rounded(height, width, counts):
    """1551 tiles: 7.755 chickens, 5.816 goblins, 1.939 bears."""
    config = preset("full", height=height, width=width)
    assert config.npc_counts == counts and config.npc_slots == sum(counts)
    assert config.entities == config.slots + sum(counts)
    assert preset("full", height=height, width=width, npcs=False).npc_counts == ()
    assert preset("full", npc_numbers=(3, 0, 7)).npc_counts == (3, 0, 7)


# -------------------------------------------------------------------------------------------- invalid content

ORE, BAR = Item("ore"), Item("bar")
SMELT = Recipe("sword", "smithing", 1, 5, "bar", 1, "ore", 1)
RAT = NPCKind("rat", 3, 1, ("grass",), "never")
SOUND = Content(items=(ORE, BAR), recipes=(SMELT,), npcs=(RAT,), prices=(1, 2))


def item(**fields: object) -> Content:
    return dataclasses.replace(SOUND, items=(ORE, BAR, Item(**{"name": "gem", **fields})))


def recipe(**fields: object) -> Content:
    return dataclasses.replace(SOUND, recipes=(SMELT, dataclasses.replace(SMELT, **fields)))


def npc(**fields: object) -> Content:
    return dataclasses.replace(SOUND, npcs=(RAT, dataclasses.replace(RAT, name="wolf", **fields)))


def drop(**fields: object) -> Content:
    return npc(drops=(Drop("ore"), Drop(**{"item": "ore", **fields})))


def prices(*values: object) -> Content:
    return dataclasses.replace(SOUND, prices=values)


WRONG = [
    (item(name="ore"), "item name 'ore' is taken, or empty; choose another"),
    (item(name="gold"), "item name 'gold' is taken"),
    (item(name=""), "item name '' is taken, or empty"),
    (dataclasses.replace(SOUND, items=(ORE, BAR, *(Item(f"i{n}") for n in range(99)))),
     "101 items are too many; choose at most 100"),
    (item(gear="hat"), "gem: gear = 'hat' is unknown; choose from sword, knife, armor, or ''"),
    *((item(**{field: value}), f"gem: {field} = {value!r}; choose from {low} to {high}")
      for field, low, high in (
          ("level", 1, 99), ("attack", 0, 500), ("strength", 0, 500), ("defense", 0, 500), ("heals", 0, 99),
          ("feeds", 0, 127), ("weight", 0, 1), ("lot", 1, 127))
      for value in (low - 1, high + 1, 1.5, True, "1", None)),
    (item(lot=2), "gem: lot = 2 weighs more than an offer's one unit; choose 1"),
    (recipe(work="smelt"), "recipe for 'bar': work = 'smelt' is unknown; choose from fish, mine, cook"),
    (recipe(work="none"), "work = 'none' is unknown"),
    (recipe(work="eat"), "work = 'eat' is unknown"),
    (recipe(skill="magic"), "skill = 'magic' is unknown; choose from melee, range"),
    (recipe(makes="brass"), "recipe for 'brass': makes or takes an item that is not in items; add it there"),
    (recipe(takes="tin"), "takes an item that is not in items"),
    (recipe(makes="gold"), "takes an item that is not in items"),
    (recipe(takes=""), "takes and takes_amount must come together"),
    (recipe(takes_amount=0), "takes and takes_amount must come together"),
    (recipe(work="fish"), "fish takes nothing; leave takes empty"),
    (recipe(work="mine"), "mine takes nothing; leave takes empty"),
    *((recipe(work=work, takes="", takes_amount=0), f"{work} must take something; name an item")
      for work in ("cook", "sword", "knives", "armor")),
    *((recipe(level=level), "choose a level from 1 to 99") for level in (0, 100, 1.0, True)),
    *((recipe(experience=xp), "an experience from 0 to 1,000,000") for xp in (-1, 10**6 + 1, 0.5)),
    *((recipe(amount=amount), "choose amounts from 1 to 127") for amount in (0, 128, 2.0)),
    (recipe(takes_amount=128), "choose amounts from 1 to 127"),
    (dataclasses.replace(SOUND, recipes=(SMELT,) * 65), "'sword' has more than 64 recipes; choose fewer"),
    *((npc(health=health), "wolf: choose a health from 1 to 127") for health in (0, 128, 1.5)),
    *((npc(level=level), "and a level from 1 to 99") for level in (0, 100)),
    *((npc(habitat=habitat), f"wolf: habitat = {habitat!r}; choose from forest, grass, scrub")
      for habitat in ((), ("lava",), ("water",), ("stone",), ("grass", "sea"))),
    (npc(hunts="often"), "wolf: hunts = 'often'; choose never, provoked or always"),
    *((npc(sight=sight), "choose a sight from 0 to 15") for sight in (-1, 16)),
    *((npc(aggro_ticks=aggro_ticks), "and aggro_ticks from 0 to 127") for aggro_ticks in (-1, 128)),
    *((npc(experience=xp), "choose an experience from 0 to 1,000,000") for xp in (-1, 10**6 + 1)),
    *((npc(number=number), "and a number from 0 to 6400") for number in (-1, 6401, 0.5)),
    (npc(drops=(Drop("ore"),) * 65), "wolf has more than 64 drops; choose fewer"),
    (drop(item="pelt"), "wolf drops 'pelt', which is not in items; add it there first"),
    *((drop(**fields), "choose 1 <= minimum <= maximum, and a chance from 0 to 1")
      for fields in ({"chance": -0.1}, {"chance": 1.1}, {"chance": math.nan}, {"minimum": 0}, {"minimum": 2},
                     {"maximum": 0}, {"maximum": 10**6 + 1})),
    *((prices(*values), "prices must rise, from 1 to 1,000,000 at most, and be 1 to 32")
      for values in ((), (2, 1), (1, 1), (0, 1), (-5,), range(1, 34), (1, 10**6 + 1))),
    (prices(1, 2.5), "prices holds 2.5, which is not of type int"), (prices(True), "prices holds True"),
    (dataclasses.replace(SOUND, prices=[1, 2]), "prices = [1, 2] is not a tuple"),
    (dataclasses.replace(SOUND, items=[ORE, BAR]), "is not a tuple; give one of Item"),
    (dataclasses.replace(SOUND, items=("ore", "bar")), "items holds 'ore', which is not of type Item"),
    (dataclasses.replace(SOUND, recipes=(ORE,)), "which is not of type Recipe"),
    (dataclasses.replace(SOUND, npcs=RAT), "is not a tuple; give one of NPCKind"),
    (npc(drops=(ORE,)), "which is not of type Drop"), (npc(habitat="grass"), "wolf: habitat = 'grass'"),
    (dataclasses.replace(SOUND, npcs=(dataclasses.replace(RAT, name=3),)), "an NPC kind's name is 3"),
    (item(name=3), "item name 3 is taken, or empty"), (drop(minimum=1.0), "choose 1 <= minimum"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"), WRONG, ids=lambda value: value[:60] if isinstance(value, str) else ""
)
def test_invalid_content_is_refused_by_the_config(content, message):
    found = complaint(content)
    assert found is not None and message in found
    with pytest.raises(ConfigError) as caught:
        WorldConfig(content=content)
    assert str(caught.value) == f"content: {found}"


def test_extreme_values_are_allowed():
    assert complaint(SOUND) is None and complaint(STANDARD) is None
    assert complaint(Content(prices=(1,))) is None
    extremes = [
        item(level=99, attack=500, strength=500, defense=500, heals=99, feeds=127),
        item(weight=0, lot=127, gear="knife"),
        recipe(level=99, experience=10**6, amount=127, takes_amount=127),
        npc(health=127, level=99, habitat=("grass", "scrub", "forest"), sight=15, aggro_ticks=127,
        number=6400),
        drop(item="gold", minimum=1, maximum=10**6, chance=0), drop(chance=1), prices(*range(1, 33)),
        dataclasses.replace(SOUND, recipes=(SMELT,) * 64), npc(drops=(Drop("ore"),) * 64),
        dataclasses.replace(SOUND, items=(ORE, BAR, *(Item(f"i{n}") for n in range(98)))),
    ]  # fmt: skip
    for content in extremes:
        assert complaint(content) is None
        WorldConfig(content=content)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 200), st.just(10**30), st.floats(), st.text(max_size=4),
    st.tuples(), st.tuples(st.text(max_size=3)), st.just(ORE),
)  # fmt: skip


@settings(max_examples=300)
@given(data=st.data())
def test_a_value_of_the_wrong_type_is_refused_or_works(data):
    """There is no other exception, neither from the check nor from the tables of accepted content."""
    build, kind = data.draw(st.sampled_from([(item, Item), (recipe, Recipe), (npc, NPCKind), (drop, Drop)]))
    names = [field.name for field in dataclasses.fields(kind)]
    fields = data.draw(st.dictionaries(st.sampled_from(names), ANYTHING, min_size=1, max_size=2))
    if build is npc and "name" in fields:
        content = dataclasses.replace(SOUND, npcs=(dataclasses.replace(RAT, **fields),))
    else:
        content = build(**fields)
    if data.draw(st.booleans()):
        content = prices(*data.draw(st.lists(ANYTHING, max_size=3)))
    if complaint(content) is None:
        made = tables(content)
        assert all(type(price) is int for price in made.prices)
        assert all(type(name) is str for name in made.items)
        assert isinstance(hash(WorldConfig(content=content)), int)


@pytest.mark.parametrize("content", [None, {}, "full", (), SOUND.items])
def test_other_types_are_refused_as_content(content):
    with pytest.raises(ConfigError, match="content"):
        WorldConfig(content=content)
