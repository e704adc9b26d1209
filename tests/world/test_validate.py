"""Validation: valid worlds pass, and each invariant has a state that breaks it and an error that names it."""

from __future__ import annotations

import pytest
import torch
from support.helpers import ODD, blank_maps, place, random_world

from nmmo_gpu.config import EnvConfig, WorldConfig, preset
from nmmo_gpu.content import SKILLS, Material
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import NmmoError, WorldError
from nmmo_gpu.scripted import actor
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import MAX_EXPERIENCE, World, field_range, stock_fields
from nmmo_gpu.world.terrain import ring_tiles
from nmmo_gpu.world.validate import LONGEST_WAIT

FULL = preset("full", **ODD, slots=14, populations=7, npc_numbers=(5, 4, 3))
CHAOS = preset("chaos", **ODD, slots=14, populations=7)
FIELDS = {field.name: field for field in stock_fields()}
IRON_ORE, TIN_KNIFE = 2, 17


def world_of(config: WorldConfig = FULL, seed: int = 5) -> World:
    """Returns two realms in the middle of their history; odds without lava, so that much is depleted."""
    return random_world(config, 2, seed, odds="~.ff,,..%%")


def living(world: World, first: int = 0) -> tuple[int, int]:
    """Returns (realm 1, a living slot from ``first`` on)."""
    return 1, first + int(world.alive[1, first:].nonzero()[0])


def a_tile(world: World, material: Material, realm: int = 1) -> tuple[int, int, int]:
    """Returns a tile inside the ring with that base material on which nobody is."""
    there = (world.base[realm] == material) & (world.occupant[realm] == 0)
    there[: world.config.border + 1] = False
    there[:, : world.config.border + 1] = False
    return realm, *there.nonzero()[0].tolist()


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_declares_its_range_and_values_outside_are_refused(name):
    """Just below and above, in the last element, dead slots included. The error names field, place, value and
    what is allowed."""
    field = FIELDS[name]
    world = world_of()
    low, high = field_range(field, FULL)
    values = getattr(world, name)
    assert int(values.long().min()) >= low and int(values.long().max()) <= high
    values = values.view(torch.uint8) if values.dtype == torch.bool else values
    info = torch.iinfo(values.dtype)
    outside = [value for value in (low - 1, high + 1) if info.min <= value <= info.max]
    assert outside or (low, high) == (info.min, info.max), (
        "a field without a limit declares its dtype's range"
    )
    for value in outside:
        before = int(values.view(-1)[-1])
        values.view(-1)[-1] = value
        with pytest.raises(WorldError) as caught:
            world.validate()
        error, text = caught.value, str(caught.value)
        assert (error.field, error.value, error.tick) == (name, value, int(world.tick))
        assert f": {name} is {value}; it must {error.allowed}." in text
        assert (f"from {low} to {high}" if low < high else f"be {low}") in error.allowed
        axes = field.shape.split()
        assert error.realm == (1 if axes[0] == "R" else None)
        last = {"S": FULL.entities, "E": FULL.entities, "N": FULL.entities, "A": 14, "F": 14}
        assert error.slot == (last[axes[1]] - 1 if len(axes) > 1 and axes[1] in last else None)
        values.view(-1)[-1] = before
    world.validate()


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_another_shape_dtype_or_layout_is_refused(name):
    world = world_of()
    good = getattr(world, name)
    other = torch.int32 if good.dtype == torch.int64 else torch.int64
    wide = torch.stack((good, good), -1)
    for bad, said in ((good[:0], "it must be"), (good.to(other), str(other)), (wide[..., 0], "contiguous")):
        if bad.shape == good.shape and bad.dtype == good.dtype and bad.is_contiguous():
            continue  # one element is always contiguous
        setattr(world, name, bad)
        with pytest.raises(WorldError, match=said) as caught:
            world.validate()
        assert name == "alive" or caught.value.field == name
    setattr(world, name, good)
    world.validate()


def set_at(name: str, value: int):
    """Returns a break: a field of a living agent gets a value."""

    def broken(world: World) -> tuple[str, int]:
        where = living(world)
        getattr(world, name)[where] = value
        return name, where[1]

    return broken


def first_realm(world):
    world.seed[1] = (1 << 32) - 1
    return "seed", None


def walkable_border(world):
    world.base[1, 2, 3] = int(Material.GRASS)
    return "base", None


def gap_in_the_ring(world):
    tile = int(ring_tiles(FULL.height, FULL.width, FULL.border)[9])
    world.base[1].view(-1)[tile] = int(Material.FOREST)
    return "base", None


def another_shore(world):
    world.shore[a_tile(world, Material.GRASS)] ^= True
    return "shore", None


def new_water(world):
    """Base and material agree, but the shore was forgotten."""
    tile = a_tile(world, Material.GRASS)
    world.base[tile] = world.material[tile] = int(Material.WATER)
    return "shore", None


def stone_for_forest(world):
    world.material[a_tile(world, Material.FOREST)] = int(Material.STONE)
    return "material", None


