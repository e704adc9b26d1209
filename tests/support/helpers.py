"""Small worlds drawn in ASCII, random worlds, and checks of the invariants of all worlds.

Terrain is drawn with the characters of ``TERRAIN``. A digit or capital letter is the agent of that slot (0-9,
then A-Z), on grass unless ``under`` gives another material."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from support.full import kinds, stock
from torch import Tensor

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.content import Material, walkable_table
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.events import Flow
from nmmo_gpu.world.regrowth import TICK_MASK
from nmmo_gpu.world.regrowth_table import NEVER
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.spawning import birth_experience, birth_levels
from nmmo_gpu.world.state import Cause, World, causes, field_range, stock_fields
from nmmo_gpu.world.terrain import ring_tiles

DATA = Path(__file__).parents[1] / "data"
TERRAIN = {
    "^": Material.LAVA, "~": Material.WATER, ".": Material.GRASS, ",": Material.SCRUB,
    "f": Material.FOREST, "#": Material.STONE, "%": Material.ORE_ROCK,
}  # fmt: skip
SIGN = {int(material): sign for sign, material in TERRAIN.items()}
SLOT_NAMES = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
DIRECTIONS = {"stay": 0, "east": 1, "south": 2, "west": 3, "north": 4}
STYLE = {"melee": 0, "range": 1, "mage": 2}
ODD = {"height": 33, "width": 47, "border": 7, "vision": 7}
"""An oblong map with odd side lengths, whose border is just wide enough for the vision."""
GARBAGE = 0xAB
KERNEL_DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
"""Device on which tests run the kernels: the GPU if there is one, else the CPU with Triton's interpreter."""


def corner(config: WorldConfig) -> int:
    """Returns the row and column of a picture's upper left tile, just inside the ring."""
    return config.border + 1


def rows_of(picture: str) -> list[str]:
    """Returns the picture's lines without indentation."""
    return [line.strip() for line in picture.strip().splitlines()]


def blank_maps(config: WorldConfig, realms: int, fill: str = ".") -> Tensor:
    """Returns [R, H, W] uint8 maps of lava, the ring of grass, and one material inside the ring."""
    maps = torch.full((realms, config.height, config.width), int(Material.LAVA), dtype=torch.uint8)
    at = corner(config)
    maps[:, at:-at, at:-at] = int(TERRAIN[fill])
    maps.view(realms, -1)[:, ring_tiles(config.height, config.width, config.border)] = int(Material.GRASS)
    return maps


def draw_world(
    picture: str,
    preset_name: str = "chaos",
    *,
    realms: int = 1,
    seed: int = 1,
    age: int = 20,
    fill: str = "#",
    under: dict[str, str] | None = None,
    **overrides: object,
) -> World:
    """Returns a world with the picture just inside the ring, the same in every realm. Births and regrowth are
    off by default. Agents are like newborns, but ``age`` ticks old (20: no longer immune)."""
    rows = rows_of(picture)
    agents = {}
    for y, line in enumerate(rows):
        for x, sign in enumerate(line):
            if sign in SLOT_NAMES:
                agents[SLOT_NAMES.index(sign)] = (y, x)
    settings: dict[str, object] = {
        **ODD, "slots": max(agents, default=0) + 1, "populations": 1, "births": 0, "regrowth": 0.0,
        **overrides,
    }  # fmt: skip
    config = preset(preset_name, **settings)
    maps = blank_maps(config, realms, fill)
    at = corner(config)
    for y, line in enumerate(rows):
        for x, sign in enumerate(line):
            ground = (under or {}).get(sign, ".") if sign in SLOT_NAMES else sign
            maps[:, at + y, at + x] = int(TERRAIN[ground])
    world = empty_world(config, maps, seed)
    for realm in range(realms):
        for slot, (y, x) in sorted(agents.items()):
            place(world, realm, slot, at + y, at + x, age)
    return world


def place(world: World, realm: int, slot: int, row: int, col: int, age: int = 20) -> None:
    """Places a healthy agent on a tile of the map and keeps all fields consistent."""
    cfg = world.config
    assert not world.alive[realm, slot] and not world.occupant[realm, row, col]
    world.alive[realm, slot] = True
    world.row[realm, slot], world.col[realm, slot] = row, col
    world.health[realm, slot], world.age[realm, slot] = cfg.max_health, age
    world.food[realm, slot], world.water[realm, slot] = cfg.max_food, cfg.max_water
    world.entity[realm, slot] = world.next_entity[realm]
    world.next_entity[realm] += 1
    world.occupant[realm, row, col] = slot + 1
    kind = kinds(cfg)[slot]
    if kind >= 0:
        world.health[realm, slot] = cfg.tables.npcs[kind].health
        world.food[realm, slot] = world.water[realm, slot] = 0
        world.presence[realm, row, col] = cfg.populations + 1 + kind
        return
    world.presence[realm, row, col] = slot // cfg.population_size + 1
    if cfg.extended:
        world.xp[realm, slot] = torch.tensor(birth_experience(), dtype=torch.int32)
        world.level[realm, slot] = torch.tensor(birth_levels(), dtype=torch.uint8)
        world.gold[realm, slot] = cfg.birth_gold
        world.ledger[realm, -1, Flow.INITIAL] += cfg.birth_gold


