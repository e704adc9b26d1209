"""Settings: impossible ones are refused with the field, the value and a remedy."""

from __future__ import annotations

import dataclasses

import pytest

from nmmo_gpu.config import PRESETS, EnvConfig, WorldConfig, preset, replace
from nmmo_gpu.errors import ConfigError, NmmoError
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.world.state import World

OFF = {"skills": False, "works": (), "rolls": False, "npcs": False, "exchange": False, "tokens": 0}
"""No system of the full game."""

REWARDS = [field.name for field in dataclasses.fields(EnvConfig) if field.name.startswith("reward_")]

IMPOSSIBLE = [
    ({"height": 31}, "height = 31", "32 to 8192"),
    ({"height": 8193}, "height = 8193", "32 to 8192"),
    ({"width": 0}, "width = 0", "32 to 8192"),
    ({"width": -80}, "width = -80", "32 to 8192"),
    ({"height": 80.0}, "height = 80.0", "choose an integer"),
    ({"width": "80"}, "width = '80'", "choose an integer"),
    ({"height": True}, "height = True", "choose an integer"),
    ({"height": None}, "height = None", "choose an integer"),
    ({"border": 0}, "border = 0", "1 to 8192"),
    ({"border": -1}, "border = -1", "1 to 8192"),
    ({"slots": 0, "populations": 1}, "slots = 0", "1 to 16777216"),
    ({"slots": (1 << 24) + 8}, "slots = 16777224", "1 to 16777216"),
    ({"slots": 100}, "slots = 100", "choose a multiple of 8, or another number of populations"),
    ({"slots": 7, "populations": 2}, "slots = 7", "choose a multiple of 2"),
    ({"slots": 4, "populations": 8}, "slots = 4", "choose a multiple of 8"),
    ({"populations": 0}, "populations = 0", "1 to 250"),
    ({"populations": 251, "slots": 251}, "populations = 251", "1 to 250"),
    ({"vision": 0}, "vision = 0", "1 to 15"),
    ({"vision": 16, "border": 16}, "vision = 16", "1 to 15"),
    ({"vision": 10}, "vision = 10", "at most 9, or a border of at least 10"),
    ({"nearest": 0}, "nearest = 0", "an integer of at least 1"),
    ({"nearest": 225}, "nearest = 225", "1 to 224"),
    ({"births": -2}, "births = -2", "an integer of at least -1"),
    ({"births": 129}, "births = 129", "-1 to 128"),
    ({"births": 1.5}, "births = 1.5", "choose an integer"),
    ({"spawn": "middle"}, "spawn = 'middle'", 'choose "ring" or "anywhere"'),
    ({"spawn": None}, "spawn = None", 'choose "ring" or "anywhere"'),
    ({"spawn": ["ring"]}, "spawn = ['ring']", 'choose "ring" or "anywhere"'),
    ({"reach": (1, 2)}, "reach = (1, 2)", "a tuple of 3 elements"),
    ({"reach": (1, 2, 3, 4)}, "reach = (1, 2, 3, 4)", "a tuple of 3 elements"),
    ({"reach": (1, 2, 8)}, "reach = (1, 2, 8)", "from 0 to 7, or a larger vision"),
    ({"reach": (-1, 2, 3)}, "reach = (-1, 2, 3)", "each an integer of at least 0"),
    ({"damage": ()}, "damage = ()", "a tuple of 3 elements, each an integer from 0 to 127"),
    ({"damage": (10, 2, -1)}, "damage = (10, 2, -1)", "from 0 to 127"),
    ({"damage": (128, 2, 1)}, "damage = (128, 2, 1)", "from 0 to 127"),
    ({"freeze_ticks": 0}, "freeze_ticks = 0", "1 to 127"),
    ({"freeze_ticks": 128}, "freeze_ticks = 128", "1 to 127"),
    ({"immune_ticks": -1}, "immune_ticks = -1", "0 to 32768"),
    ({"max_health": 0}, "max_health = 0", "1 to 127"),
    ({"max_health": 128}, "max_health = 128", "1 to 127"),
    ({"max_food": 0}, "max_food = 0", "1 to 127"),
    ({"max_water": 500}, "max_water = 500", "1 to 127"),
    ({"forage": -1}, "forage = -1", "0 to 127"),
    ({"heal_above": -1}, "heal_above = -1", "0 to 127"),
    ({"regrowth": -0.1}, "regrowth = -0.1", "0, or a number from 0.0001 to 1"),
    ({"regrowth": 1.1}, "regrowth = 1.1", "0, or a number from 0.0001 to 1"),
    ({"regrowth": float("nan")}, "regrowth = nan", "0, or a number from 0.0001 to 1"),
    ({"border": 40}, "height = 80", "choose at least 83, or a border of at most 38"),
    ({"width": 50, "border": 24}, "width = 50", "choose at least 51, or a border of at most 23"),
    ({"works": ("fish", "dance")}, "works = ('fish', 'dance')", "choose from fish, mine, cook"),
    ({"works": ("none",)}, "works = ('none',)", "choose from fish, mine, cook"),
    ({"tokens": 1}, "tokens = 1", "2 to 127"),
    ({"tokens": 128}, "tokens = 128", "2 to 127"),
    ({"capacity": 0}, "capacity = 0", "1 to 127"),
    ({"capacity": 128}, "capacity = 128", "1 to 127"),
    ({"birth_gold": -1}, "birth_gold = -1", "0 to 1048576"),
    ({"birth_gold": (1 << 20) + 1}, "birth_gold = 1048577", "0 to 1048576"),
    ({"offer_ticks": 0}, "offer_ticks = 0", "1 to 127"),
    ({"offer_ticks": 128}, "offer_ticks = 128", "1 to 127"),
    ({"npc_births": -0.1}, "npc_births = -0.1", "from 0 to 1"),
    ({"npc_births": 1.1}, "npc_births = 1.1", "from 0 to 1"),
    ({"wander": float("nan")}, "wander = nan", "from 0 to 1"),
    ({"ore_regrowth": 1e-5}, "ore_regrowth = 1e-05", "0, or a number from 0.0001 to 1"),
    ({"ore_regrowth": 1.5}, "ore_regrowth = 1.5", "0, or a number from 0.0001 to 1"),
    ({"npc_numbers": (1, 2)}, "npc_numbers = (1, 2)", "give 3 counts, one per NPC kind"),
    ({"npc_numbers": (1, 2, -3)}, "npc_numbers = (1, 2, -3)", "an integer from 0 to 16777216"),
    ({"npcs": True, "npc_numbers": (0, 0, 1 << 24)}, "npc_numbers = (0, 0, 16777216)", "at most 16777216"),
    ({"npcs": True, "slots": 124, "populations": 124}, "populations = 124", "choose at most 123"),
    ({"npcs": True, "vision": 4, "nearest": 5}, "vision = 4", "choose at least 5, or a shorter sight"),
]
WRONG_TYPES = [
    {"regrowth": "0.1"}, {"regrowth": None}, {"regrowth": True}, {"reach": 3}, {"damage": None},
    {"reach": (1.5, 2, 3)}, {"damage": (10.5, 2, 1)}, {"damage": ("10", 2, 1)}, {"reach": (True, 2, 3)},
    {"reach": [1, 2, 3]}, {"damage": [10, 2, 1]}, {"skills": 1}, {"rolls": None}, {"npcs": "yes"},
    {"exchange": 0}, {"works": "fish"}, {"works": ["fish"]}, {"works": None}, {"works": (["fish"],)},
    {"works": True}, {"npc_numbers": [1, 2, 3]}, {"npc_numbers": 3}, {"npc_numbers": (1.0, 2, 3)},
    {"npc_numbers": (True, 2, 3)}, {"npc_numbers": None}, {"tokens": False}, {"tokens": True},
    {"tokens": None}, {"tokens": 0.0}, {"tokens": "8"}, {"capacity": 3.5}, {"birth_gold": None},
    {"offer_ticks": "9"}, {"npc_births": "0.1"}, {"npc_births": True}, {"wander": None},
    {"ore_regrowth": "0.1"}, {"ore_regrowth": None}, {"ore_regrowth": True},
]  # fmt: skip
IMPOSSIBLE_BATCH = [
    ({"realms": 0}, "realms = 0", "1 to 4194304"),
    ({"realms": 2.0}, "realms = 2.0", "choose an integer"),
    ({"realms": (1 << 22) + 1}, "realms = 4194305", "1 to 4194304"),
    ({"seed": 1 << 63}, f"seed = {1 << 63}", "choose an integer from"),
    ({"seed": -(1 << 63) - 1}, f"seed = {-(1 << 63) - 1}", "choose an integer from"),
    ({"seed": None}, "seed = None", "choose an integer"),
    ({"reward": "gold"}, "reward = 'gold'", 'choose "alive", "death" or "none"'),
    ({"backend": "jax"}, "backend = 'jax'", 'choose "auto", "torch"'),
    *(({name: value}, f"{name} = {value!r}", "choose a finite number")
      for name in REWARDS for value in (float("nan"), float("inf"), "1", None, True)),
    ({"check": 1}, "check = 1", "True or False"),
    ({"check_actions": 1}, "check_actions = 1", "True or False, or None"),
    ({"shared_map": "no"}, "shared_map = 'no'", "True or False"), ({"device": 0}, "device = 0", "a string"),
    ({"maps": "a.tmx"}, "maps = 'a.tmx'", "a tuple, each element a string"),
    ({"world": "chaos"}, "world = 'chaos'", "a WorldConfig"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "named", "remedy"), IMPOSSIBLE, ids=lambda value: str(value)[:30])