def scrub_for_grass(world):
    world.material[a_tile(world, Material.GRASS)] = int(Material.SCRUB)
    return "material", None


def regrows_undepleted(world):
    world.regrow_at[a_tile(world, Material.GRASS)] = 5
    return "regrow_at", None


def never_regrows(material, shows):
    def broken(world):
        tile = a_tile(world, material)
        world.material[tile], world.regrow_at[tile] = int(shows), -1
        return "regrow_at", None

    return broken


def overdue(world):
    tile = a_tile(world, Material.FOREST)
    world.material[tile] = int(Material.SCRUB)
    world.regrow_at[tile] = (int(world.tick) - 1) & 0x7FFFFFFF
    return "regrow_at", None


def far_future(world):
    overdue(world)
    world.regrow_at[a_tile(world, Material.FOREST)] = (int(world.tick) + LONGEST_WAIT) & 0x7FFFFFFF
    return "regrow_at", None


def in_water(world):
    where = living(world)
    _, row, col = a_tile(world, Material.WATER)
    move_to(world, where, row, col)
    return "row", where[1]


def on_lava(world):
    where = living(world)
    move_to(world, where, 8, 0)
    return "row", where[1]


def move_to(world, where, row, col):
    """Moves an entity with all that belongs to it."""
    old = where[0], int(world.row[where]), int(world.col[where])
    new = where[0], row, col
    for plane in (world.occupant, world.presence):
        plane[new], plane[old] = plane[old].clone(), 0
    world.row[where], world.col[where] = row, col


def outside_its_habitat(world):
    where = living(world, FULL.slots)  # a chicken lives on grass
    _, row, col = a_tile(world, Material.SCRUB)
    move_to(world, where, row, col)
    return "row", where[1]


def two_on_a_tile(world):
    (realm, one), (_, other) = living(world), living(world, 1 + living(world)[1])
    world.occupant[realm, world.row[realm, one], world.col[realm, one]] = 0
    world.row[realm, one], world.col[realm, one] = world.row[realm, other], world.col[realm, other]
    return "occupant", one


def moved_without_the_plane(world):
    where = living(world)
    _, world.row[where], world.col[where] = a_tile(world, Material.GRASS)
    return "occupant", where[1]


def ghost(world):
    world.occupant[a_tile(world, Material.GRASS)] = 1 + living(world)[1]
    return "occupant", None


def died_in_place(world):
    world.alive[living(world)] = False
    return "occupant", None


def of_another_population(world):
    realm, slot = living(world)
    world.presence[realm, world.row[realm, slot], world.col[realm, slot]] ^= 1
    return "presence", slot


def presence_of_none(world):
    world.presence[a_tile(world, Material.GRASS)] = 1
    return "presence", None


def same_id(world):
    (realm, one), (_, other) = living(world), living(world, 1 + living(world)[1])
    world.entity[realm, one] = world.entity[realm, other]
    return "entity", one


def id_of_the_future(world):
    where = living(world)
    world.entity[where] = world.next_entity[1]
    return "entity", where[1]


def wrong_births(world):
    world.next_entity += 1
    return "next_entity", None


def too_healthy(world):
    where = living(world)
    world.health[where] = int(world.level[where][SKILLS.index("constitution")]) + 1
    return "health", where[1]


def too_healthy_npc(world):
    where = living(world, FULL.slots)
    world.health[where] = 6  # a chicken has 5
    return "health", where[1]


def died_of_nothing(world):
    world.deaths[1, 0] += 1
    world.next_entity[1] += 1
    return "deaths", None


def lost_footprints(world):
    where = living(world)
    world.visited[where] = 0
    return "explored", where[1]


def unlearned(world):
    where = living(world)
    world.xp[where] = 0
    return "level", where[1]


def npc_that_learned(world):
    world.level[1, FULL.slots, 0] = 50
    return "level", FULL.slots


def too_much_experience(world):
    where = living(world)
    world.xp[where][3] = MAX_EXPERIENCE + 1
    return "xp", where[1]


def heavy(world):
    where = living(world)
    world.inventory[where][IRON_ORE] = FULL.capacity + 1
    return "inventory", where[1]


def wears_nothing(world):
    where = living(world)
    world.inventory[where][16] = 1  # a copper knife, for anybody
    world.worn[where][1] = 0
    return "worn", where[1]


def offers(world, left, price):
    where = 1, int((world.agents(world.alive)[1] & (world.offer[1] == 0)).nonzero()[0])
    world.offer[where] = 1 + TIN_KNIFE
    world.offer_left[where], world.offer_price[where] = left, price
    return where


def expired_offer(world):
    return "offer_left", offers(world, 0, 3)[1]


def price_without_offer(world):
    where = offers(world, 0, 3)
    world.offer[where] = 0
    return "offer_price", where[1]


def wrong_quote(world):
    offers(world, 3, 1)
    world.quotes[1, TIN_KNIFE, 1] = 7
    return "quotes", None


def goods_from_nowhere(world):
    where = living(world)
    world.gold[where] += 1
    return "ledger", None


