"""Phases of systems between the kernels: they change no launch, and split a fused stretch only where they
run."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.config.systems import System, phase
from nmmo_gpu.env import Env
from nmmo_gpu.kernels.launch import diverted
from nmmo_gpu.world.phases import PHASES

pytest.importorskip("triton")

SPLITTING = {
    ("after", "start"): 1, ("before", "combat"): 1, ("after", "combat"): 1, ("before", "movement"): 1,
    ("after", "upkeep"): 2, ("before", "explore"): 2, ("after", "explore"): 2, ("before", "burial"): 2,
    **{(place, name): 1 for place in ("before", "after") for name in ("talk", "npcs", "work", "exchange")},
    **{(place, "loot"): 2 for place in ("before", "after")},
}  # fmt: skip
"""Places inside of the stretches of ``chaos`` that run as fewer launches than their phases apart, with the
launches that a phase there adds. All other places are between launches."""


def launched(name, *systems):
    """Returns the names of the kernels that a tick launches, in order."""
    launches = []
    with diverted(launches.append):
        world = preset(name, systems=systems)
        env = Env(EnvConfig(world=world, realms=2, device="cpu", backend="triton", check_actions=False))
        env.reset()
        launches.clear()
        env.step(torch.zeros(2, world.slots, len(env.action_heads), dtype=torch.int64))
    return [launch.kernel.__name__ for launch in launches]


def phase_at(place, name):
    """Returns a system with one phase in torch."""

    def feed(self, world):
        world.food.clamp_(max=world.config.max_food)

    return dataclass(frozen=True)(type("Own", (System,), {"a": phase(**{place: name})(feed)}))()


@pytest.fixture(scope="module")
def stock():
    """Returns the launches of the rules alone."""
    return {name: launched(name) for name in ("chaos", "full")}


@pytest.mark.parametrize("name", [stock.name for stock in PHASES])
def test_a_phase_adds_launches_only_inside_of_a_stretch(stock, name):
    """Observations and decoding are as without it."""
    for place in ("before", "after"):
        more = SPLITTING.get((place, name), 0)
        found = launched("chaos", phase_at(place, name))
        assert len(found) == len(stock["chaos"]) + more
        assert (found == stock["chaos"]) == (more == 0)
        last = ["_public_stats", "_windows", "_nearest", "_record_fields"]
        assert found[-4:] == stock["chaos"][-4:] == last


def test_phases_of_the_full_game_are_launched_one_by_one(stock):
    """So a phase adds no launch anywhere, nor do phases at all places together."""
    methods = {
        f"{place}_{of.name}": phase(**{place: of.name})(lambda self, world: None)
        for of in PHASES for place in ("before", "after")
    }  # fmt: skip
    everywhere = dataclass(frozen=True)(type("Everywhere", (System,), methods))()
    assert launched("full", everywhere) == stock["full"]
    assert len(stock["full"]) > len(stock["chaos"]) > 5


def test_a_replaced_phase_is_not_launched(stock):
    found = launched("chaos", phase_at("instead_of", "regrowth"))
    assert found == [kernel for kernel in stock["chaos"] if kernel != "_regrowth"] != stock["chaos"]