def test_an_impossible_world_is_refused_with_field_value_and_remedy(settings, named, remedy):
    for build in (WorldConfig, lambda **s: preset("chaos", **s), lambda **s: replace(WorldConfig(), **s)):
        with pytest.raises(ConfigError) as caught:
            build(**settings)
        assert str(caught.value).startswith(f"{named} ") and remedy in str(caught.value)


@pytest.mark.parametrize("settings", WRONG_TYPES, ids=str)
def test_a_value_of_the_wrong_type_is_refused_by_name_or_works(settings):
    """There is no other exception and no later failure; for instance, the config must be hashable."""
    try:
        config = WorldConfig(**settings)
    except ConfigError as error:
        assert str(error).startswith(f"{next(iter(settings))} = ")
    else:
        assert isinstance(hash(config), int)
        for chance in (config.regrowth, config.ore_regrowth, config.npc_births, config.wander):
            assert chance is not True, "True is not a chance"
        for number in (*config.reach, *config.damage):
            assert type(number) is int


@pytest.mark.parametrize(("settings", "named", "remedy"), IMPOSSIBLE_BATCH, ids=lambda value: str(value)[:30])
def test_an_impossible_batch_is_refused_with_field_value_and_remedy(settings, named, remedy):
    with pytest.raises(ConfigError) as caught:
        EnvConfig(**settings)
    assert str(caught.value).startswith(f"{named} ") and remedy in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"height": 32, "width": 8192}, {"height": 32, "width": 32, "border": 14},
        {"height": 33, "width": 47, "border": 15, "vision": 15}, {"slots": 1, "populations": 1, "births": 1},
        {"slots": 250, "populations": 250}, {"births": -1}, {"births": 0}, {"births": 128},
        {"nearest": 224}, {"nearest": 1}, {"vision": 1, "reach": (0, 1, 1), "nearest": 8}, {"regrowth": 0.0},
        {"regrowth": 1.0}, {"regrowth": 1}, {"damage": (127, 0, 0)}, {"immune_ticks": 0}, {"forage": 0},
        {"tokens": 2}, {"tokens": 127}, {"works": ("eat", "fish")}, {"capacity": 1}, {"capacity": 127},
        {"birth_gold": 0}, {"birth_gold": 1 << 20}, {"offer_ticks": 1}, {"offer_ticks": 127},
        {"npc_births": 0}, {"npc_births": 1}, {"wander": 0.0}, {"ore_regrowth": 0}, {"ore_regrowth": 1.0},
        {"npc_numbers": (0, 0, 0)},
        {"npcs": True, "npc_numbers": (0, 0, (1 << 24) - 128)}, {"npcs": True, "npc_numbers": ()},
        {"npcs": True, "slots": 123, "populations": 123}, {"npcs": True, "vision": 5, "nearest": 5},
        {"vision": 4, "nearest": 5},
        {"border": 38}, {"max_health": 127, "max_food": 1, "max_water": 127, "heal_above": 127},
    ],
    ids=str,
)  # fmt: skip
def test_extreme_values_are_allowed(settings):
    config = WorldConfig(**settings)
    for name, value in settings.items():
        assert getattr(config, name) == value


