"""Spawning: where, when and in which slots agents are born."""

from __future__ import annotations

import pytest
import torch
from support.helpers import GARBAGE, ODD, assert_same, blank_maps, chi_square, orders, place

from nmmo_gpu.config import preset
from nmmo_gpu.content import Material
from nmmo_gpu.world import tick
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause
from nmmo_gpu.world.terrain import ring_tiles

RING = ring_tiles(ODD["height"], ODD["width"], ODD["border"])


def world_of(realms=1, seed=1, slots=7, populations=1, births=1, preset_name="chaos", **overrides):
    """Returns a world with grass from the ring inwards and without agents."""
    settings = {**ODD, "slots": slots, "populations": populations, "births": births, **overrides}
    config = preset(preset_name, **settings)
    return empty_world(config, blank_maps(config, realms), seed)


def born(backend, world, ticks, prepare=None):
    """Returns [n, 4] (tick, realm, slot, tile) of all births in this many ticks, each from the same world."""
    rows = []
    for time in range(ticks):
        after = world.clone()
        after.tick.fill_(time)
        if prepare:
            prepare(after)
        before = after.alive.clone()
        backend.spawning(after)
        realm, slot = (after.alive & ~before).nonzero().unbind(1)
        tile = after.row[realm, slot].long() * after.config.width + after.col[realm, slot]
        rows.append(torch.stack((torch.full_like(realm, time), realm, slot, tile), 1))
    return torch.cat(rows)


def ring_place(tile):
    """Returns the index on the ring of each tile; fails for other tiles."""
    place_of = torch.full((ODD["height"] * ODD["width"],), -1)
    place_of[RING] = torch.arange(len(RING))
    found = place_of[tile]
    assert (found >= 0).all(), "an agent was born off the ring"
    return found


def test_one_agent_per_tick_is_born_anywhere_on_the_ring_into_any_slot(backend):
    """If all slots are free, there is exactly one birth per realm and tick, and every slot and every ring
    tile has the same chance."""
    rows = born(backend, world_of(realms=150), 30)
    assert len(rows) == 150 * 30 and len(rows[:, :2].unique(dim=0)) == len(rows)
    for counts in (
        torch.bincount(rows[:, 2], minlength=7),
        torch.bincount(ring_place(rows[:, 3]), minlength=len(RING)),
    ):
        statistic, limit = chi_square(counts)
        assert statistic < limit


def test_slot_and_tile_are_independent(backend):
    """No population is born on a side of its own."""
    rows = born(backend, world_of(realms=150), 30)
    side = ring_place(rows[:, 3]) * 4 // len(RING)
    counts = torch.bincount(rows[:, 2] * 4 + side, minlength=28).view(7, 4)
    expected = counts.sum(1, keepdim=True) * counts.sum(0, keepdim=True) / counts.sum()
    statistic, limit = chi_square(counts, expected.double().view(-1))
    assert statistic < limit


@pytest.mark.parametrize("births", [1, 3])
@pytest.mark.parametrize("free", [(0, 6, 12), (5,), (1, 2, 3, 4, 10, 11, 12, 13), tuple(range(14))])
def test_every_free_slot_has_the_same_chance_whichever_are_taken(backend, births, free):
    """14 slots in 7 populations: no agent is born into taken ones, and the others are equally frequent."""

    def occupy(world):
        for realm in range(world.realms):
            for slot in set(range(14)) - set(free):
                place(world, realm, slot, 15, 15 + slot)

    world = world_of(realms=60, slots=14, populations=7, births=births)
    occupy(world)
    rows = born(backend, world, 12)
    assert set(rows[:, 2].tolist()) == set(free)
    per_tick = torch.bincount(rows[:, 0] * 60 + rows[:, 1], minlength=720)
    assert int(per_tick.max()) == min(births, len(free))
    # Two agents of one tick draw the same tile with a chance of one in 100.
    assert int(per_tick.sum()) > 0.95 * 720 * min(births, len(free))
    if len(free) > 1:
        counts = torch.bincount(rows[:, 2], minlength=14)[list(free)]
        statistic, limit = chi_square(counts)
        assert statistic < limit


