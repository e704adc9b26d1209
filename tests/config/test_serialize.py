"""Configs as JSON, and back."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from train.small import small

from nmmo_gpu.config import PRESETS, EnvConfig, WorldConfig, preset
from nmmo_gpu.config.serialize import from_plain, parse_json, to_plain
from nmmo_gpu.content import STANDARD, Content, Drop, Item, NPCKind, Recipe
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.presets import train_preset

ODDITIES = Content(
    items=(
        Item("crème brûlée", heals=99, feeds=127),
        Item("pebble", "knife", 99, 500, 499, 3, 0, 0, 0, 127),
    ),
    recipes=(Recipe("cook", "melee", 99, 10**6, "crème brûlée", 127, "pebble", 127),),
    npcs=(
        NPCKind("hare", 1, 99, ("grass", "scrub"), "never"),
        NPCKind("ox", 127, 1, ("forest",), "provoked", 7, 127, (Drop("gold", 3, 10**6, 0.1 + 0.2),), 7, 6400),
    ),
    prices=(1, 10**6),
)
"""Every field differs from its default in some row, and tables have one or two rows."""

CONFIGS = {
    "defaults": TrainConfig(),
    "law": train_preset("law"),
    "chaos": train_preset("chaos"),
    "everything set": small(
        "a folder/with ümläute", reach=(0, 2, 7), damage=(1, 0, 127), births=-1, regrowth=0.125,
        maps=("one.tmx", "two.tmx"), check_actions=True, seed=-(1 << 63), backend="torch", reward="death",
        shared_map=True, targeting="learned", recurrent=True, gamma=0.1 + 0.2, minutes=1e-3, iterations=7,
        checkpoint_minutes=0.0,
    ),
    "check_actions off": small(check_actions=False, seed=(1 << 63) - 1),
    "full": TrainConfig(env=EnvConfig(world=preset("full", npc_numbers=(3, 0, 1)), check=True)),
    "other content": TrainConfig(env=EnvConfig(world=preset("full", content=ODDITIES), reward_gold=-1e-3)),
    "no content": TrainConfig(env=EnvConfig(world=WorldConfig(content=Content(prices=(1,))))),
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_configs_round_trip(name):
    """Through JSON text, a config comes back equal: tuples as tuples, None as None, numbers to the last
    bit."""
    config = CONFIGS[name]
    plain = json.loads(json.dumps(to_plain(config)))
    back = from_plain(TrainConfig, plain)
    assert back == config and type(back.env.world) is WorldConfig
    assert isinstance(back.env.maps, tuple) and isinstance(back.env.world.reach, tuple)
    assert repr(back) == repr(config) and hash(back.env.world) == hash(config.env.world)
    assert back.env.world.tables == config.env.world.tables


def test_plain_configs_hold_json_types_only():
    """Nested dicts have the fields' names, and tuples become lists."""
    plain = to_plain(CONFIGS["everything set"])
    assert plain["env"]["world"]["reach"] == [0, 2, 7]
    assert plain["env"]["maps"] == ["one.tmx", "two.tmx"]
    assert plain["minutes"] == 1e-3 and plain["policy"]["recurrent"] is True
    assert list(plain) == [field.name for field in dataclasses.fields(TrainConfig)]


def test_presets_round_trip():
    """The rules of every preset do."""
    assert set(PRESETS) == {"law", "chaos", "full", "million"}
    for name, config in PRESETS.items():
        assert from_plain(WorldConfig, json.loads(json.dumps(to_plain(config)))) == config, name


def test_content_rows_round_trip():
    """Tuples of dataclasses within tuples of dataclasses come back as dataclasses, not dicts."""
    for content in (STANDARD, ODDITIES, Content()):
        back = from_plain(Content, json.loads(json.dumps(to_plain(content))))
        assert back == content and hash(back) == hash(content) and repr(back) == repr(content)
    drop = from_plain(Content, to_plain(ODDITIES)).npcs[1].drops[0]
    assert type(drop) is Drop and drop.chance == 0.1 + 0.2


def test_missing_fields_take_their_default():
    """Older files lack newer fields."""
    assert from_plain(TrainConfig, {}) == TrainConfig()
    assert from_plain(Content, {"items": [{"name": "rope"}]}) == Content(items=(Item("rope"),))
    old = {name: value for name, value in to_plain(WorldConfig()).items() if name in ("height", "regrowth")}
    assert from_plain(WorldConfig, old) == WorldConfig()
    found = from_plain(EnvConfig, {"realms": 5, "world": {"slots": 64}})
    assert found == EnvConfig(realms=5, world=WorldConfig(slots=64))


@pytest.mark.parametrize(("plain", "named"), [
    ({"color": 1}, "color"),
    ({"env": {"size": 3, "depth": 4}}, "env.*depth, size"),
    ({"env": {"world": {"gravity": 1}}}, "env.world.*gravity"),
    ({"env": {"world": {"content": {"spells": []}}}}, "env.world.content.*spells"),
    ({"env": {"world": {"content": {"items": [{"name": "ore"}, {"name": "gem", "cut": 3}]}}}},
     r"env.world.content.items\[1\].*cut"),
])  # fmt: skip
def test_unknown_fields_are_named(plain, named):
    """The error also names the config that has them."""
    with pytest.raises(ConfigError, match=named):
        from_plain(TrainConfig, plain)


