"""Births of NPCs: how often, where, and which of several gets a tile."""

from __future__ import annotations

import pytest
import torch
from support.helpers import (
    GARBAGE,
    ODD,
    assert_same,
    blank_maps,
    chi_square,
    litter,
    place,
    random_world,
    unclean,
)

from nmmo_gpu.config import preset
from nmmo_gpu.content import Material
from nmmo_gpu.world.npcs import kind_of_slot
from nmmo_gpu.world.random import Stream, draw
from nmmo_gpu.world.reset import empty_world

CPU = torch.device("cpu")
SMALL = {"height": 33, "width": 47, "border": 12}
"""9 x 23 tiles from the ring inwards, which are 207."""
TINY = {"height": 32, "width": 32, "border": 14}
"""4 x 4 tiles."""


def world_of(numbers, *, realms=1, seed=1, slots=6, ground=Material.GRASS, **overrides):
    """Returns a world of one material from the ring inwards, without agents or NPCs."""
    settings = {**SMALL, "slots": slots, "populations": 3, "npc_births": 1.0, **overrides}
    config = preset("full", npc_numbers=numbers, **settings)
    world = empty_world(config, blank_maps(config, realms), seed)
    inside(world).fill_(int(ground))
    return world


def inside(world):
    """Returns [R, h, w], the part of ``material`` where NPCs can be born."""
    at = world.config.border
    return world.material[:, at:-at, at:-at]


def born(backend, world, ticks):
    """Returns [n, 4] (tick, realm, npc, tile) of all births in this many ticks, each from the same world."""
    rows = []
    for time in range(ticks):
        after = world.clone()
        after.tick.fill_(time)
        backend.npc_births(after)
        realm, slot = (after.alive & ~world.alive).nonzero().unbind(1)
        assert (slot >= world.config.slots).all(), "an agent was born"
        tile = after.row[realm, slot].long() * world.config.width + after.col[realm, slot]
        rows.append(torch.stack((torch.full_like(realm, time), realm, slot - world.config.slots, tile), 1))
    return torch.cat(rows)


@pytest.mark.parametrize("chance", [0.0, 0.05, 0.6])
def test_each_empty_slot_is_filled_with_the_configured_chance(backend, chance):
    """With much land: each slot alike, and independently of the others."""
    rows = born(backend, world_of((4, 3, 0), realms=100, npc_births=chance), 30)
    counts = torch.bincount(rows[:, 2], minlength=7).double()
    assert int(counts.sum()) == 0 if chance == 0.0 else chi_square(counts)[0] < chi_square(counts)[1]
    # Two of seven NPCs rarely choose the same of 207 tiles.
    spread = 4 * (21000 * chance * (1 - chance)) ** 0.5 + 0.02 * 21000 * chance
    assert abs(int(counts.sum()) - 21000 * chance) <= spread
    pairs = torch.zeros(3000, 7)
    pairs[rows[:, 0] * 100 + rows[:, 1], rows[:, 2]] = 1
    both = float((pairs[:, 0] * pairs[:, 6]).mean())
    assert abs(both - chance**2) <= 4.5 * (chance**2 * (1 - chance**2) / 3000) ** 0.5 + 0.01 * chance


def test_taken_slots_do_not_change(any_backend):
    """With chance 1 all are born in the first tick, and nothing is left to do."""
    world = world_of((3, 2, 0), realms=3)
    while not world.alive[:, 6:].all():
        before = world.clone()
        any_backend.npc_births(world)
        world.tick += 1
        for name in ("entity", "row", "col"):
            kept = before.alive
            assert torch.equal(getattr(world, name)[kept], getattr(before, name)[kept])
    before = world.clone()
    any_backend.npc_births(world)
    assert_same(world, before)
    assert not world.alive[:, :6].any() and (world.next_entity == 5).all()


def test_every_tile_of_the_habitat_has_the_same_chance(backend):
    """Chickens on grass, goblins on grass, scrub and forest, bears on scrub and forest; none elsewhere."""
    world = world_of((1, 1, 1), realms=100)
    materials = [int(m) for m in Material]
    kinds = torch.tensor(materials)[torch.arange(207) * 5 % 7].view(9, 23)
    inside(world).copy_(kinds.to(torch.uint8))
    rows = born(backend, world, 60)
    row, col = rows[:, 3] // 47 - 12, rows[:, 3] % 47 - 12
    assert ((row >= 0) & (row < 9) & (col >= 0) & (col < 23)).all()
    for kind, home in enumerate(((2,), (2, 3, 4), (3, 4))):
        of_kind = rows[:, 2] == kind
        counts = torch.bincount((row * 23 + col)[of_kind], minlength=207)
        fits = torch.isin(kinds.view(-1), torch.tensor(home))
        assert int(counts[~fits].sum()) == 0
        statistic, limit = chi_square(counts[fits])
        assert statistic < limit


