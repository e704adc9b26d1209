"""The value map: its newborns have the observations and values of an ordinary world's newborns, on every tile
where an agent can live."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from support.helpers import ODD
from train.small import FULL, randomize_biases, reloaded, small

from nmmo_gpu.content import Material
from nmmo_gpu.env import Env
from nmmo_gpu.errors import MapError, ReplayError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import value_map as value_maps
from nmmo_gpu.train.run import Run, load_weights
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.train.value_map import value_map
from nmmo_gpu.world.terrain import safe_table

RULES = {
    "plain": {},
    "recurrent": {"recurrent": True, "targeting": "learned"},
    "full": FULL | {"npc_births": 0.0, "targeting": "learned"},
}
WORLD = {**ODD, "slots": 12, "populations": 3, "backend": "torch", "shared_map": True}


def trained(tmp_path, **settings):
    """Returns (checkpoint of a new run, its map [H, W], that map with all forest eaten)."""
    run = Run(small(tmp_path, **{**WORLD, **settings}))
    randomize_biases(run.sword.policy)
    stored = reloaded(run, tmp_path / checkpoints.FILE)
    base = run.god.env.world.base[0].clone()
    return stored, base, base.masked_fill(base == int(Material.FOREST), int(Material.SCRUB))


def born_alone(stored, material, realms=120):
    """Returns (records [n, bytes], tiles [n], populations [n], values [n]) of agents born in the first tick
    of ordinary worlds, one in each realm, anywhere."""
    world = dataclasses.replace(stored.config.env.world, spawn="anywhere", births=1)
    env = Env(dataclasses.replace(stored.config.env, world=world, realms=realms, seed=stored.config.env.seed))
    env.world.material.copy_(material)
    env.reset()
    sword = Sword(dataclasses.replace(stored.config, env=env.config), env.device)
    load_weights(sword, stored)
    memory = sword.policy.initial_state(realms * world.slots, env.device)
    value = sword.decide(env.records, env.world, memory).value.view(realms, -1)
    alive = env.world.agents(env.world.alive)
    assert (alive.sum(1) <= 1).all() and alive.sum() > realms / 4
    tiles = env.world.agents(env.world.row * world.width + env.world.col)[alive]
    return env.records[alive], tiles, alive.nonzero()[:, 1] // world.population_size, value[alive]


@pytest.mark.parametrize("kind", RULES)
@pytest.mark.parametrize("eaten", [False, True])
def test_values_match_newborns_of_an_ordinary_world(tmp_path, kind, eaten):
    """A newborn has the same value and the same record as the map's newborn on its tile."""
    stored, base, grazed = trained(tmp_path, **RULES[kind])
    material = grazed if eaten else base
    records, tiles, populations, values = born_alone(stored, material)
    maps = [value_map(stored, base.numpy(), material.numpy(), p) for p in range(3)]
    found = torch.tensor(np.stack(maps)).flatten(1)[populations, tiles.long()]
    assert (found - values).abs().max() < 1e-6
    assert len(values.unique()) > 20
    if not eaten:
        assert np.array_equal(value_map(stored, base.numpy(), None, 1), maps[1], equal_nan=True)
    mean = value_map(stored, base.numpy(), material.numpy(), -1)
    np.testing.assert_allclose(mean, np.stack(maps).mean(0), atol=1e-6)
    ground = base.view(-1)[tiles.long()]
    assert (ground == int(Material.FOREST)).any() and (ground == int(Material.GRASS)).any()

    for population in range(3):
        chosen = populations == population
        newborns = value_maps._Newborns(stored, [base, material], int(chosen.sum()), torch.device("cpu"))
        alone = [tile[None].long() for tile in tiles[chosen]]
        assert torch.equal(newborns.records(alone, population), records[chosen])


@pytest.mark.parametrize("stride", [None, 1, 2, 3, 7, 20])
def test_there_is_a_value_on_each_habitable_tile(tmp_path, stride):
    """Only lava, water and stone have NaN. A cell of several tiles has the value of one of its tiles near the
    middle."""
    stored, base, _ = trained(tmp_path)
    safe = safe_table()[base.long()].numpy()
    assert safe.any() and set(base.unique().tolist()) >= {Material.LAVA, Material.WATER, Material.STONE}
    whole = value_map(stored, base.numpy(), None, 2, 1)
    assert np.array_equal(np.isfinite(whole), safe)
    found = value_map(stored, base.numpy(), None, 2, stride)
    side = stride or 1
    assert found.shape == (math.ceil(33 / side), math.ceil(47 / side)) and found.dtype == np.float32
    middle = (side - 1) / 2
    for row, values in enumerate(found):
        for column, value in enumerate(values):
            cell = whole[row * side : (row + 1) * side, column * side : (column + 1) * side]
            away = np.abs(np.stack(np.indices(cell.shape)) - middle).max(0)
            if np.isfinite(cell).any():
                nearest = cell[away == away[np.isfinite(cell)].min()]
                assert np.nanmin(np.abs(nearest - value)) < 1e-6
            else:
                assert np.isnan(value)


@pytest.mark.parametrize("batch", [1, 10**12])
@pytest.mark.parametrize("slots", [3, 10**6])
def test_batch_sizes_do_not_matter(tmp_path, monkeypatch, batch, slots):
    """The number of copies at a time, of newborns on each, and of records per batch do not change the map."""
    stored, base, _ = trained(tmp_path)
    stride = 4 if slots == 3 else 1  # one newborn at a time takes long
    expected = value_map(stored, base.numpy(), None, -1, stride)
    monkeypatch.setattr(value_maps, "BATCH", batch)
    monkeypatch.setattr(value_maps, "SLOTS_PER_PASS", slots)
    monkeypatch.setattr(value_maps, "ROWS", 30)
    found = value_map(stored, base.numpy(), None, -1, stride)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "stride"),
    [(80, 80, 1), (81, 80, 2), (33, 47, 1), (1024, 1024, 13), (8192, 8192, 103)],
)
def test_strides_of_large_maps(height, width, stride):
    """The stride is the smallest with at most 6400 cells."""
    assert value_maps.least_stride(height, width) == stride


def test_impossible_arguments_are_refused(tmp_path):
    """Another size, an unknown population, and a map at whose edge the window would leave it."""
    stored, base, _ = trained(tmp_path)
    map = base.numpy()
    with pytest.raises(ReplayError, match="33 x 46 tiles.*33 x 47"):
        value_map(stored, map[:, 1:], None, 0)
    for population in (-2, 3):
        with pytest.raises(ReplayError, match=f"population = {population},.*0 to 2"):
            value_map(stored, map, None, population)
    walkable_edge = map.copy()
    walkable_edge[0, 0] = int(Material.GRASS)
    for grounds in ((walkable_edge, None), (map, walkable_edge)):
        with pytest.raises(MapError, match="row 0, column 0"):
            value_map(stored, *grounds, 0)


def test_a_checkpoint_with_only_the_policy_is_enough(tmp_path):
    """A checkpoint that is read for its policy holds nothing else and gives the same map."""
    stored, base, _ = trained(tmp_path)
    policy = checkpoints.load(tmp_path, torch.device("cpu"), policy_only=True)
    assert policy.tensors and all(name.startswith("policy.") for name in policy.tensors)
    expected = value_map(stored, base.numpy(), None, 0)
    assert np.array_equal(value_map(policy, base.numpy(), None, 0), expected, equal_nan=True)