def test_law_and_chaos_have_the_rules_of_v1():
    """They differ only in reach and damage per style."""
    law, chaos = PRESETS["law"], PRESETS["chaos"]
    assert (law.reach, law.damage) == ((1, 4, 4), (0, 0, 0))
    assert (chaos.reach, chaos.damage) == ((1, 2, 3), (10, 2, 1))
    assert dataclasses.replace(law, reach=chaos.reach, damage=chaos.damage) == chaos == WorldConfig()
    assert (law.height, law.width, law.border, law.vision, law.window) == (80, 80, 9, 7, 15)
    assert (law.slots, law.populations, law.population_size, law.births) == (128, 8, 16, 1)
    assert (law.max_health, law.max_food, law.max_water) == (10, 32, 32)
    assert (law.freeze_ticks, law.immune_ticks, law.forage, law.heal_above) == (3, 15, 5, 16)
    assert law.regrowth == 0.025


def test_full_has_all_systems_of_the_full_game():
    """It has the sizes of law and chaos, and without its systems differs from the defaults only in reach."""
    full = PRESETS["full"]
    assert full.extended and full.works == ("fish", "mine", "cook", "sword", "knives", "armor", "eat")
    assert full.skills and full.rolls and full.npcs and full.exchange and full.tokens == 8
    assert full.reach == (1, 4, 4) and full.npc_counts == (32, 24, 8)
    assert (full.capacity, full.birth_gold, full.offer_ticks) == (28, 10, 100)
    assert (full.npc_births, full.wander, full.ore_regrowth) == (0.05, 0.25, 0.25)
    bare = replace(full, **OFF)
    assert not bare.extended and bare == replace(WorldConfig(), reach=(1, 4, 4))
    assert bare.entities == bare.slots and bare.npc_counts == () and bare.npc_slots == 0
    assert not PRESETS["law"].extended and not PRESETS["chaos"].extended and not PRESETS["million"].extended


