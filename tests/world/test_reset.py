"""Empty worlds, and which realm gets which map."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import DATA, ODD, assert_same, blank_maps, random_maps

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.content import STANDARD, Material, NPCKind
from nmmo_gpu.errors import ConfigError, MapError
from nmmo_gpu.world.regrowth_table import NEVER
from nmmo_gpu.world.reset import empty_world, load_maps, npc_levels, realm_maps
from nmmo_gpu.world.terrain import generate
from nmmo_gpu.world.tiled import load_tmx, save_tmx

V1 = [str(DATA / "v1_maps" / f"map{k}.tmx") for k in range(4)]
SMALL = preset("chaos", **ODD, slots=7, populations=7)


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, -(2**63)])
def test_an_empty_world_has_no_history(seed):
    maps = random_maps(SMALL, 3, torch.Generator().manual_seed(1))
    world = empty_world(SMALL, maps, seed)
    assert world.seed.tolist() == [seed, 0] and int(world.tick) == 0
    assert torch.equal(world.base, maps) and torch.equal(world.material, maps)
    special = {"seed", "base", "material", "shore", "entity", "regrow_at"}
    for name, tensor in world.tensors():
        assert name in special or not tensor.any(), name
    assert (world.entity == -1).all() and (world.regrow_at == NEVER).all()


FULL = preset("full", **ODD, slots=7, populations=7, npc_numbers=(2, 0, 3))
BEAST = NPCKind("beast", 127, 99, ("grass",), "never")


@pytest.mark.parametrize("seed", [0, -1])
def test_an_empty_world_of_the_full_game_has_no_goods_and_the_levels_of_its_npcs(seed):
    world = empty_world(FULL, random_maps(FULL, 3, torch.Generator().manual_seed(1)), seed)
    levels = world.level[:, 7:].clone()
    world.level[:, 7:] = 0
    none = {"entity", "regrow_at", "aggro_target", "aggro_entity", "top_attacker"}
    special = {"seed", "base", "material", "shore"}
    for name, tensor in world.tensors():
        assert name in special or (tensor == (-1 if name in none else 0)).all(), name
        assert tensor.is_contiguous()
    # melee, range, mage, defense, constitution, and four other skills: two chickens and three bears.
    chicken, bear = [1, 1, 1, 1, 5, 1, 1, 1, 1], [15, 15, 15, 15, 40, 1, 1, 1, 1]
    assert levels.tolist() == [[chicken] * 2 + [bear] * 3] * 3


def test_state_of_the_full_game_takes_no_memory_without_it():
    world = empty_world(SMALL, blank_maps(SMALL, 2), 0)
    kept = {name for name, tensor in world.tensors() if not tensor.numel()}
    assert kept == {
        "xp", "level", "inventory", "gold", "worn", "offer", "offer_price", "offer_left", "token", "quotes",
        "aggro_target", "aggro_entity", "aggro_ticks", "top_attacker", "events", "dead_totals", "ledger",
        "trades", "npc_kills",
    }  # fmt: skip
    assert world.alive.shape == (2, 7)


def test_npcs_have_the_levels_of_their_kind_and_constitution_up_to_99():
    content = dataclasses.replace(STANDARD, npcs=(STANDARD.npcs[1], BEAST))
    config = preset("full", **ODD, slots=7, populations=7, content=content, npc_numbers=(1, 2))
    goblin, beast = [5, 5, 5, 5, 15, 1, 1, 1, 1], [99, 99, 99, 99, 99, 1, 1, 1, 1]
    assert npc_levels(config, torch.device("cpu")).tolist() == [goblin, beast, beast]
    assert npc_levels(preset("full", npc_numbers=(0, 0, 0)), torch.device("cpu")).shape == (0, 9)


@pytest.mark.parametrize(
    ("off", "ore"), [({}, True), ({"works": ("fish",)}, False), ({"works": ("mine",)}, True)], ids=str
)
def test_there_are_orerocks_only_with_mining(off, ore):
    """Otherwise the terrain is v1's: what would be ore is stone."""
    config = EnvConfig(world=preset("full", **{**ODD, "height": 80, "width": 80}, **off), realms=3, seed=9)
    maps = realm_maps(config)
    plain = generate(9, 3, 80, 80, 7)
    rocks = maps == Material.ORE_ROCK
    assert bool(rocks.any()) == ore and (plain[rocks] == Material.STONE).all()
    assert torch.equal(torch.where(rocks, int(Material.STONE), maps), plain)
    assert torch.equal(maps, generate(9, 3, 80, 80, 7, ore=ore))


