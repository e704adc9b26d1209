"""Systems: what they declare is checked, and their settings are part of the config."""

from __future__ import annotations

import pickle
import sys
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Annotated

import pytest
import torch

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.config.bounds import Bounds, refuse
from nmmo_gpu.config.serialize import from_plain, to_plain
from nmmo_gpu.config.systems import (
    MAX_SYSTEMS,
    STREAMS,
    ActionSpec,
    ObservationSpec,
    StateSpec,
    System,
    phase,
    phase_specs,
)
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.random import Stream


@dataclass(frozen=True)
class Rain(System):
    """A system with a setting."""

    chance: Annotated[float, Bounds(ge=0, le=1)] = 0.5
    days: tuple[int, ...] = (1, 2)

    def validate(self, config):
        if len(self.days) > config.slots:
            refuse(self, "days", "has more days than slots", "choose fewer")

    @phase(before="combat")
    def first(self, world): ...

    @phase(after="loot")
    def second(self, world, move, token=None): ...


def declaring(**declared):
    """Returns a frozen system whose methods return the given mappings."""
    methods = {name: (lambda self, config, value=value: value) for name, value in declared.items()}
    return dataclass(frozen=True)(type("Declaring", (System,), methods))()


def test_names_are_the_classes_in_snake_case():
    names = {"Rain": "rain", "DeathFog": "death_fog", "NPCTax": "npc_tax", "Two2Three": "two2_three"}
    for kind, name in names.items():
        assert type(kind, (System,), {}).name == name
    assert type("Other", (System,), {"name": "own"}).name == "own"


def test_settings_are_checked_and_part_of_the_config():
    rain = Rain(days=[3, 4])
    config = preset("chaos", systems=[rain])
    assert rain.days == (3, 4) and config.systems == (rain,)
    assert hash(config) != hash(preset("chaos")) and config == preset("chaos", systems=(Rain(days=(3, 4)),))
    with pytest.raises(ConfigError, match=r"chance = 2 is out of range; choose a number from 0 to 1"):
        Rain(chance=2)
    with pytest.raises(ConfigError, match=r"days = .* has more days than slots; choose fewer"):
        preset("chaos", slots=8, systems=(Rain(days=(1,) * 9),))
    with pytest.raises(ConfigError, match=r"systems = .* holds 3, which is not a System"):
        preset("chaos", systems=(3,))
    assert pickle.loads(pickle.dumps(config)) == config


def test_configs_with_systems_are_plain_and_back():
    config = preset("chaos", systems=(Rain(chance=0.25),))
    plain = to_plain(config)
    assert plain["systems"] == [{"class": f"{__name__}:Rain", "chance": 0.25, "days": [1, 2]}]
    assert from_plain(WorldConfig, plain) == config


@pytest.mark.parametrize(
    "name", ["elsewhere:Rain", "os:path", "config.test_systems:Rain.first", "", "builtins:int"]
)
def test_a_class_that_is_not_imported_is_not_imported(name):
    """Nor is anything else that is not a system taken for one."""
    plain = to_plain(preset("chaos", systems=(Rain(),)))
    plain["systems"][0]["class"] = name
    with pytest.raises(ConfigError, match=r"systems\[0\] is a system of the class .* not imported.*--import"):
        from_plain(WorldConfig, plain)
    assert "elsewhere" not in sys.modules


def test_a_class_is_found_in_an_imported_module_without_running_its_code():
    module = ModuleType("elsewhere_imported")
    module.__getattr__ = lambda name: pytest.fail("code of the module ran")
    sys.modules[module.__name__] = module
    plain = to_plain(preset("chaos", systems=(Rain(),)))
    plain["systems"][0]["class"] = "elsewhere_imported:Rain"
    try:
        with pytest.raises(ConfigError, match="not imported"):
            from_plain(WorldConfig, plain)
        module.Rain = Rain
        assert from_plain(WorldConfig, plain).systems == (Rain(),)
    finally:
        del sys.modules[module.__name__]


def test_unknown_settings_are_refused_by_name():
    plain = to_plain(preset("chaos", systems=(Rain(),)))
    plain["systems"][0]["wet"] = True
    with pytest.raises(ConfigError, match=r"unknown fields wet"):
        from_plain(WorldConfig, plain)


def test_phases_are_found_in_the_order_of_their_definition():
    first, second = phase_specs(Rain())
    assert (first.place, first.of, first.method, first.takes) == ("before", "combat", "first", ())
    assert (second.place, second.of, second.takes) == ("after", "loot", ("move", "token"))
    assert second.optional == {"token"}


def test_an_override_keeps_the_place_only_with_the_decorator():
    @dataclass(frozen=True)
    class Moved(Rain):
        @phase(after="upkeep")
        def first(self, world): ...

        def second(self, world): ...

    assert [(spec.method, spec.of) for spec in phase_specs(Moved())] == [("first", "upkeep")]


