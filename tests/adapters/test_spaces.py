"""The spaces have every field of the layout and contain all observations and actions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from gymnasium.vector.utils import batch_space
from support.helpers import ODD, draw_world, random_world
from support.observed import CONFIGS, PLAIN, look

from nmmo_gpu.adapters.spaces import action_space, arrays, observation_space
from nmmo_gpu.config import preset
from nmmo_gpu.env import make, random_actions
from nmmo_gpu.world.actions import action_heads
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.observation_layout import (
    ENTITY_ATTRIBUTES,
    ENTITY_FEATURES,
    SELF_FEATURES,
    ObservationLayout,
)

TORCH = resolve("torch", torch.device("cpu"))
EVERY_CONFIG = {
    **CONFIGS,
    "law": (3, preset("law", **ODD, slots=7, populations=1)),
    "chaos": (2, preset("chaos", **ODD, slots=28, populations=7)),
    "little-to-see": (1, preset("chaos", **ODD | {"vision": 1}, slots=9, nearest=1, populations=3,
                                reach=(1, 1, 0), freeze_ticks=1, immune_ticks=0)),
    "sturdy": (1, preset("law", **ODD, slots=30, populations=2, max_health=127, max_food=3, max_water=127)),
}  # fmt: skip


@pytest.fixture(params=EVERY_CONFIG)
def world(request):
    realms, config = EVERY_CONFIG[request.param]
    return random_world(config, realms, 5, fill=0.8, odds=PLAIN)


def test_the_space_has_exactly_the_layouts_fields(world):
    space, fields = observation_space(world.config), ObservationLayout(world.config).fields
    assert set(space.keys()) == set(fields)
    for name, field in fields.items():
        part = space[name]
        assert part.shape == field.shape, name
        if field.dtype == torch.bool:
            assert isinstance(part, MultiBinary if field.shape else Discrete), name
        else:
            assert isinstance(part, Box) and str(field.dtype) == f"torch.{part.dtype}", name
            assert (part.low <= 0).all() and (part.high >= 0).all(), "the zeros of empty slots"


def test_observations_of_random_worlds_are_in_the_space(world):
    """Single observations and batches are, including those of empty slots."""
    views, _, records = look(TORCH, world)
    space, layout = observation_space(world.config), ObservationLayout(world.config)
    alive = world.agents(world.alive)
    assert alive.any() and not alive.all()
    for record in records.flatten(0, 1):
        seen = arrays(layout.views(record))
        assert seen in space, [name for name in space if seen[name] not in space[name]]
    batch = arrays({name: view.flatten(0, 1) for name, view in views.items()})
    assert batch in batch_space(space, alive.numel())


def test_arrays_are_views_except_alive(world):
    views, _, _ = look(TORCH, world)
    for name, array in arrays(views).items():
        assert np.array_equal(array, views[name].numpy())
        shared = np.shares_memory(array, views[name].numpy())
        assert shared == (name != "alive" and array.size > 0), name
    one = arrays(ObservationLayout(world.config).views(torch.zeros(4096, dtype=torch.uint8)))
    assert type(one["alive"]) is np.int64 and one["move_mask"].dtype == np.int8


def test_the_bounds_of_chaos_match_its_rules():
    space = observation_space(preset("chaos", height=90, width=70, populations=4))
    low, high = (
        dict(zip(SELF_FEATURES, bound, strict=True)) for bound in (space["self"].low, space["self"].high)
    )
    assert high == {
        "age": 32767, "health": 10, "food": 32, "water": 32, "row": 89, "col": 69, "freeze": 2,
        "damage": 32767, "immune": 1, "population": 3, "heading_row": 1, "heading_col": 1,
    }  # fmt: skip
    assert low == {name: -1 if name.startswith("heading") else 0 for name in SELF_FEATURES}
    assert dict(zip(ENTITY_FEATURES, space["entities"].high[5], strict=True)) == {
        "row_offset": 7, "col_offset": 7, "age": 127, "health": 10, "food": 32, "water": 32, "freeze": 2,
        "damage": 127,
    }  # fmt: skip
    assert space["entities"].low[5].tolist() == [-7, -7, 0, 0, 0, 0, 0, 0]
    assert (space["material"].high == 6).all() and (space["occupant"].high == 2).all()


def test_the_bounds_of_full_match_its_content():
    space = observation_space(preset("full"))
    assert dict(zip(ENTITY_ATTRIBUTES, space["entity_attributes"].high[0], strict=True)) == {
        "npc_kind": 3, "combat_level": 127, "sword": 3, "knife": 3, "armor": 3, "token": 7, "max_health": 99,
        "immune": 1,
    }  # fmt: skip
    assert space["goods"].high.tolist() == [32767, 28] and space["offer"].high.tolist() == [2, 22, 16, 100]
    assert (space["levels"].high == 99).all() and (space["market"].high == 16).all()
    assert (space["occupant"].high == 5).all() and space["self"].high[SELF_FEATURES.index("health")] == 99


def test_bounds_are_reached():
    """Where a rule sets a maximum, an agent can reach it."""
    world = draw_world("0.1", slots=2, populations=2, freeze_ticks=5)
    world.food.fill_(32)
    world.health.fill_(10)
    world.freeze.fill_(4)
    views, _, _ = look(TORCH, world)
    space, seen = observation_space(world.config), arrays(views)
    column = [SELF_FEATURES.index(name) for name in ("health", "food", "water", "freeze", "population")]
    assert (seen["self"][0, 1, column] == space["self"].high[column]).all()
    column = [ENTITY_FEATURES.index(name) for name in ("health", "food", "water", "freeze")]
    assert (seen["entities"][0, 0, 0, column] == space["entities"].high[0, column]).all()


@pytest.mark.parametrize("name", ["law", "chaos", "full"])
def test_observations_in_play_are_in_the_space(name):
    """Checked from the first births on."""
    env = make(name, **ODD, slots=16, realms=1, births=-1, device="cpu", backend="torch", seed=3)
    views = env.reset()
    space = batch_space(observation_space(env.config.world), 16)
    for tick in range(60):
        seen = arrays({name: view.flatten(0, 1) for name, view in views.items()})
        assert seen in space, (tick, [name for name in space if seen[name] not in space[name]])
        views, *_ = env.step(random_actions(env))


@pytest.mark.parametrize("name", EVERY_CONFIG)
def test_an_action_has_one_choice_per_head(name):
    config = EVERY_CONFIG[name][1]
    space = action_space(config)
    assert space.nvec.tolist() == list(action_heads(config).values()) and (space.start == 0).all()