def test_shore_is_beside_water_on_one_of_four_sides():
    maps = random_maps(SMALL, 2, torch.Generator().manual_seed(2), "~....")
    world = empty_world(SMALL, maps, 0)
    for realm in range(2):
        for row in range(1, 32):
            for col in range(1, 46):
                beside = any(
                    maps[realm, row + dr, col + dc] == Material.WATER
                    for dr, dc in ((0, 1), (1, 0), (0, -1), (-1, 0))
                )
                assert bool(world.shore[realm, row, col]) == beside


def test_the_world_does_not_write_into_the_given_maps():
    maps = blank_maps(SMALL, 2)
    world = empty_world(SMALL, maps, 0)
    world.material.fill_(1)
    world.base.fill_(1)
    assert torch.equal(maps, blank_maps(SMALL, 2))
    shared = maps[:1].expand(2, -1, -1)
    world = empty_world(SMALL, shared, 0)
    world.material[0].fill_(1)
    assert torch.equal(world.material[1], maps[1])


def test_generated_maps_depend_on_the_seed_and_may_be_shared():
    config = EnvConfig(world=SMALL, realms=3, seed=9)
    maps = realm_maps(config)
    assert torch.equal(maps, generate(9, 3, 33, 47, 7))
    assert not torch.equal(maps[0], maps[1])
    shared = realm_maps(EnvConfig(world=SMALL, realms=3, seed=9, shared_map=True))
    assert all(torch.equal(shared[k], maps[0]) for k in range(3))
    assert not torch.equal(realm_maps(EnvConfig(world=SMALL, realms=3, seed=10)), maps)


def test_map_files_are_assigned_in_turn():
    config = EnvConfig(world=preset("law"), realms=6, maps=tuple(V1))
    maps = realm_maps(config)
    assert maps.shape == (6, 80, 80)
    for realm in range(6):
        assert torch.equal(maps[realm], load_tmx(V1[realm % 4]))
    assert torch.equal(realm_maps(EnvConfig(world=preset("law"), realms=2, maps=tuple(V1))), maps[:2])


def test_an_empty_world_on_a_v1_map_equals_one_made_by_hand():
    maps = load_maps(V1[:1], preset("law"))
    assert_same(
        empty_world(preset("law"), maps, 5), empty_world(preset("law"), load_tmx(V1[0])[None].clone(), 5)
    )


def test_a_map_of_the_wrong_size_is_refused_with_both_sizes_and_a_remedy():
    with pytest.raises(ConfigError, match=r"map0\.tmx is 80 x 80.*33 x 47.*set height = 80 and width = 80"):
        load_maps(V1, SMALL)


def test_an_unplayable_map_is_refused_by_name(tmp_path):
    """A hole in the ring, a missing file, and a file that is not a map."""
    material = blank_maps(SMALL, 1)[0]
    material[7, 12] = int(Material.STONE)
    save_tmx(tmp_path / "hole.tmx", material)
    with pytest.raises(MapError, match=r"hole\.tmx.*row 7, column 12 is stone"):
        load_maps([tmp_path / "hole.tmx"], SMALL)
    with pytest.raises(MapError, match=r"none\.tmx"):
        load_maps([tmp_path / "none.tmx"], SMALL)
    (tmp_path / "text.tmx").write_text("no map")
    with pytest.raises(MapError, match=r"text\.tmx"):
        load_maps([tmp_path / "text.tmx"], SMALL)