def test_a_phase_has_exactly_one_place():
    for given in ({}, {"before": "combat", "after": "loot"}):
        with pytest.raises(ConfigError, match="phase\\(\\) takes one of"):
            phase(**given)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"state": {"X": StateSpec("R", torch.uint8, "x")}}, "state 'X' is not a name in snake case"),
        ({"state": {"x": 3}}, "state x is 3; give a StateSpec"),
        ({"state": {"x": StateSpec("H W", torch.uint8, "x")}}, "state x has shape 'H W'; begin with R"),
        ({"state": {"x": StateSpec("R Q", torch.uint8, "x")}}, "state x has shape 'R Q'"),
        ({"state": {"x": StateSpec("R", torch.float32, "x")}}, "state x has torch.float32; choose"),
        ({"state": {"x": StateSpec("R", torch.uint8, "x", high=256)}}, "low, high, fill and at_birth"),
        ({"state": {"x": StateSpec("R", torch.uint8, "x", low=1)}}, "choose 0 <= low <= fill"),
        ({"state": {"x": StateSpec("R A", torch.int8, "x", high=3, at_birth=4)}}, "low, high, fill"),
        ({"state": {"x": StateSpec("R H W", torch.int8, "x", at_birth=1)}}, "has at_birth and shape 'R H W'"),
        ({"state": {"counts": StateSpec("R", torch.int8, "x")}}, "state counts is the name of the counters"),
        ({"observation": {"x": ObservationSpec("x", torch.int64)}}, "observation x has torch.int64"),
        ({"observation": {"x": ObservationSpec("x", low=-1)}}, "has a range from -1 to 1"),
        ({"observation": {"x": ObservationSpec("x", high=0)}}, "has a range from 0 to 0"),
        ({"observation": {"x": ObservationSpec("x", torch.int8, low=2, high=3)}}, "choose -128 <= low <= 0"),
        ({"observation": {"x": ObservationSpec("x", shape=(0,))}}, r"has shape \(0,\)"),
        ({"actions": {"move": ActionSpec(2, "x")}}, "action move is the name of another head"),
        ({"actions": {"x": ActionSpec(1, "x")}}, "action x has 1 choices; give from 2"),
    ],
)  # fmt: skip
def test_a_wrong_declaration_is_refused(declared, message):
    with pytest.raises(ConfigError, match=f"system Declaring: .*{message}"):
        preset("chaos", systems=(declaring(**declared),))


def test_right_declarations_are_accepted():
    """The limits of every dtype, and every shape."""
    specs = {
        "a": StateSpec("R", torch.bool, "x", fill=1),
        "b": StateSpec("R H W", torch.int64, "x", low=-(1 << 63)),
        "c": StateSpec("R S 3", torch.int8, "x", low=-128, high=127, fill=-128, at_birth=127),
        "d": StateSpec("R A 2 2", torch.uint8, "x", high=255, at_birth=255),
    }  # fmt: skip
    config = preset("chaos", systems=(declaring(state=specs, actions={"x": ActionSpec(2, "x")}),))
    assert config.systems[0].state(config) == specs


def test_names_and_heads_are_unique_and_systems_limited():
    with pytest.raises(ConfigError, match=r"name = 'rain' is that of another system"):
        preset("chaos", systems=(Rain(), Rain(chance=0.1)))
    one, other = (declaring(actions={"x": ActionSpec(2, "x")}) for _ in range(2))
    type(other).name = "other"
    with pytest.raises(ConfigError, match="action x is the name of another head"):
        preset("chaos", systems=(one, other))
    many = [dataclass(frozen=True)(type(f"S{n}", (System,), {}))() for n in range(MAX_SYSTEMS + 1)]
    assert len(preset("chaos", systems=many[1:]).systems) == MAX_SYSTEMS
    with pytest.raises(ConfigError, match=f"systems holds {MAX_SYSTEMS + 1} systems"):
        preset("chaos", systems=many)


def test_a_system_has_to_be_a_frozen_dataclass():
    thawed = dataclass(type("Thawed", (System,), {}))
    plain = type("Plain", (Rain,), {})
    for kind in (thawed, plain):
        with pytest.raises(ConfigError, match=f"system {kind.__name__}: the class is not a frozen dataclass"):
            preset("chaos", systems=(kind(),))


def test_streams_of_systems_are_not_those_of_the_rules():
    from nmmo_gpu.config.systems import FIRST_STREAM

    assert max(Stream) < FIRST_STREAM and FIRST_STREAM + STREAMS * MAX_SYSTEMS <= 256


def test_replacing_a_setting_keeps_the_class():
    assert replace(Rain(), chance=1.0) == Rain(chance=1.0)