def test_no_agent_is_born_on_a_taken_tile_and_no_other_tile_is_tried(backend):
    """Half of the ring is taken: half of the births fail, and none is on a taken tile."""
    world = world_of(realms=40, slots=57)
    for realm in range(40):
        for slot in range(50):
            place(world, realm, slot, *divmod(int(RING[2 * slot]), ODD["width"]))
    rows = born(backend, world, 25)
    assert (ring_place(rows[:, 3]) % 2 == 1).all()
    assert abs(len(rows) / 1000 - 0.5) < 4.5 * 0.5 / 1000**0.5


def test_on_a_full_ring_no_agent_is_born(any_backend):
    for births in (1, 3, -1):
        world = world_of(slots=110, births=births)
        for slot in range(100):
            place(world, 0, slot, *divmod(int(RING[slot]), ODD["width"]))
        before = world.clone()
        for time in range(5):
            world.tick.fill_(time)
            before.tick.fill_(time)
            any_backend.spawning(world)
            assert_same(world, before)


def test_low_slots_have_no_advantage_where_four_draw_each_tile(backend):
    """400 slots and 100 tiles: each tile goes to one of those that drew it, and all slots are equally
    frequent."""
    rows = born(backend, world_of(realms=10, slots=400, births=-1), 20)
    assert len(rows[:, [0, 1, 3]].unique(dim=0)) == len(rows), "two agents on one tile"
    per_realm = torch.bincount(rows[:, 0] * 10 + rows[:, 1])
    # No slot draws a tile with chance (1 - 1/100)^400, which is 0.018.
    assert int(per_realm.max()) <= 100 and abs(float(per_realm.double().mean()) - 98.2) < 0.5
    statistic, limit = chi_square(torch.bincount(rows[:, 2], minlength=400))
    assert statistic < limit


def test_the_last_free_tile_goes_to_any_slot_that_draws_it(backend):
    """Ten slots are free, and one tile: each slot draws it with chance 1/100."""
    world = world_of(realms=100, slots=109, births=-1)
    for realm in range(100):
        for slot in range(99):
            place(world, realm, slot, *divmod(int(RING[slot]), ODD["width"]))
    rows = born(backend, world, 100)
    assert (rows[:, 3] == RING[99]).all()
    assert len(rows[:, :2].unique(dim=0)) == len(rows), "two agents on one tile"
    # Each of the ten draws it with chance 1/100.
    chance = 1 - 0.99**10
    assert abs(len(rows) / 10_000 - chance) < 4.5 * (chance * (1 - chance) / 10_000) ** 0.5
    statistic, limit = chi_square(torch.bincount(rows[:, 2] - 99, minlength=10))
    assert statistic < limit


def test_minus_one_refills_every_free_slot_at_once(backend):
    """All but those that drew a tile that was drawn twice; a few ticks later all slots are full."""
    world = world_of(realms=20, slots=14, populations=7, births=-1)
    backend.spawning(world)
    # 14 out of 100 tiles: 0.9 collisions on average.
    assert world.alive.sum() > 0.88 * 280 and (world.alive.sum(1) >= 9).all()
    for time in range(1, 9):
        world.tick.fill_(time)
        backend.spawning(world)
    assert world.alive.all()
    assert (world.next_entity == 14).all()
    assert (world.occupant.flatten(1) > 0).sum(1).tolist() == [14] * 20


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_births_may_be_as_many_as_slots(any_backend, slots):
    world = world_of(realms=3, slots=slots, births=slots)
    for time in range(6):
        world.tick.fill_(time)
        any_backend.spawning(world)
    assert world.alive.all()


def test_births_0_changes_nothing(any_backend):
    world = world_of(realms=3, births=0)
    before = world.clone()
    any_backend.spawning(world)
    assert_same(world, before)


def test_a_full_realm_does_not_change_beside_one_with_free_slots(any_backend):
    world = world_of(realms=2, slots=3, births=3)
    for slot in range(3):
        place(world, 0, slot, 12, 12 + slot)
    any_backend.spawning(world)
    assert world.entity[0].tolist() == [0, 1, 2] and world.next_entity[0] == 3
    assert world.next_entity[1] >= 2


