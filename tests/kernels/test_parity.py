"""The kernels against the rules in torch: every phase, and cut into blocks in every way, to the last bit.

On the GPU if there is one, else under Triton's interpreter. Interpreted programs take some 20 ms each,
whatever their size, so worlds are tiny and crowded. Worlds are made, and compared, on the CPU."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import pytest
import torch
from support.helpers import (
    GARBAGE,
    KERNEL_DEVICE,
    ODD,
    assert_same,
    blank_maps,
    litter,
    place,
    random_orders,
    random_world,
    unclean,
)
from support.ticking import CPU, generator

pytest.importorskip("triton")

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.kernels import launch as launching
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause, World

TORCH, TRITON = resolve("torch", CPU), resolve("triton", KERNEL_DEVICE)


class Setting(NamedTuple):
    """Some realms with their rules, and how they are cut (None: as the kernels would)."""

    config: WorldConfig
    realms: int
    block: int | None = None
    tiles: int | None = None
    lanes: int | None = None


CRAMPED = {**ODD, "border": 12}
"""Nine rows of 23 tiles: agents get into each other's way."""
ODD_RULES = {
    "reach": (2, 7, 5), "damage": (0, 9, 3), "forage": 40, "heal_above": 3, "freeze_ticks": 9,
    "immune_ticks": 2, "max_health": 100, "max_food": 90, "max_water": 127, "regrowth": 1.0,
}  # fmt: skip
SETTINGS = {
    "chaos-7x7": Setting(preset("chaos", **ODD, slots=7, populations=7, births=1), 1),
    "law-7x1": Setting(preset("law", **ODD, slots=7, populations=1, births=3), 3),
    "chaos-150-in-one-block": Setting(
        preset("chaos", **CRAMPED, slots=150, populations=3, births=3, regrowth=0.4), 1
    ),
    "chaos-2x70-in-blocks-of-32": Setting(
        preset("chaos", **CRAMPED, slots=70, populations=5, births=3, immune_ticks=3), 2, 32, 1024, 4096
    ),
    "odd-rules-150-in-blocks-of-32": Setting(
        preset("law", **CRAMPED, slots=150, populations=2, births=-1, **ODD_RULES), 1, 32, 512, 8192
    ),
}
EXTENDED = {
    "full-7-and-15-npcs": Setting(
        preset("full", **ODD, slots=7, populations=7, births=1, npc_numbers=(5, 7, 3), ore_regrowth=0.4), 3
    ),
    "full-2x70-and-30-npcs-in-blocks-of-32": Setting(
        preset(
            "full",
            **CRAMPED,
            slots=70,
            populations=5,
            births=3,
            npc_numbers=(12, 13, 5),
            birth_gold=1234,
            ore_regrowth=0.4,
        ),
        2,
        32,
        1024,
        4096,
    ),
    "chaos-with-npcs-33-in-blocks-of-32": Setting(
        preset("chaos", **CRAMPED, slots=33, populations=3, births=-1, npcs=True, npc_numbers=(0, 32, 1)),
        3,
        32,
    ),
    "law-with-mines": Setting(
        preset("law", **CRAMPED, slots=40, populations=2, births=3, works=("mine",), max_health=100), 2
    ),
}
"""With systems of the full game; with NPCs and without."""
ALL = SETTINGS | EXTENDED
FILLS = (0.1, 0.6, 1.0)


def cut(monkeypatch, setting):
    """Makes the kernels cut the world as the setting says."""
    for name in ("block", "tiles", "lanes"):
        most = getattr(setting, name)
        if most is not None:
            monkeypatch.setattr(launching, name.upper(), most)


@pytest.fixture(params=SETTINGS)
def setting(request, monkeypatch):
    """Its cut is in force."""
    chosen = SETTINGS[request.param]
    cut(monkeypatch, chosen)
    return chosen