@pytest.mark.parametrize(("plain", "named"), [
    ({"items": [{"level": 3}]}, r"items\[0\] lacks the fields name"),
    ({"npcs": [{"name": "wolf", "level": 3}]}, r"npcs\[0\] lacks the fields habitat, health, hunts"),
    ({"npcs": [{"name": "wolf", "level": 3, "health": 1, "habitat": [], "hunts": "never", "drops": [{}]}]},
     r"npcs\[0\].drops\[0\] lacks the fields item"),
])  # fmt: skip
def test_fields_without_a_default_are_required(plain, named):
    """The error names the missing field and the row that lacks it."""
    with pytest.raises(ConfigError, match=named):
        from_plain(Content, plain)


@pytest.mark.parametrize("plain", [
    None, 3, "chaos", [1, 2], {"env": None}, {"env": {"world": [1]}}, {"env": {"world": {"content": []}}},
    {"env": {"world": {"content": {"items": "ore"}}}}, {"env": {"world": {"content": {"items": None}}}},
    {"env": {"world": {"content": {"items": {"name": "ore"}}}}},
    {"env": {"world": {"content": {"items": ["ore"]}}}},
])  # fmt: skip
def test_other_types_are_refused(plain):
    """The value is not a config or not the rows of a table."""
    with pytest.raises(ConfigError, match="config"):
        from_plain(TrainConfig, plain)


@pytest.mark.parametrize(("plain", "named"), [
    ({"env": {"world": {"slots": 7}}}, "slots = 7"),
    ({"ppo": {"gamma": 1.5}}, "gamma = 1.5"),
    ({"policy": {"targeting": "best"}}, "targeting = 'best'"),
    ({"run": ""}, "run = ''"),
    ({"env": {"world": {"content": {"items": [{"name": "ore", "weight": 2}]}}}}, "content: ore: weight = 2"),
    ({"env": {"world": {"content": {"items": [{"name": "ore", "heals": "2"}]}}}}, "ore: heals = '2'"),
])  # fmt: skip
def test_impossible_values_are_refused(plain, named):
    """As they are when the config is constructed."""
    with pytest.raises(ConfigError, match=named):
        from_plain(TrainConfig, plain)


def test_impossible_values_are_named_by_their_path():
    """So that a file with several tables of the same kind can be mended."""
    npc = {"name": "a", "level": 0, "health": 1, "habitat": ["grass"], "hunts": "never"}
    with pytest.raises(ConfigError, match=r"^config\.env\.world: content: a: choose a health.* a level"):
        from_plain(TrainConfig, {"env": {"world": {"content": {"npcs": [npc]}}}})
    with pytest.raises(ConfigError, match=r"^config\.env: realms = 0 is out of range; choose"):
        from_plain(TrainConfig, {"env": {"realms": 0}})


@pytest.mark.parametrize("text", [
    '{"env": {"realms": Infinity}}', '{"env": {"realms": -Infinity}}', '{"ppo": {"gamma": NaN}}', "{", "",
    "[1e999]", '{"seed": 1' + "0" * 5000 + "}", "[" * 100_000, '{"a":' * 100_000, b"\xff\xfe\xfd", b"{\x80}",
    '{"run": "a", "run": "b"}', '{"env": {"world": {"slots": 1, "slots": 2}}}',
])  # fmt: skip
def test_text_that_is_not_a_config_is_refused(text):
    """The message says where it comes from, and is short."""
    with pytest.raises(ConfigError, match="^some.json") as caught:
        parse_json(text, "some.json")
    assert len(str(caught.value)) < 300


def test_json_is_parsed_as_by_the_standard_library():
    text = json.dumps(to_plain(CONFIGS["everything set"]))
    assert parse_json(text) == json.loads(text) == parse_json(text.encode())


NONSENSE = (
    None, True, -1, 0, 0.5, 1e308, float("inf"), float("nan"), 1 << 40, 10**400, "", "x", "\0", "\ud800", [],
    {}, [[]], [{}], {"a": 1}, [None], ["x"], "a" * 10_000, [0] * 1000,
)  # fmt: skip
FULL = json.dumps(to_plain(CONFIGS["full"]))


def places(plain, path=()):
    """The paths of all values in a plain config."""
    yield path
    for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(list(places(json.loads(FULL)))), st.sampled_from(NONSENSE), st.booleans())
def test_any_value_anywhere_gives_a_config_or_a_short_error(path, value, rename):
    """Each place holds something else, or a field has another name."""
    plain = json.loads(FULL)
    inside = plain
    for key in path[:-1]:
        inside = inside[key]
    if not path:
        plain = value
    elif rename and isinstance(inside, dict):
        inside["\ud800 spell"] = inside.pop(path[-1])
    else:
        inside[path[-1]] = value
    try:
        config = from_plain(TrainConfig, plain)
    except ConfigError as error:
        assert str(error).startswith("config") and len(str(error)) < 1200
    else:
        assert hash(config) == hash(from_plain(TrainConfig, json.loads(json.dumps(to_plain(config)))))


def test_deeply_nested_values_are_refused():
    """Wherever they are, even if they can be parsed."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    for plain in (deep, {"env": deep}, {"env": {"world": {"reach": deep}}}, {"run": deep}):
        with pytest.raises(ConfigError, match="config"):
            from_plain(TrainConfig, plain)