def test_the_current_material_decides(any_backend):
    """On scrub that was grass there are goblins and bears, and no chickens."""
    world = world_of((2, 2, 2), realms=2, ground=Material.SCRUB)
    assert (world.base[:, 15, 20] == Material.GRASS).all()
    any_backend.npc_births(world)
    kind = kind_of_slot(world.config, CPU)
    assert set(kind[world.alive.nonzero()[:, 1]].tolist()) == {1, 2}


def test_twelve_tiles_are_tried(backend):
    """With forest on one of 16 tiles a bear finds it with chance 1 - (15/16)^12."""
    world = world_of((0, 0, 1), realms=200, **TINY)
    inside(world)[:, 2, 1] = int(Material.FOREST)
    rows = born(backend, world, 20)
    assert set(rows[:, 3].tolist()) == {16 * 32 + 15}
    expected = 1 - (15 / 16) ** 12
    assert abs(len(rows) / 4000 - expected) < 4 * (expected * (1 - expected) / 4000) ** 0.5


def test_two_corners_are_found_equally_often(backend):
    """Only two of 16 tiles are a bear's habitat, in opposite corners of the area."""
    world = world_of((0, 0, 1), realms=100, ground=Material.STONE, **TINY)
    inside(world)[:, 0, 0] = int(Material.FOREST)
    inside(world)[:, 3, 3] = int(Material.SCRUB)
    rows = born(backend, world, 20)
    statistic, limit = chi_square(torch.stack([(rows[:, 3] == at * 33).sum() for at in (14, 17)]))
    assert statistic < limit
    expected = 1 - (14 / 16) ** 12
    assert abs(len(rows) / 2000 - expected) < 4 * (expected * (1 - expected) / 2000) ** 0.5