def show(world: World, picture: str, realm: int = 0) -> list[str]:
    """Returns the current state of the tiles that the picture covers, drawn like the picture."""
    rows, at = rows_of(picture), corner(world.config)
    drawn = []
    for y, line in enumerate(rows):
        text = ""
        for x in range(len(line)):
            who = int(world.occupant[realm, at + y, at + x])
            text += SLOT_NAMES[who - 1] if who else SIGN[int(world.material[realm, at + y, at + x])]
        drawn.append(text)
    return drawn


def where(world: World, slot: int, realm: int = 0) -> tuple[int, int]:
    """Returns (row, column) of an agent within the picture."""
    at = corner(world.config)
    return int(world.row[realm, slot]) - at, int(world.col[realm, slot]) - at


def orders(
    world: World,
    move: dict[int, str] | None = None,
    attack: dict[int, tuple[str, int]] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Returns (move, style, target), the same in every realm. Slots without an order stay and do not
    attack."""
    moves, styles = torch.zeros(world.alive.shape, dtype=torch.int64), torch.zeros_like(world.entity)
    targets = torch.full_like(moves, -1)
    for slot, name in (move or {}).items():
        moves[:, slot] = DIRECTIONS[name]
    for slot, (style, target) in (attack or {}).items():
        styles[:, slot], targets[:, slot] = STYLE[style], target
    return moves, styles, targets


def random_orders(world: World, random: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Returns random (move, style, target) for every slot, including dead ones. Targets are in and out of
    reach, dead and alive, and include the attacker itself."""
    shape = world.alive.shape
    move = torch.randint(5, shape, generator=random)
    style = torch.randint(3, shape, generator=random)
    slots = shape[1]
    anybody = torch.randint(-1, slots, shape, generator=random)
    # The nearest other entity, so that most attacks hit.
    distance = torch.maximum(
        (world.row[:, :, None] - world.row[:, None]).abs(), (world.col[:, :, None] - world.col[:, None]).abs()
    )
    distance = distance.masked_fill(~world.alive[:, None], 9999) + torch.eye(slots, dtype=torch.int32) * 99999
    nearest = distance.argmin(-1)
    target = torch.where(torch.rand(shape, generator=random) < 0.7, nearest, anybody)
    return move, style, target


def random_maps(
    config: WorldConfig, realms: int, random: torch.Generator, odds: str = "~.ff,,...#%^"
) -> Tensor:
    """Returns [R, H, W] uint8 maps of lava, the ring, and inside it tiles drawn uniformly from ``odds``."""
    maps = blank_maps(config, realms)
    kinds = torch.tensor([int(TERRAIN[sign]) for sign in odds], dtype=torch.uint8)
    at = corner(config)
    inside = maps[:, at:-at, at:-at]
    inside.copy_(kinds[torch.randint(len(kinds), inside.shape, generator=random)])
    return maps


def random_world(
    config: WorldConfig,
    realms: int,
    seed: int,
    *,
    fill: float = 0.7,
    full: bool = False,
    wounded: bool = False,
    odds: str = "~.ff,,...#%^",
) -> World:
    """Returns a world as after many ticks: agents of any age and state, tiles that were eaten and regrow
    soon.

    Args:
        fill: fraction of slots that are occupied.
        full: occupy the tiles of the ring first, as far as there are agents.
        odds: materials of the tiles inside the ring, drawn uniformly.
        wounded: as after combat, kill some entities (health 0, cause combat) and chill some.
    """
    random = torch.Generator().manual_seed(seed)
    maps = random_maps(config, realms, random, odds)
    world = empty_world(config, maps, seed * 0x9E3779B9 - 5, first_realm=seed % 5 << 20)
    now = int(torch.randint(1, 2000, (1,), generator=random)) + (seed % 3 << 31)
    world.tick.fill_(now)

    def integers(low: int, high: int, shape: tuple[int, ...] = tuple(world.alive.shape)) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=random)

    eaten = (world.base == Material.FOREST) & (torch.rand(world.base.shape, generator=random) < 0.4)
    world.material[eaten] = int(Material.SCRUB)
    if config.regrowth > 0.0:
        due = (now + integers(0, 9, tuple(world.base.shape))) & TICK_MASK
        world.regrow_at.copy_(torch.where(eaten, due, NEVER))

    inside = torch.zeros(config.height, config.width, dtype=torch.bool)
    inside[config.border : -config.border, config.border : -config.border] = True
    ring = set(ring_tiles(config.height, config.width, config.border).tolist())
    kind_of = kinds(config)
    for realm in range(realms):
        ground = world.material[realm]
        stand = inside & walkable_table()[ground.long()] & (ground != Material.LAVA)
        free = stand.view(-1).nonzero().squeeze(1)
        free = free[torch.randperm(len(free), generator=random)].tolist()
        if full:
            free.sort(key=lambda tile: tile not in ring)
        taken = torch.randperm(config.slots, generator=random)[: max(1, round(fill * config.slots))].tolist()
        for slot, tile in zip(taken, free, strict=False):
            place(world, realm, slot, *divmod(tile, config.width))
        for slot in range(config.slots, config.entities):
            habitat = config.tables.npcs[kind_of[slot]].habitat
            lives_on = torch.tensor([habitat >> m & 1 for m in range(len(Material))], dtype=torch.bool)
            empty = (world.occupant[realm] == 0) & inside & lives_on[ground.long()]
            tiles = empty.view(-1).nonzero().squeeze(1)
            if len(tiles) and float(torch.rand(1, generator=random)) < fill:
                tile = int(tiles[int(torch.randint(len(tiles), (1,), generator=random))])
                place(world, realm, slot, *divmod(tile, config.width))
    # Dead entities' slots are filled as well, since their contents must not matter.
    world.health.copy_(integers(1, config.max_health))
    world.food.copy_(integers(0, config.max_food))
    world.water.copy_(integers(0, config.max_water))
    world.freeze.copy_(integers(0, config.freeze_ticks - 1) * (integers(0, 2) == 0))
    world.heading.copy_(integers(0, 4))
    world.age.copy_((config.immune_ticks + integers(-3, 3)).clamp(min=1))
    if config.extended:
        stock(world, random)
        if "mine" in config.works:
            rocks = (world.base == Material.ORE_ROCK) & (torch.rand(world.base.shape, generator=random) < 0.3)
            world.material[rocks] = int(Material.STONE)
            due = (now + integers(0, 9, tuple(world.base.shape))) & TICK_MASK
            world.regrow_at.copy_(torch.where(rocks, due.int(), world.regrow_at))
    world.visited.copy_(torch.randint(-(1 << 63), (1 << 63) - 1, world.visited.shape, generator=random))
    world.damage.copy_(integers(0, 20))
    world.acted.copy_(integers(0, 1000, (realms,)))
    world.deaths.copy_(integers(0, 1000, (realms, len(causes(config)))))
    world.deaths[:, Cause.NONE] = 0
    world.next_entity.copy_(world.deaths.sum(1) + world.npc_kills.sum(1) + world.alive.sum(1))
    world.explored.copy_(footprints(world))
    if wounded:
        killed = world.alive & (integers(0, 5) == 0)
        world.health[killed] = 0
        world.cause[killed] = int(Cause.COMBAT)
        world.chilled.copy_(world.alive & (integers(0, 3) == 0))
    return world