def test_a_newborn_keeps_nothing_of_the_slots_last_agent(any_backend):
    """Health 10, food 32, water 32, age 0, nothing explored; its id is new, and its planes are set."""
    world = world_of(realms=3, slots=14, populations=7, births=-1)
    for name in ("health", "food", "water", "freeze", "heading", "age", "damage", "explored", "visited",
        "row", "col",
    ):  # fmt: skip
        getattr(world, name).fill_(GARBAGE)
    world.entity.fill_(1)
    world.next_entity.fill_(1000)
    any_backend.spawning(world)
    realm, slot = world.alive.nonzero().unbind(1)
    assert len(realm) > 30
    for name, value in (
        ("health", 10), ("food", 32), ("water", 32), ("freeze", 0), ("heading", 0), ("age", 0), ("damage", 0),
        ("explored", 0), ("visited", 0), ("cause", 0), ("chilled", 0),
    ):  # fmt: skip
        assert (getattr(world, name)[realm, slot] == value).all(), name
    assert world.immune()[realm, slot].all()
    ring_place(world.row[realm, slot].long() * ODD["width"] + world.col[realm, slot])
    at = realm, world.row[realm, slot].long(), world.col[realm, slot].long()
    assert torch.equal(world.occupant[at], (slot + 1).int())
    assert torch.equal(world.presence[at], (slot // 2 + 1).to(torch.uint8))
    for k in range(3):
        ids = world.entity[k][world.alive[k]]
        assert ids.tolist() == list(range(1000, 1000 + len(ids))), "ids in slot order"
        assert world.next_entity[k] == 1000 + len(ids)
    untouched = ~world.alive
    assert (world.entity[untouched] == 1).all() and (world.health[untouched] == GARBAGE).all()


@pytest.mark.parametrize("off", [{}, {"skills": False, "max_health": 23}, {"skills": False, "tokens": 0}])
def test_a_newborn_of_the_full_game_has_nothing_but_gold(any_backend, off):
    """Levels of 1 and constitution 10 with their experience, no items, no offer, no token, no events; the
    ledger books the gold. Other slots, including those of NPCs, do not change."""
    world = world_of(
        realms=3,
        slots=14,
        populations=7,
        births=-1,
        preset_name="full",
        npc_numbers=(2, 1, 1),
        birth_gold=37,
        **off,
    )
    goods = (
        "xp", "level", "inventory", "gold", "worn", "offer", "offer_price", "offer_left", "token", "events",
    )  # fmt: skip
    for name in (
        *goods,
        "health",
        "food",
        "water",
        "dead_totals",
        "ledger",
        "aggro_target",
        "aggro_ticks",
        "trades",
        "npc_kills",
        "quotes",
    ):
        getattr(world, name).fill_(101)
    before = world.clone()
    any_backend.spawning(world)
    assert not world.alive[:, 14:].any()
    realm, slot = world.alive.nonzero().unbind(1)
    assert len(realm) > 30
    levels, xp = torch.ones(9, dtype=torch.uint8), torch.zeros(9, dtype=torch.int32)
    levels[4], xp[4] = 10, 1151
    assert (world.level[realm, slot] == levels).all() and (world.xp[realm, slot] == xp).all()
    assert (world.gold[realm, slot] == 37).all()
    health = off.get("max_health", 10)
    assert (world.health[realm, slot] == health).all() and (world.food[realm, slot] == 32).all()
    for name in ("inventory", "worn", "offer", "offer_price", "offer_left", "token", "events"):
        assert not getattr(world, name)[realm, slot].any(), name
    for name in goods:
        untouched = ~world.alive[:, : getattr(world, name).shape[1]]
        assert torch.equal(getattr(world, name)[untouched], getattr(before, name)[untouched]), name
    assert (world.health[:, 14:] == 101).all() and (world.entity[:, 14:] == -1).all()
    before.ledger[:, -1, Flow.INITIAL] += 37 * world.alive.sum(1)
    for name in ("ledger", "dead_totals", "aggro_target", "aggro_ticks", "trades", "npc_kills", "quotes"):
        assert torch.equal(getattr(world, name), getattr(before, name)), name


def test_npcs_do_not_count_as_slots_for_agents(any_backend):
    """All slots of agents are taken and all of NPCs are free: no agent is born. None is born on a tile of an
    NPC either."""
    world = world_of(slots=3, births=3, preset_name="full", npc_numbers=(5, 5, 5))
    for slot in range(3):
        place(world, 0, slot, 12, 12 + slot)
    before = world.clone()
    any_backend.spawning(world)
    assert_same(world, before)
    world = world_of(slots=5, births=-1, preset_name="full", npc_numbers=(100, 0, 0))
    for number, tile in enumerate(RING[:100].tolist()):
        place(world, 0, 5 + number, *divmod(tile, ODD["width"]))
    before = world.clone()
    any_backend.spawning(world)
    assert_same(world, before)


def test_newborns_have_their_first_upkeep_in_the_tick_of_their_birth(any_backend):
    world = world_of(slots=1)
    tick.step(world, any_backend, *orders(world))
    assert world.alive[0, 0] and world.age[0, 0] == 1 and world.food[0, 0] == 31
    assert world.acted[0] == 0


def test_a_slot_is_free_from_the_tick_after_a_death(any_backend):
    world = world_of(slots=1)
    place(world, 0, 0, 15, 15)
    world.material[0, 15, 15] = 0  # it is on lava
    tick.step(world, any_backend, *orders(world))
    assert not world.alive[0, 0] and world.cause[0, 0] == Cause.LAVA and world.next_entity[0] == 1
    tick.step(world, any_backend, *orders(world))
    assert world.alive[0, 0] and world.entity[0, 0] == 1 and world.cause[0, 0] == 0


def test_ids_are_consecutive_and_never_reused(backend):
    """Over hundreds of births and deaths, in which all agents walk into lava."""
    world = world_of(realms=3, slots=7, births=3)
    random = torch.Generator().manual_seed(1)
    seen: list[list[int]] = [[], [], []]
    last = world.entity.clone()
    for _ in range(250):
        move = torch.randint(1, 5, world.alive.shape, generator=random)
        tick.step(world, backend, move, *orders(world)[1:])
        for realm in range(3):
            fresh = sorted(world.entity[realm][world.entity[realm] != last[realm]].tolist())
            assert not seen[realm] or not fresh or fresh[0] > seen[realm][-1]
            seen[realm] += fresh
        last = world.entity.clone()
    for realm in range(3):
        assert len(seen[realm]) > 100
        assert seen[realm] == list(range(int(world.next_entity[realm])))


def test_births_differ_between_realms_and_seeds(backend):
    """Realm 0's first tiles differ from realm 1's, and from those of another seed."""
    there = born(backend, world_of(realms=2, seed=1), 30)
    other = born(backend, world_of(realms=2, seed=2), 30)
    first, second = there[there[:, 1] == 0], there[there[:, 1] == 1]
    assert not torch.equal(first[:, 2:], second[:, 2:])
    assert not torch.equal(there, other)
    assert torch.equal(there, born(backend, world_of(realms=2, seed=1), 30))
    alone = born(backend, world_of(realms=1, seed=1), 30)
    assert torch.equal(first, alone)


# ------------------------------------------------------------------------------------------------ anywhere

INSIDE = torch.zeros(ODD["height"], ODD["width"], dtype=torch.bool)
INSIDE[ODD["border"] : -ODD["border"], ODD["border"] : -ODD["border"]] = True
PLACES = INSIDE.view(-1).nonzero().squeeze(1)
SAFE = [int(Material.GRASS), int(Material.SCRUB), int(Material.FOREST)]


def anywhere(**settings):
    return world_of(spawn="anywhere", **settings)


def test_anywhere_is_each_tile_from_the_ring_inwards_with_the_same_chance(backend):
    """19 x 33 tiles of grass, including the ring's corners; into any slot, independently of the tile."""
    world = anywhere(realms=200)
    assert world.config.birthplaces == len(PLACES) == 19 * 33
    rows = born(backend, world, 40)
    assert len(rows) == 200 * 40 and len(rows[:, :2].unique(dim=0)) == len(rows)
    tiles = torch.bincount(rows[:, 3], minlength=INSIDE.numel())
    assert int(tiles[~INSIDE.view(-1)].sum()) == 0, "an agent was born on the border"
    for counts in (tiles[PLACES], torch.bincount(rows[:, 2], minlength=7)):
        statistic, limit = chi_square(counts)
        assert statistic < limit
    quarter = rows[:, 3] // ODD["width"] // 17 * 2 + rows[:, 3] % ODD["width"] // 24
    counts = torch.bincount(rows[:, 2] * 4 + quarter, minlength=28).view(7, 4)
    expected = counts.sum(1, keepdim=True) * counts.sum(0, keepdim=True) / counts.sum()
    statistic, limit = chi_square(counts, expected.double().view(-1))
    assert statistic < limit


def test_anywhere_is_only_where_the_current_material_is_safe(backend):
    """All materials are scattered, and the base does not count. No second tile is tried."""
    world = anywhere(realms=100)
    ground = torch.randint(len(Material), (ODD["height"], ODD["width"]), generator=torch.Generator())
    world.material[:, INSIDE] = ground[INSIDE].to(torch.uint8)
    world.base[:, INSIDE] = ground[INSIDE].flip(0).to(torch.uint8)
    rows = born(backend, world, 40)
    safe = PLACES[torch.isin(ground.view(-1)[PLACES], torch.tensor(SAFE))]
    counts = torch.bincount(rows[:, 3], minlength=INSIDE.numel())
    assert int(counts.sum()) == int(counts[safe].sum()), "an agent was born on an unsafe tile"
    share = len(safe) / len(PLACES)
    assert abs(len(rows) / 4000 - share) < 4.5 * (share * (1 - share) / 4000) ** 0.5
    statistic, limit = chi_square(counts[safe])
    assert statistic < limit


@pytest.mark.parametrize("material", list(Material))
def test_materials_of_birthplaces(any_backend, material):
    """All tiles from the ring inwards have this material."""
    world = anywhere(slots=20, births=-1)
    world.material[:, INSIDE] = int(material)
    any_backend.spawning(world)
    assert bool(world.alive.any()) == (int(material) in SAFE)


def test_anywhere_no_agent_is_born_on_a_taken_tile(backend):
    """Half of the land is taken: half of the births fail."""
    world = anywhere(realms=40, slots=320)
    for realm in range(40):
        for slot, tile in enumerate(PLACES[::2].tolist()):
            place(world, realm, slot, *divmod(tile, ODD["width"]))
    rows = born(backend, world, 25)
    assert not torch.isin(rows[:, 3], PLACES[::2]).any()
    assert abs(len(rows) / 1000 - 313 / 627) < 4.5 * 0.5 / 1000**0.5


def test_anywhere_a_shared_tile_goes_to_any_slot_that_draws_it(backend):
    """400 slots draw 627 tiles; then all but three tiles are water, and many slots draw those three."""
    rows = born(backend, anywhere(realms=10, slots=400, births=-1), 20)
    assert len(rows[:, [0, 1, 3]].unique(dim=0)) == len(rows), "two agents on one tile"
    expected = 627 * (1 - (626 / 627) ** 400)
    assert abs(len(rows) / 200 - expected) < 2.0
    statistic, limit = chi_square(torch.bincount(rows[:, 2], minlength=400))
    assert statistic < limit

    world = anywhere(realms=50, slots=400, births=-1)
    world.material[:, INSIDE] = int(Material.WATER)
    world.material.view(50, -1)[:, PLACES[100:103]] = int(Material.FOREST)
    rows = born(backend, world, 60)
    assert torch.isin(rows[:, 3], PLACES[100:103]).all()
    assert len(rows[:, [0, 1, 3]].unique(dim=0)) == len(rows), "two agents on one tile"
    chance = 1 - (626 / 627) ** 400
    assert abs(len(rows) / 9000 - chance) < 4.5 * (chance * (1 - chance) / 9000) ** 0.5
    statistic, limit = chi_square(torch.bincount(rows[:, 2] // 4, minlength=100))
    assert statistic < limit


def test_anywhere_fills_a_realm_within_a_few_ticks(any_backend):
    """As many slots as half of the tiles; ids are in slot order, and planes are right."""
    world = anywhere(slots=312, populations=8, births=-1)
    for time in range(20):
        world.tick.fill_(time)
        known = world.next_entity.clone()
        before = world.alive.clone()
        any_backend.spawning(world)
        fresh = world.entity[world.alive & ~before]
        assert fresh.tolist() == list(range(int(known), int(world.next_entity)))
    assert world.alive.all()
    assert torch.equal(world.occupant.view(-1)[world.tile()], torch.arange(1, 313, dtype=torch.int32))
    assert int((world.occupant != 0).sum()) == int((world.presence != 0).sum()) == 312