def goods_without_escrow(world):
    where = offers(world, 3, 0)
    world.quotes[1, TIN_KNIFE, 1] = 1
    assert where
    return "ledger", None


def angry_chicken(world):
    where = living(world, FULL.slots)
    world.aggro_ticks[where[0], where[1] - FULL.slots] = 1
    return "aggro_ticks", where[1]


def aimless_anger(world):
    realm, slot = living(world, FULL.slots + 5)  # a goblin
    world.aggro_ticks[realm, slot - FULL.slots], world.aggro_target[realm, slot - FULL.slots] = 2, -1
    return "aggro_target", slot


def target_of_the_calm(world):
    realm, slot = living(world, FULL.slots)
    world.aggro_entity[realm, slot - FULL.slots] = 3
    return "aggro_entity", slot


BREAKS = [
    first_realm, walkable_border, gap_in_the_ring, another_shore, new_water, stone_for_forest,
    scrub_for_grass, regrows_undepleted, overdue, far_future, in_water, on_lava, outside_its_habitat,
    two_on_a_tile, moved_without_the_plane, ghost, died_in_place, of_another_population, presence_of_none,
    same_id,
    id_of_the_future, wrong_births, too_healthy, too_healthy_npc, died_of_nothing, lost_footprints, unlearned,
    npc_that_learned, too_much_experience, heavy, wears_nothing, expired_offer, price_without_offer,
    wrong_quote, goods_from_nowhere, goods_without_escrow, angry_chicken, aimless_anger, target_of_the_calm,
    never_regrows(Material.FOREST, Material.SCRUB), never_regrows(Material.ORE_ROCK, Material.STONE),
    set_at("health", 0), set_at("cause", 3), set_at("entity", -1),
]  # fmt: skip
"""Each breaks one invariant, and returns the field that the error names and its slot, if it has one."""


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__qualname__.split(".")[0])
def test_a_state_that_breaks_an_invariant_is_refused(broken):
    world = world_of()
    world.validate()
    field, slot = broken(world)
    with pytest.raises(WorldError) as caught:
        world.validate()
    error = caught.value
    assert (error.field, error.slot) == (field, slot), str(error)
    assert error.realm == (1 if field != "seed" and field != "next_entity" else error.realm)
    assert isinstance(error, NmmoError) and isinstance(error, ValueError)
    assert error.allowed in str(error) or field == "ledger"


@pytest.mark.parametrize("config", [FULL, CHAOS, preset("law", **ODD, slots=60, populations=4)])
def test_validation_changes_nothing(config):
    for seed in range(4):
        world = world_of(config, seed)
        before = world.digest()
        world.validate()
        assert world.digest() == before


def test_the_realm_is_reported_by_index_and_number():
    world = world_of(CHAOS, seed=2)
    world.seed[1] = 64
    world.food[1, 3] = 99
    with pytest.raises(WorldError, match=r"realm 1 \(number 65\), slot 3, tick \d+: food is 99; it must be "):
        world.validate()


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("name", ["law", "chaos", "full"])
@pytest.mark.parametrize("policy", ["random", "forager", "hunter"])
def test_worlds_stay_valid_in_play(name, policy, backend):
    """On every tick from the first."""
    config = preset(name, **ODD, slots=21, populations=7, births=-1)
    env = Env(EnvConfig(world=config, realms=2, device="cpu", backend=backend, check=True, seed=4))
    env.reset()
    act = random_actions if policy == "random" else actor(policy)(env)
    for _ in range(25 if backend == "torch" else 100):
        env.step(act(env))
    assert env.world.alive.any() and (backend == "torch" or env.world.deaths.sum() > 0)


def test_an_environment_checks_the_world_that_it_continues():
    world = world_of(CHAOS)
    world.row[1, 2] = 10**6
    config = EnvConfig(world=CHAOS, realms=2, device="cpu", check=True)
    with pytest.raises(WorldError, match="slot 2, tick .*: row is 1000000; it must be from 0 to 32"):
        Env(config, world)


def test_an_environment_stops_at_the_tick_that_breaks_an_invariant():
    """Only with ``check``."""
    for check in (True, False):
        env = Env(EnvConfig(world=CHAOS, realms=2, device="cpu", backend="torch", check=check))
        env.reset()
        env.world.acted[1] = -9
        actions = torch.zeros(2, CHAOS.slots, 3, dtype=torch.int64)
        if check:
            with pytest.raises(WorldError, match="realm 1, tick 2: acted is -"):
                env.step(actions)
        else:
            env.step(actions)


def test_a_placed_agent_is_valid():
    """State that is written by hand, with all that belongs to it."""
    world = empty_world(FULL, blank_maps(FULL, 2), 1)
    world.validate()
    place(world, 1, 3, 9, 9)
    world.validate()
    world.alive[1, 3] = False
    with pytest.raises(WorldError, match=r"realm 1, row 9, column 9, tick 0: occupant is 4; it must be 0 "):
        world.validate()