def footprints(world: World) -> Tensor:
    """Returns [R, A]: number of bits set in ``visited``, counted one by one."""
    bits = world.visited[..., None] >> torch.arange(64) & 1
    return bits.sum((2, 3))


def litter_goods(world: World, random: torch.Generator) -> None:
    """Writes random numbers into the items, levels and offers of dead agents and the targets of dead NPCs."""
    dead = ~world.agents(world.alive)
    for name in ("xp", "inventory", "gold", "worn", "offer", "offer_price", "offer_left", "token", "events"):
        field = getattr(world, name)
        low, high = (0, 250) if field.dtype == torch.uint8 else (-300, 300)
        if name in ("offer", "offer_price", "worn"):  # these index tables and must stay in range
            low, high = 0, 3
        field[dead] = torch.randint(low, high, field.shape, generator=random).to(field.dtype)[dead]
    gone = ~world.alive[:, world.config.slots :]
    for name in ("aggro_target", "aggro_entity", "aggro_ticks"):
        field = getattr(world, name)
        field[gone] = torch.randint(0, 3, field.shape, generator=random).to(field.dtype)[gone]


def litter(world: World, seed: int) -> World:
    """Writes random numbers into the slots of dead entities, which must not matter, with rows and columns on
    the map. Returns the world."""
    random = torch.Generator().manual_seed(seed)
    dead, cfg = ~world.alive, world.config
    anything = ("health", "food", "water", "freeze", "age", "damage", "explored", "visited")
    ranges = {name: (-300, 300) for name in anything}
    ranges |= {"row": (0, cfg.height), "col": (0, cfg.width), "heading": (0, 256), "chilled": (0, 2)}
    for name, (low, end) in ranges.items():
        field = getattr(world, name)
        gone = dead if field.shape[1] == cfg.entities else dead[:, : cfg.slots]
        field[gone] = torch.randint(low, end, field.shape, generator=random).to(field.dtype)[gone]
    if cfg.extended:
        litter_goods(world, random)
    return world


