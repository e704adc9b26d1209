"""Configs as JSON, and back."""

from __future__ import annotations

import dataclasses
import json

import pytest
from train.small import small

from nmmo_gpu.config import PRESETS, EnvConfig, WorldConfig
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.serialise import from_plain, to_plain
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.presets import train_preset

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
}  # fmt: skip


@pytest.mark.parametrize("name", CONFIGS)
def test_round_trip(name):
    """Through JSON text: an equal config, tuples as tuples, None as None, numbers to the last bit."""
    config = CONFIGS[name]
    plain = json.loads(json.dumps(to_plain(config)))
    back = from_plain(TrainConfig, plain)
    assert back == config and type(back.env.world) is WorldConfig
    assert isinstance(back.env.maps, tuple) and isinstance(back.env.world.reach, tuple)
    assert repr(back) == repr(config)


def test_plain_is_plain():
    """Nested dicts with the fields' names, lists for tuples; nothing that JSON does not know."""
    plain = to_plain(CONFIGS["everything set"])
    assert plain["env"]["world"]["reach"] == [0, 2, 7]
    assert plain["env"]["maps"] == ["one.tmx", "two.tmx"]
    assert plain["minutes"] == 1e-3 and plain["policy"]["recurrent"] is True
    assert list(plain) == [field.name for field in dataclasses.fields(TrainConfig)]


def test_presets_come_back():
    """The rules of every preset, each on its own."""
    assert set(PRESETS) == {"law", "chaos", "million"}
    for name, rules in PRESETS.items():
        assert from_plain(WorldConfig, json.loads(json.dumps(to_plain(rules)))) == rules, name


def test_missing_fields_take_their_default():
    """Older files lack newer fields."""
    assert from_plain(TrainConfig, {}) == TrainConfig()
    found = from_plain(EnvConfig, {"realms": 5, "world": {"slots": 64}})
    assert found == EnvConfig(realms=5, world=WorldConfig(slots=64))


@pytest.mark.parametrize(("plain", "named"), [
    ({"colour": 1}, "colour"),
    ({"env": {"size": 3, "depth": 4}}, "env.*depth, size"),
    ({"env": {"world": {"gravity": 1}}}, "env.world.*gravity"),
])  # fmt: skip
def test_unknown_fields_are_named(plain, named):
    """With the config in which they stand."""
    with pytest.raises(ConfigError, match=named):
        from_plain(TrainConfig, plain)


@pytest.mark.parametrize("plain", [None, 3, "chaos", [1, 2], {"env": None}, {"env": {"world": [1]}}])
def test_what_is_no_config(plain):
    """Something else where the fields of a config should be."""
    with pytest.raises(ConfigError, match="config"):
        from_plain(TrainConfig, plain)


@pytest.mark.parametrize(("plain", "named"), [
    ({"env": {"world": {"slots": 7}}}, "slots = 7"),
    ({"ppo": {"gamma": 1.5}}, "gamma = 1.5"),
    ({"policy": {"targeting": "best"}}, "targeting = 'best'"),
    ({"run": ""}, "run = ''"),
])  # fmt: skip
def test_impossible_values_are_refused(plain, named):
    """As when the config is made by hand."""
    with pytest.raises(ConfigError, match=named):
        from_plain(TrainConfig, plain)