def test_no_npc_is_born_on_a_taken_tile(any_backend):
    """Whether an agent or an NPC is there: two of 16 tiles are free, and later they are taken too."""
    world = world_of((3, 0, 0), slots=15, realms=2, **TINY)
    for realm in range(2):
        for slot in range(14):
            place(world, realm, slot, 14 + slot // 4, 14 + slot % 4)
    before = world.occupant.clone()
    for _ in range(9):
        any_backend.npc_births(world)
        world.tick += 1
    assert torch.equal(world.occupant[before > 0], before[before > 0])
    assert (world.alive[:, 15:].sum(1) == 2).all() and (world.occupant[:, 17, 16:18] > 15).all()


def test_without_habitat_no_npc_is_born(any_backend):
    world = world_of((3, 3, 3), ground=Material.STONE, realms=2)
    before = world.clone()
    any_backend.npc_births(world)
    assert_same(world, before)
    assert unclean(world) == []


@pytest.mark.parametrize("pair", [(0, 1), (0, 6), (2, 3), (5, 6), (3, 4), (1, 4)])
def test_of_two_npcs_that_choose_one_tile_each_is_born_equally_often(backend, pair):
    """Of seven NPCs of two kinds, two choose among 16 tiles of which one is land."""
    world = world_of((4, 3, 0), realms=150, ground=Material.STONE, **TINY)
    inside(world)[:, 1, 2] = int(Material.GRASS)
    for npc in range(7):
        if npc not in pair:
            world.alive[:, 6 + npc] = True
    rows = born(backend, world, 20)
    assert len(rows[:, :2].unique(dim=0)) == len(rows), "two NPCs on one tile"
    counts = torch.bincount(rows[:, 2], minlength=7)[list(pair)]
    assert int(counts.sum()) == len(rows)
    statistic, limit = chi_square(counts)
    assert statistic < limit
    found = 1 - (1 - (15 / 16) ** 12) ** 2
    assert abs(len(rows) / 3000 - (1 - (15 / 16) ** 24)) < 4 * (found * (1 - found) / 3000) ** 0.5


def test_the_winner_varies_between_ticks_and_realms(backend):
    world = world_of((2, 0, 0), realms=40, ground=Material.GRASS, **TINY)
    inside(world).fill_(int(Material.STONE))
    inside(world)[:, 0, 0] = int(Material.GRASS)
    rows = born(backend, world, 20)
    won = torch.full((20, 40), -1)
    won[rows[:, 0], rows[:, 1]] = rows[:, 2]
    assert (won == 0).any(0).all() and (won == 1).any(0).all()
    assert (won == 0).any(1).all() and (won == 1).any(1).all()


def test_ids_are_consecutive_in_slot_order_and_never_reused(any_backend):
    world = world_of((5, 4, 0), realms=3)
    world.next_entity.copy_(torch.tensor([0, 70, 1 << 40]))
    world.alive[:, 7] = True
    world.entity[:, 7] = -9
    seen = [set(), set(), set()]
    for time in range(3):
        before = world.clone()
        world.tick.fill_(time)
        any_backend.npc_births(world)
        for realm in range(3):
            new = (world.alive & ~before.alive)[realm].nonzero().squeeze(1)
            ids = world.entity[realm, new].tolist()
            assert ids == list(range(int(before.next_entity[realm]), int(world.next_entity[realm])))
            assert not seen[realm] & set(ids) and (time > 0 or len(ids) >= 6)
            seen[realm] |= set(ids)
        world.alive[:, 9:12] = False  # dead, and their tiles are free
        gone = (world.occupant > 9) & (world.occupant <= 12)
        world.occupant[gone], world.presence[gone] = 0, 0


def test_state_of_a_newborn_npc(any_backend):
    """The slot holds garbage before. Health is the kind's, and it has no aggro_target."""
    world = world_of((1, 1, 1), realms=3)
    inside(world)[:, ::2] = int(Material.FOREST)
    fresh = ("health", "food", "water", "freeze", "heading", "age", "damage", "row", "col", "aggro_target",
             "aggro_entity", "aggro_ticks", "entity")  # fmt: skip
    for name in fresh:
        getattr(world, name).fill_(GARBAGE % 128)
    before = world.clone()
    any_backend.npc_births(world)
    assert world.alive[:, 6:].all()
    assert world.health[:, 6:].tolist() == [[5, 15, 40]] * 3
    for name in ("food", "water", "freeze", "heading", "age", "damage"):
        assert not getattr(world, name)[:, 6:].any(), name
    assert (
        (world.aggro_target == -1).all() and (world.aggro_entity == -1).all() and not world.aggro_ticks.any()
    )
    assert world.entity[:, 6:].tolist() == [[0, 1, 2]] * 3 and world.next_entity.tolist() == [3] * 3
    for realm in range(3):
        for slot in range(6, 9):
            row, col = int(world.row[realm, slot]), int(world.col[realm, slot])
            assert world.occupant[realm, row, col] == slot + 1
            assert world.presence[realm, row, col] == 3 + 1 + slot - 6  # after three populations
    assert (world.occupant > 0).sum() == (world.presence > 0).sum() == 9
    for name, field in world.tensors():
        old = getattr(before, name)
        if name not in {"alive", "next_entity", "occupant", "presence", *fresh}:
            assert torch.equal(field, old), name
        elif name in fresh and name not in {"aggro_target", "aggro_entity", "aggro_ticks"}:
            assert torch.equal(field[:, :6], old[:, :6]), name


# ---------------------------------------------------------------------------- comparison with a plain version


def by_single_births(world):
    """Computes the world after births, one NPC at a time."""
    after, cfg = world.clone(), world.config
    kinds = kind_of_slot(cfg, CPU)
    at = cfg.border
    columns = cfg.width - 2 * at
    bits = 1
    while 2**bits < cfg.npc_slots:
        bits += 1
    for realm in range(world.realms):

        def words(stream, index, realm=realm):
            return [int(w) for w in draw(world.seed, world.tick, stream, torch.tensor([realm]), index)]

        mix = words(Stream.BIRTH_ORDER, torch.tensor([0]))[0] % 2**bits
        chosen = {}
        for npc in range(cfg.npc_slots):
            slot = cfg.slots + npc
            drawn = [w for n in range(4) for w in words(Stream.NPC_BIRTH, torch.tensor([8 * slot + n]))]
            if world.alive[realm, slot] or drawn[0] >> 16 >= round(cfg.npc_births * 65536):
                continue
            for word in drawn[1:13]:
                spot = word * (cfg.height - 2 * at) * columns >> 32
                row, col = at + spot // columns, at + spot % columns
                ground = int(world.material[realm, row, col])
                if (
                    cfg.tables.npcs[int(kinds[slot])].habitat >> ground & 1
                    and not world.occupant[realm, row, col]
                ):
                    chosen.setdefault((row, col), []).append((npc ^ mix, slot))
                    break
        winners = sorted((max(rivals)[1], tile) for tile, rivals in chosen.items())
        for slot, (row, col) in winners:
            kind = int(kinds[slot])
            after.alive[realm, slot] = True
            after.entity[realm, slot] = after.next_entity[realm]
            after.next_entity[realm] += 1
            after.row[realm, slot], after.col[realm, slot] = row, col
            after.health[realm, slot] = cfg.tables.npcs[kind].health
            for plane in (after.food, after.water, after.freeze, after.heading, after.age, after.damage):
                plane[realm, slot] = 0
            npc = slot - cfg.slots
            after.aggro_target[realm, npc], after.aggro_entity[realm, npc], after.aggro_ticks[realm, npc] = (
                -1,
                -1,
                0,
            )
            after.occupant[realm, row, col] = slot + 1
            after.presence[realm, row, col] = cfg.populations + 1 + kind
    return after


@pytest.mark.parametrize("numbers", [(7, 6, 5), (1, 0, 0), (0, 9, 0), (40, 30, 30)])
def test_births_match_a_plain_version(backend, numbers):
    """Half of all slots are taken, the others hold garbage."""
    births = 0
    for seed in range(3):
        config = preset(
            "full", **{**ODD, "border": 12}, slots=12, populations=3, npc_numbers=numbers, npc_births=0.6
        )  # fmt: skip
        world = litter(random_world(config, 1, seed, fill=0.5), seed)
        expected = by_single_births(world)
        births += int(expected.alive.sum() - world.alive.sum())
        backend.npc_births(world)
        assert_same(world, expected, f"{backend.name}, then the plain version")
        assert unclean(world) == []
    assert births > 0