def carried(backend: Backend, device: torch.device) -> Backend:
    """Returns a backend with the same phases for worlds on the CPU. Each call copies its world and tensors to
    the device, and the results back."""
    if device.type == "cpu":
        return backend

    def carry(phase: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            there = [a.to(device) if isinstance(a, (World, Tensor)) else a for a in arguments]
            result = phase(*there)
            for ours, theirs in zip(arguments, there, strict=True):
                if isinstance(ours, World):
                    assert unclean(theirs) == []
                    for (_, tensor), (_, changed) in zip(ours.tensors(), theirs.tensors(), strict=True):
                        tensor.copy_(changed)
                elif isinstance(ours, Tensor) and not torch.equal(ours, theirs.cpu()):
                    ours.copy_(theirs)
            return result and tuple(part.cpu() for part in result)

        return call

    phases = {field.name: getattr(backend, field.name) for field in dataclasses.fields(backend)}
    carrying: dict[str, Any] = {name: carry(phase) for name, phase in phases.items() if callable(phase)}
    stretches = [
        dataclasses.replace(s, functions=tuple(carrying[name] for name in s.names), run=carry(s.run))
        for s in backend.stretches
    ]
    return dataclasses.replace(backend, **carrying, stretches=tuple(stretches))


def unclean(world: World) -> list[str]:
    """Returns the names of the workspaces that no longer contain their fill value."""
    kept = {name: room for name, room in world.workspaces.items() if room.fill is not None}
    return [name for name, room in kept.items() if (room.tensor != room.fill).any()]


def assert_same(ours: World, theirs: World, said: str = "") -> None:
    """Checks that all fields are equal. The failure message names the first field that differs."""
    for (name, a), (_, b) in zip(ours.tensors(), theirs.tensors(), strict=True):
        if not torch.equal(a, b):
            place = (a != b).nonzero()[0].tolist()
            raise AssertionError(f"{said}: {name}{place} is {a[tuple(place)]}, and {b[tuple(place)]}")


def check_invariants(world: World, littered: bool = False) -> None:
    """Checks what holds of every world between ticks: the invariants of its state, and clean workspaces.

    Args:
        world: the world.
        littered: whether the slots of dead entities may hold values out of range (see ``litter``)."""
    (without_litter(world) if littered else world).validate()
    assert unclean(world) == []


def without_litter(world: World) -> World:
    """Returns a copy in which the values of dead entities are clamped to the ranges of their fields."""
    world, agents = world.clone(), world.config.slots
    dead = {"S": ~world.alive, "E": ~world.alive, "N": ~world.alive[:, agents:]}
    dead |= {"A": dead["S"][:, :agents], "F": dead["S"][:, :agents]}
    for field in stock_fields():
        values, axes = getattr(world, field.name), field.shape.split()
        if axes[1:] and axes[1] in dead and values.numel():
            low, high = field_range(field, world.config)
            gone = dead[axes[1]]
            values[gone] = values[gone].long().clamp(low, high).to(values.dtype)
    return world


def chi_square(counts: Tensor, expected: Tensor | None = None) -> tuple[float, float]:
    """Returns the chi-square statistic of the counts, and its bound at a significance level of about 1e-4.

    Args:
        counts: observed counts.
        expected: expected counts; None for equal ones.
    """
    counts = counts.double().view(-1)
    if expected is None:
        expected = torch.full_like(counts, float(counts.mean()))
    assert float(expected.min()) >= 5.0, "too few for a chi-square test"
    freedom = counts.numel() - 1
    # Wilson and Hilferty's approximation of the chi-square quantile.
    bound = freedom * (1 - 2 / (9 * freedom) + 3.72 * (2 / (9 * freedom)) ** 0.5) ** 3
    return float(((counts - expected) ** 2 / expected).sum()), bound