@pytest.fixture(params=ALL)
def any_setting(request, monkeypatch):
    """As ``setting``, those of the full game as well."""
    chosen = ALL[request.param]
    cut(monkeypatch, chosen)
    return chosen


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Workspaces that may hold anything are handed out with random numbers in them, plausible ones too."""
    plain = World.workspace
    random = torch.Generator().manual_seed(0)

    def workspace(self, name, shape, dtype, fill=None):
        known = name in self.workspaces
        room = plain(self, name, shape, dtype, fill)
        if fill is None and not known:
            room.copy_(torch.randint(-2, 200, shape, generator=random))
        return room

    monkeypatch.setattr(World, "workspace", workspace)


def worlds(setting, *, wounded=False):
    """Random worlds, nearly empty, half full, and full, from the ring inwards; in the slots of the dead is
    litter."""
    for seed, fill in enumerate(FILLS):
        world = random_world(
            setting.config, setting.realms, seed, fill=fill, full=seed == 2, wounded=wounded
        )  # fmt: skip
        yield seed, litter(world, seed)


def both(phase, world, *orders):
    """The world after a phase by torch; fails unless the kernels make the same of it."""
    ours, theirs = world.clone(), world.to(KERNEL_DEVICE)
    carried = [order.to(KERNEL_DEVICE) for order in orders]
    getattr(TORCH, phase)(ours, *orders)
    getattr(TRITON, phase)(theirs, *carried)
    assert_same(theirs.to(CPU), ours, f"{phase}: triton, then torch")
    assert all(torch.equal(a, b.cpu()) for a, b in zip(orders, carried, strict=True)), f"{phase}: its orders"
    assert unclean(theirs) == []
    return ours


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.int16, torch.uint8])
def test_decode(kind, monkeypatch):
    """Whatever integers actions are made of, strided ones too, and with more heads; rows of nobody, and
    row 0."""
    monkeypatch.setattr(launching, "BLOCK", 32)
    random = generator(3)
    for shape, nearest in (((1, 7), 8), ((3, 70), 5), ((2, 33), 120)):
        seen = torch.randint(-1, shape[1], (*shape, nearest), generator=random, dtype=torch.int32)
        highest = torch.tensor([5, 3, nearest + 1])
        actions = (torch.rand(*shape, 6, generator=random) * highest.repeat(2)).to(kind)
        for chosen in (actions[..., :3], actions[..., 3:].contiguous(), actions[..., :3] * 0, actions):
            there = TRITON.decode(chosen.to(KERNEL_DEVICE), seen.to(KERNEL_DEVICE))
            for ours, theirs in zip(TORCH.decode(chosen, seen), there, strict=True):
                assert torch.equal(theirs.cpu().long(), ours)


def test_combat(setting):
    """The damage plane is poisoned: it must be written whole."""
    killed = hurt = 0
    for seed, world in worlds(setting):
        world.damage.fill_(GARBAGE)
        _, style, target = random_orders(world, generator(seed))
        after = both("combat", world, style, target)
        hurt += int((after.damage > 0).sum())
        killed += int((after.cause == Cause.COMBAT).sum())
    if setting.config.slots > 7:
        assert hurt > 0 and killed > 0
    elif not any(setting.config.damage):
        assert hurt == killed == 0


def test_many_attacks_on_one_agent_from_several_blocks(monkeypatch):
    """100 agents of four blocks all strike one, in the other realm two out of three do; more than 8,000 units
    each."""
    monkeypatch.setattr(launching, "BLOCK", 32)
    config = preset(
        "chaos", **{**ODD, "border": 9, "vision": 9}, slots=100, populations=1, damage=(127, 126, 125),
        reach=(9, 9, 9), immune_ticks=0, births=0,
    )  # fmt: skip
    world = empty_world(config, blank_maps(config, 2), 1)
    for realm in range(2):
        for slot in range(100):
            place(world, realm, slot, 11 + slot // 10, 12 + slot % 10)
    target = torch.full((2, 100), 50)
    target[:, 50] = torch.tensor([49, 99])
    target[1, ::3] = -1
    style = torch.randint(3, (2, 100), generator=generator(2))
    after = both("combat", world, style, target)
    assert (after.damage[:, 50] > 8000).all() and (after.food[:, 50] == 0).all()
    assert (after.cause == Cause.COMBAT).sum(1).tolist() == [2, 2]


def test_movement(any_setting):
    moved = 0
    for seed, world in worlds(any_setting, wounded=True):
        move = random_orders(world, generator(seed))[0]
        after = both("movement", world, move)
        moved += int((after.tile() != world.tile()).sum())
    assert moved > 0


def test_movement_where_all_want_the_same(any_setting):
    """Towards the middle, from all four sides: contests of two, three and four, of several blocks."""
    world = random_world(any_setting.config, any_setting.realms, 4, fill=1.0, odds=".,")
    for time in range(3):
        south, east = world.row < 16 + time, world.col < 23
        vertical, horizontal = torch.where(south, 2, 4), torch.where(east, 1, 3)
        across = torch.rand(world.alive.shape, generator=generator(time)) < 0.5
        world = both("movement", world, torch.where(across, vertical, horizontal))
        world.tick += 1


def test_contests_of_two_three_and_four_side_by_side(monkeypatch):
    """Crosses that fill the plane: the four arms of each want its centre, some of them are frozen; slots are
    dealt out at random, so that competitors belong to different blocks."""
    monkeypatch.setattr(launching, "BLOCK", 32)
    arms = {(0, -1): 1, (-1, 0): 2, (0, 1): 3, (1, 0): 4}
    inside = {(row, col) for row in range(12, 21) for col in range(12, 35)}
    crosses = [
        {(row + down, col + right): direction for (down, right), direction in arms.items()}
        for row, col in sorted(inside)
        if (row + 2 * col) % 5 == 0
    ]
    moves = {at: direction for cross in crosses if inside >= cross.keys() for at, direction in cross.items()}
    config = preset("chaos", **CRAMPED, slots=len(moves), populations=1, births=0)
    world = empty_world(config, blank_maps(config, 1), 3)
    move = torch.zeros(1, len(moves), dtype=torch.int64)
    places = list(moves)
    for slot, k in enumerate(torch.randperm(len(moves), generator=generator(1)).tolist()):
        place(world, 0, slot, *places[k])
        move[0, slot] = moves[places[k]]
    won = set()
    for time in range(4):
        world.tick.fill_(time)
        world.freeze.copy_(torch.rand(1, len(moves), generator=generator(time)) < 0.1 * time)
        after = both("movement", world, move)
        moved = after.tile() != world.tile()
        won |= set(move[0, moved].tolist())
        centres = len(moves) // 4
        assert moved.sum() == centres if time == 0 else moved.sum() > 0.9 * centres
    assert len(moves) > 80 and won == {1, 2, 3, 4}


@pytest.mark.parametrize("spawn", ["ring", "anywhere"])
@pytest.mark.parametrize("births", [0, 1, 3, -1])
def test_spawning(any_setting, births, spawn):
    """Twice in the same world, whose workspaces hold what the first time left."""
    config = dataclasses.replace(any_setting.config, births=births, spawn=spawn)
    born = 0
    for seed, world in worlds(any_setting._replace(config=config)):
        if seed == 1:
            continue
        twin = world.to(KERNEL_DEVICE)
        for _ in range(2):
            before = int(world.alive.sum())
            TORCH.spawning(world)
            TRITON.spawning(twin)
            assert_same(twin.to(CPU), world, "spawning: triton, then torch")
            assert unclean(twin) == []
            born += int(world.alive.sum()) - before
            world.tick += 1
            twin.tick += 1
    assert (born > 0) == (births != 0)


@pytest.mark.parametrize("block", [None, 32])
def test_spawning_onto_the_last_free_tiles(monkeypatch, block):
    """Every tile of the ring but three is taken, and 60 slots of two or three blocks draw; in the third
    realm none is left."""
    cut(monkeypatch, Setting(None, 3, block))
    config = preset("chaos", **ODD, slots=157, populations=1, births=-1)
    born = 0
    for seed in range(3):
        world = random_world(config, 3, seed, fill=97 / 157, full=True)
        free = (~world.alive[2]).nonzero().squeeze(1)
        ring = [(7, col) for col in range(7, 40)] + [(25, col) for col in range(7, 40)]
        ring += [(row, col) for row in range(8, 25) for col in (7, 39)]
        for slot, (row, col) in zip(
            free.tolist(), [at for at in ring if not world.occupant[2][at]], strict=False
        ):  # fmt: skip
            place(world, 2, slot, row, col)
        before = world.alive.sum(1)
        after = both("spawning", world)
        assert (after.alive[2] == world.alive[2]).all()
        born += int((after.alive.sum(1) - before).sum())
    assert 3 <= born <= 18


@pytest.mark.parametrize("left", [0, 4])
def test_spawning_where_every_tile_inside_is_taken(monkeypatch, left):
    """All 207 tiles, or all but four; 33 slots or more try to be born anywhere."""
    monkeypatch.setattr(launching, "BLOCK", 64)
    config = preset("chaos", **CRAMPED, slots=240, populations=1, births=-1, spawn="anywhere")
    world = random_world(config, 1, 5, fill=1.0, odds=".,f")
    assert int(world.alive.sum()) == config.birthplaces == 207
    for slot in world.alive[0].nonzero().squeeze(1)[:left].tolist():
        row, col = int(world.row[0, slot]), int(world.col[0, slot])
        world.alive[0, slot], world.occupant[0, row, col], world.presence[0, row, col] = False, 0, 0
    born = 0
    for _ in range(6):
        after = both("spawning", world)
        born += int(after.alive.sum() - world.alive.sum())
        world = after
        world.tick += 1
    assert born == 0 if left == 0 else 0 < born <= left


def test_regrowth(any_setting):
    returned = 0
    for _, world in worlds(any_setting):
        after = both("regrowth", world)
        returned += int((after.material != world.material).sum())
    assert returned > 0


def test_upkeep(any_setting):
    """With the killed, the chilled, the starving, and those on lava."""
    seen = set()
    for seed, world in worlds(any_setting, wounded=True):
        chance = torch.rand(world.alive.shape, generator=generator(seed))
        on_lava = world.tile()[(world.alive & (chance < 0.4)).view(-1)]
        world.material.view(-1)[on_lava] = 0
        world.regrow_at.view(-1)[on_lava] = -1
        world.food[world.row % 3 == seed % 3] = 1
        world.water[world.col % 3 == seed % 3] = 1
        after = both("upkeep", world)
        seen |= set(after.cause.unique().tolist())
        assert not after.chilled.any()
    assert {Cause.NONE, Cause.LAVA} <= seen


@pytest.mark.parametrize("chance", [0.4, 0.025, 1e-4, 1.0])
def test_upkeep_of_ticks_beyond_31_and_32_bits(chance, monkeypatch):
    """Meals of ticks whose low bits wrap, with tables of any length: when they return is drawn alike."""
    monkeypatch.setattr(launching, "BLOCK", 64)
    config = preset("law", **CRAMPED, slots=120, populations=1, births=0, regrowth=chance)
    eaten = set()
    for seed, now in enumerate(((1 << 31) - 2, (1 << 31) + 7, (1 << 32) - 1, (7 << 32) + 5)):
        world = random_world(config, 1, seed, fill=1.0, odds="fffff~")
        world.tick.fill_(now)
        after = both("upkeep", world)
        due = after.regrow_at[(after.regrow_at != world.regrow_at) & (world.material != after.material)]
        eaten |= set((due - now).tolist())
    assert len(eaten) > 1 or chance == 1.0


def test_explore(any_setting):
    """Footprints of any bits."""
    new = 0
    for _, world in worlds(any_setting):
        after = both("explore", world)
        new += int((after.explored - world.explored).sum())
    assert new > 0


def test_explore_beyond_the_torus_of_64():
    """Columns and rows of 63, 64 and more; the sign bit, and words that two places share."""
    config = preset("law", height=150, width=140, border=7, vision=7, slots=120, populations=1, births=0)
    world = random_world(config, 1, 2, fill=1.0, odds=".")
    world.col[0, :40] = 63
    world.col[0, 40:60] = 127
    world.row[0, 30:50] = 128
    for _ in range(2):
        world = both("explore", world)


def test_burial(any_setting):
    for seed, world in worlds(any_setting):
        causes = torch.randint(5, world.alive.shape, generator=generator(seed))
        world.cause.copy_(torch.where(world.alive, causes, 0))
        after = both("burial", world)
        assert int(world.alive.sum() - after.alive.sum()) == int((world.cause != 0).sum())


def observed(backend, world, fill):
    """(records, seen) on the CPU, written over garbage."""
    shape = world.alive.shape
    records = ObservationLayout(world.config).allocate(*shape, device=world.device).fill_(fill)
    seen = torch.full((*shape, world.config.nearest), fill * 99, dtype=torch.int32, device=world.device)
    backend.observe(world, records, seen)
    return records.cpu(), seen.cpu()


def assert_both_see_the_same(world):
    """Over different garbage: what is not written would differ."""
    there = world.to(KERNEL_DEVICE)
    ours, theirs = observed(TORCH, world, GARBAGE), observed(TRITON, there, 0x55)
    assert torch.equal(theirs[1], ours[1]), "seen"
    if not torch.equal(theirs[0], ours[0]):
        realm, slot, byte = (theirs[0] != ours[0]).nonzero()[0].tolist()
        fields = ObservationLayout(world.config).fields.items()
        field = [name for name, field in fields if field.offset <= byte][-1]
        raise AssertionError(f"records[{realm}, {slot}, {byte}], in {field}: triton, then torch")
    assert_same(there.to(CPU), world, "observing changed the world")


def test_observe(setting):
    """Also ages and damages beyond a byte, or beyond 16 bits."""
    for seed, world in worlds(setting):
        world.damage.copy_(torch.randint(30000, world.alive.shape, generator=generator(seed)))
        world.age[:, ::3] = 40000
        assert_both_see_the_same(world)


@pytest.mark.parametrize(
    ("vision", "nearest", "lanes"), [(1, 8, 64), (3, 5, 256), (4, 80, 1024), (15, 9, 8192), (15, 960, None)]
)
def test_observe_through_windows_and_tables_of_any_size(monkeypatch, vision, nearest, lanes):
    """Down to one agent per program; windows smaller than a table, and as many rows as the window has
    cells."""
    cut(monkeypatch, Setting(None, 1, None, None, lanes))
    config = preset(
        "chaos", **{**ODD, "border": max(vision, 12), "vision": vision}, populations=3, births=0,
        slots=15 if lanes == 64 else 51, reach=(1, 1, vision), nearest=nearest,
    )  # fmt: skip
    assert_both_see_the_same(litter(random_world(config, 1, vision, fill=0.9, full=vision > 4), 1))


def test_draws_of_many_at_once(monkeypatch):
    """``Backend.draw``: broadcast, strided and empty arguments, and whatever seed and tick."""
    monkeypatch.setattr(launching, "BLOCK", 256)
    realm, index = torch.arange(3)[:, None], torch.arange(101)[None]
    strided, high = torch.arange(404)[::4], torch.tensor([0, 1 << 31, (1 << 32) - 1])
    places = ((realm, index), (strided, strided), (realm[:0], index), (high[:, None], high[None]))
    keys = [(0, 0), (-7, (1 << 32) - 1), ((1 << 63) - 1, 5 << 32), (-(1 << 63), (1 << 31) + 3)]
    for seed, now in keys:
        for stream in (Stream.MOVE, Stream.RANDOM_ACTION):
            for at in places:
                arguments = torch.tensor([seed, 0]), torch.tensor([now]), stream, *at
                there = [a.to(KERNEL_DEVICE) if isinstance(a, torch.Tensor) else a for a in arguments]
                ours, theirs = TORCH.draw(*arguments), TRITON.draw(*there)
                assert len(ours) == len(theirs) == 4
                assert all(a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))
                assert all(torch.equal(a, b.cpu()) for a, b in zip(ours, theirs, strict=True))