@pytest.mark.parametrize("name", ["skills", "works", "rolls", "npcs", "exchange", "tokens"])
def test_each_system_can_be_on_or_off_by_itself(name):
    full = PRESETS["full"]
    alone = replace(full, **{**OFF, name: getattr(full, name)})
    without = replace(full, **{name: OFF[name]})
    assert alone.extended and without.extended
    assert (alone.entities > alone.slots) == (name == "npcs") != (without.entities > without.slots)


def test_only_worlds_of_the_full_game_have_goods():
    """By the size of each dimension: nothing is allocated for systems that are off."""
    plain, full = World.sizes(PRESETS["chaos"], 5), World.sizes(PRESETS["full"], 5)
    assert {k: plain[k] for k in "SNFEIBKV"} == {
        "S": 128,
        "N": 0,
        "F": 0,
        "E": 0,
        "I": 0,
        "B": 0,
        "K": 0,
        "V": 0,
    }
    assert {k: full[k] for k in "RASNFEIBKV"} == {
        "R": 5, "A": 128, "S": 192, "N": 64, "F": 128, "E": 192, "I": 22, "B": 23, "K": 3, "V": 21,
    }  # fmt: skip


def test_million_is_chaos_for_a_million_agents_in_one_realm():
    million = PRESETS["million"]
    assert million.slots == 1_048_576 and million.population_size == 131_072 and million.populations == 8
    assert million.height * million.width == 64 * million.slots
    same = {"height": 80, "width": 80, "slots": 128, "births": 1, "spawn": "ring"}
    assert dataclasses.replace(million, **same) == PRESETS["chaos"]
    assert million.births == -1 and million.spawn == "anywhere"
    settings = train_preset("million")
    assert settings.env.realms == 1 and settings.env.world == million and settings.run == "runs/million"
    assert train_preset("chaos").env.realms == train_preset("law").env.realms == 64


@pytest.mark.parametrize(
    ("height", "width", "border"), [(80, 80, 9), (33, 47, 7), (32, 32, 14), (50, 33, 15)]
)
def test_the_number_of_birthplaces(height, width, border):
    """They are the ring, or all tiles from the ring inwards."""
    config = WorldConfig(height=height, width=width, border=border)
    inside = [
        min(row, column, height - 1 - row, width - 1 - column) - border
        for row in range(height)
        for column in range(width)
    ]
    assert config.birthplaces == inside.count(0)
    assert replace(config, spawn="anywhere").birthplaces == sum(depth >= 0 for depth in inside)


def test_a_preset_takes_other_field_values():
    config = preset("law", slots=24, populations=3)
    assert (config.slots, config.populations, config.population_size) == (24, 3, 8)
    assert config.damage == (0, 0, 0) and preset("law") == PRESETS["law"]


def test_unknown_presets_and_fields_are_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="preset = 'peace' is unknown; choose one of law, chaos"):
        preset("peace")
    with pytest.raises(ConfigError, match="agents = 3: WorldConfig has no such field; it has height, .*heal"):
        preset("law", agents=3)
    with pytest.raises(ConfigError, match="realm = 3: EnvConfig has no such field"):
        replace(EnvConfig(), realm=3)


def test_configs_are_immutable_and_their_errors_are_value_errors():
    with pytest.raises(dataclasses.FrozenInstanceError):
        WorldConfig().height = 90  # type: ignore[misc]
    assert issubclass(ConfigError, NmmoError) and issubclass(ConfigError, ValueError)


def test_every_field_has_a_docstring():
    """It is shown on the reference page."""
    import ast
    import inspect

    for kind in (WorldConfig, EnvConfig):
        (node,) = ast.parse(inspect.getsource(kind)).body
        for field, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign):
                assert isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant), field.target
