"""Validation of a world's state: every invariant that holds between two ticks.

The phases rely on these invariants and do not check them. A state that was written by hand or read from a
file can break them, and compiled loops and kernels would then access memory outside of the tensors."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import GEAR, GOLD, SKILLS, Material
from nmmo_gpu.content.tables import tensor
from nmmo_gpu.errors import WorldError
from nmmo_gpu.world.events import Flow, event_names
from nmmo_gpu.world.exchange import best_offers
from nmmo_gpu.world.growth import best_gear, levels_of
from nmmo_gpu.world.inventory import weights
from nmmo_gpu.world.ledger import check_ledger
from nmmo_gpu.world.npcs import PROVOKED, habitats, kind_of_slot
from nmmo_gpu.world.regrowth import TICK_MASK
from nmmo_gpu.world.regrowth_table import NEVER
from nmmo_gpu.world.reset import npc_levels
from nmmo_gpu.world.spawning import ring
from nmmo_gpu.world.state import (
    MAX_EXPERIENCE,
    VISITED_SIDE,
    Cause,
    World,
    field_range,
    field_shape,
    state_fields,
)
from nmmo_gpu.world.terrain import safe_table, shore
from nmmo_gpu.world.upkeep import max_health

LONGEST_WAIT = 1 << 20
"""A depleted tile regrows within this many ticks; the table of waiting times is much shorter."""
SLOTS = "R S"


@dataclass
class _Check:
    """One invariant, evaluated."""

    field: str
    """The field that breaks it."""
    wrong: Tensor
    """Bool: where it is broken."""
    allowed: str
    """What the field has to be, as the end of a sentence that begins with "it must"."""
    axes: str = ""
    """Meaning of the dimensions of ``wrong``, in the letters of ``World.sizes``; by default those of the
    field."""
    value: Tensor | None = None
    """The value to report, shaped like ``wrong``; by default the field."""


def validate(world: World, ledger: bool = True) -> None:
    """Raises WorldError for the first invariant that the world breaks.

    The checks run on the world's device, and the device is waited for.

    Args:
        world: the world.
        ledger: whether goods must agree with the ledger."""
    _check_tensors(world)
    _check_ranges(world)
    checks = [check for check in _checks(world) if check.wrong.numel()]
    broken = torch.stack([check.wrong.any() for check in checks]).tolist()
    if True in broken:
        raise _error(world, checks[broken.index(True)])
    if ledger and world.config.extended:
        check_ledger(world)


def _check_tensors(world: World) -> None:
    """Shape, dtype, device and layout of every field."""
    realms = world.alive.shape[0] if world.alive.dim() else 0
    sizes = World.sizes(world.config, realms)
    for field in state_fields(world.config):
        found = world.tensor(field.name)
        shape, dtype = field_shape(field, sizes), field.dtype
        if found.shape != shape or found.dtype != dtype or found.device != world.device:
            has, needs = f"{found.dtype} {tuple(found.shape)} on {found.device}", f"{dtype} {shape}"
            raise WorldError(
                f"{field.name} is {has}; it must be {needs} on {world.device}.", field.name, has, needs
            )
        if not found.is_contiguous():
            raise WorldError(
                f"{field.name} is not contiguous; it must be: write into the world's tensor, or assign "
                "tensor.contiguous().",
                field.name, "not contiguous", "contiguous",
            )  # fmt: skip


def _check_ranges(world: World) -> None:
    """The range that each field declares."""
    limits, extremes = [], []
    for field in state_fields(world.config):
        numbers = _numbers(world, field.name)
        low, high = field_range(field, world.config)
        info = torch.iinfo(numbers.dtype)
        if not numbers.numel() or (low <= info.min and high >= info.max):
            continue
        limits.append((field.name, low, high))
        extremes.append(torch.stack(torch.aminmax(numbers)).long())
    for (name, low, high), (least, most) in zip(limits, torch.stack(extremes).tolist(), strict=True):
        if least < low or most > high:
            numbers = _numbers(world, name)
            wrong = (numbers < low) | (numbers > high)
            allowed = f"be {low}" if low == high else f"be from {low} to {high}"
            raise _error(world, _Check(name, wrong, allowed, value=numbers))


def _numbers(world: World, name: str) -> Tensor:
    """The field as integers: a bool from a file can hold any byte."""
    found = world.tensor(name)
    return found.view(torch.uint8) if found.dtype == torch.bool else found


def _checks(world: World) -> Iterator[_Check]:
    yield from _map(world)
    yield from _tiles(world)
    yield from _places(world)
    yield from _entities(world)
    if world.config.extended:
        yield from _levels(world)
        yield from _goods(world)
    if world.config.npc_slots:
        yield from _npcs(world)


def _map(world: World) -> Iterator[_Check]:
    cfg, base = world.config, world.base
    number = world.seed.clone()
    number[0] = 0
    yield _Check(
        "seed", (number < 0) | (number > (1 << 32) - world.realms),
        "have a first realm of at least 0 whose last realm is below 2^32",
    )  # fmt: skip
    near, height, width = cfg.vision, cfg.height, cfg.width
    safe = safe_table().tolist()
    open_ = functools.reduce(operator.or_, (base == m for m in range(len(safe)) if safe[m]))
    open_[:, near : height - near, near : width - near] = False
    yield _Check(
        "base", open_,
        f"be lava, water, stone or orerock less than {near} tiles from the edge, where an agent would see "
        "beyond the map",
    )  # fmt: skip
    on_ring = torch.zeros_like(open_)
    tiles = ring(cfg, world.device)
    on_ring.view(world.realms, -1)[:, tiles] = base.view(world.realms, -1)[:, tiles] != Material.GRASS
    yield _Check("base", on_ring, f"be {int(Material.GRASS)} (grass) on the ring, where agents are born")
    yield _Check("shore", world.shore != shore(base), "be whether a neighbor's base material is water")


def _tiles(world: World) -> Iterator[_Check]:
    cfg, base, material = world.config, world.base, world.material
    depleted = material != base
    kinds = (
        (Material.FOREST, Material.SCRUB, cfg.regrowth),
        (Material.ORE_ROCK, Material.STONE, cfg.ore_regrowth),
    )
    wrong = depleted.clone()
    for full, empty, _ in kinds:
        wrong &= (base != full) | (material != empty)
    yield _Check(
        "material", wrong, "be the base material, or scrub where that is forest, or stone where it is orerock"
    )
    waiting = world.regrow_at != NEVER
    yield _Check("regrow_at", waiting & ~depleted, f"be {NEVER} on a tile that is not depleted")
    for full, _, chance in kinds:
        if chance > 0.0:
            never = depleted & ~waiting & (base == full)
            yield _Check("regrow_at", never, "be a tick on a depleted tile, since it regrows")
    now = (world.tick & TICK_MASK).int()
    late = waiting & (((world.regrow_at - now) & TICK_MASK) >= LONGEST_WAIT)
    yield _Check("regrow_at", late, f"be one of the next {LONGEST_WAIT} ticks (their low 31 bits)")


def _places(world: World) -> Iterator[_Check]:
    """Living entities on their tiles, and nobody else."""
    cfg, alive, device = world.config, world.alive, world.device
    tile = world.tile()
    ground = world.material.view(-1)[tile].view_as(alive).long()
    kind = kind_of_slot(cfg, device)
    yield _Check(
        "row", alive & ~safe_table(device)[ground],
        "be, with col, a walkable tile other than lava, if the entity is alive",
    )  # fmt: skip
    if cfg.npc_slots:
        habitat = habitats(world, kind.clamp(min=0))
        # Scrub can regrow to forest under an NPC that does not live in forests.
        habitat |= (habitat >> Material.SCRUB & 1) << Material.FOREST
        away = alive & (kind >= 0) & (habitat >> ground & 1 == 0)
        yield _Check("row", away, "be, with col, a tile of the habitat of the NPC's kind, if it is alive")

    slot = torch.arange(cfg.entities, device=device, dtype=torch.int64)
    shown = world.occupant.view(-1)[tile].view_as(alive)
    yield _Check(
        "occupant", alive & (shown != slot + 1),
        "be slot + 1 on the tile of a living entity, and no two may share a tile", SLOTS, shown,
    )  # fmt: skip
    of_agents = slot // cfg.population_size + 1
    expected = torch.where(kind < 0, of_agents, cfg.populations + 1 + kind)
    shown = world.presence.view(-1)[tile].view_as(alive)
    yield _Check(
        "presence", alive & (shown != expected),
        "be population + 1 on the tile of a living agent, and populations + kind + 1 on that of an NPC",
        SLOTS, shown,
    )  # fmt: skip
    occupied = world.occupant > 0
    # Every living entity has a tile of its own, so the numbers differ exactly if a tile has no entity.
    if not torch.equal(occupied.sum((1, 2)), alive.sum(1)):
        occupied.view(-1)[tile[alive.view(-1)]] = False
        yield _Check("occupant", occupied, "be 0 on a tile on which no living entity is")
    yield _Check(
        "presence", (world.presence > 0) & (world.occupant == 0), "be 0 on a tile that has no occupant"
    )


def _entities(world: World) -> Iterator[_Check]:
    cfg, alive = world.config, world.alive
    entity, born = world.entity, world.next_entity
    yield _Check("entity", alive & (entity < 0), "be at least 0, if the entity is alive")
    yield _Check("entity", entity >= born[:, None], "be less than next_entity of its realm")
    ids, order = entity.sort(dim=1)
    same = (ids[:, 1:] == ids[:, :-1]) & (ids[:, 1:] >= 0)
    twice = torch.zeros_like(alive)
    for ends in (order[:, 1:], order[:, :-1]):
        twice |= torch.zeros_like(alive).scatter_(1, ends, same)
    yield _Check("entity", twice, "be an id that no other slot of its realm has")

    most = max_health(world).expand(alive.shape).clone()
    if cfg.npc_slots:
        of_kind = tensor(tuple(row.health for row in cfg.tables.npcs), world.device, torch.int16)
        most[:, cfg.slots :] = of_kind[kind_of_slot(cfg, world.device)[cfg.slots :]]
    of_agents = "its level in constitution" if cfg.skills else f"max_health = {cfg.max_health}"
    yield _Check(
        "health", alive & ((world.health < 1) | (world.health > most)),
        f"be at least 1 and at most {of_agents}, or the health of the NPC's kind, if the entity is alive",
    )  # fmt: skip
    yield _Check("cause", alive & (world.cause != 0), "be 0, if the entity is alive")
    no_cause = torch.zeros_like(world.deaths, dtype=torch.bool)
    no_cause[:, Cause.NONE] = world.deaths[:, Cause.NONE] != 0
    yield _Check("deaths", no_cause, "be 0 for no cause")
    total = world.deaths.sum(1) + world.npc_kills.sum(1) + alive.sum(1)
    yield _Check(
        "next_entity", born != total,
        "be the number of births: of living entities, deaths and npc_kills",
    )  # fmt: skip
    wrong = world.agents(alive) & (world.explored != _footprints(world))
    yield _Check("explored", wrong, "be the number of bits set in visited, if the agent is alive")


def _footprints(world: World) -> Tensor:
    """[R, A] int64: number of bits set in ``visited``."""
    counts = []
    for words in torch.split(world.visited.view(-1, VISITED_SIDE), 1 << 16):  # in pieces, to save memory
        # Sums of neighboring bits, pairs and nibbles, then of all bytes. Masking after a shift removes the
        # copies of the sign bit.
        bits = words - (words >> 1 & 0x5555555555555555)
        bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333)
        bits = (bits + (bits >> 4)) & 0x0F0F0F0F0F0F0F0F
        counts.append((bits * 0x0101010101010101 >> 56).sum(1))
    return torch.cat(counts).view_as(world.explored)


def _levels(world: World) -> Iterator[_Check]:
    cfg, living = world.config, world.agents(world.alive)[..., None]
    yield _Check("xp", living & (world.xp > MAX_EXPERIENCE), f"be at most {MAX_EXPERIENCE}")
    wrong = torch.zeros_like(world.level, dtype=torch.bool)
    wrong[:, : cfg.slots] = living & (world.agents(world.level) != levels_of(world.xp))
    yield _Check("level", wrong, "be the level that xp gives, if the agent is alive")
    if cfg.npc_slots:
        wrong = torch.zeros_like(wrong)
        wrong[:, cfg.slots :] = world.level[:, cfg.slots :] != npc_levels(cfg, world.device)
        yield _Check("level", wrong, "be that of the NPC's kind")
    best = best_gear(world)
    yield _Check(
        "worn", living & (world.worn != best), "be the best that the agent holds and can use, if it is alive"
    )


def _goods(world: World) -> Iterator[_Check]:
    cfg, living = world.config, world.agents(world.alive)
    offers, items = world.offer > 0, len(cfg.tables.items)
    if items:
        weight = weights(world).long()
        reserved = torch.where(offers, weight[(world.offer.long() - 1) % items], 0)
        used = (world.inventory * weight).sum(2) + reserved
        yield _Check(
            "inventory", living & (used > cfg.capacity),
            f"take at most capacity = {cfg.capacity} units, with the one that an offer reserves", "R A", used,
        )  # fmt: skip
    yield _Check(
        "offer_left", living & ((world.offer_left > 0) != offers), "be above 0 exactly if there is an offer"
    )
    yield _Check("offer_price", living & ~offers & (world.offer_price > 0), "be 0 without an offer")
    if cfg.exchange and items:
        wrong = torch.zeros_like(world.quotes, dtype=torch.bool)
        wrong[..., :2] = world.quotes[..., :2] != best_offers(world)
        yield _Check("quotes", wrong, "be 1 + the price of the best bid or ask of living agents, 0 for none")


def _npcs(world: World) -> Iterator[_Check]:
    cfg = world.config
    alive, kind = world.alive[:, cfg.slots :], kind_of_slot(cfg, world.device)[cfg.slots :]
    limits = tuple(row.aggro_ticks if row.hunts == PROVOKED else 0 for row in cfg.tables.npcs)
    most = tensor(limits, world.device)[kind]
    angry, aimed = world.aggro_ticks > 0, world.aggro_target >= 0
    yield _Check(
        "aggro_ticks",
        alive & (world.aggro_ticks > most),
        "be at most those of the NPC's kind, if it is alive",
    )
    # A kind whose aggro_ticks are 0 keeps its last target and never fights it.
    wrong = alive & (angry != aimed) & (most > 0)
    yield _Check("aggro_target", wrong, "be a slot exactly if aggro_ticks is above 0")
    wrong = alive & ~aimed & (world.aggro_entity >= 0)
    yield _Check("aggro_entity", wrong, "be -1 if aggro_target is")


def _error(world: World, check: _Check) -> WorldError:
    """The error about the first place at which an invariant is broken."""
    index = tuple(check.wrong.nonzero()[0].tolist())
    found = world.tensor(check.field) if check.value is None else check.value
    value = int(found[index])
    tick, first = int(world.tick), int(world.seed[1])
    words, realm, slot = [], None, None
    shapes = {field.name: field.shape for field in state_fields(world.config)}
    for axis, at in zip((check.axes or shapes[check.field]).split(), index, strict=True):
        if axis == "R":
            realm = at
            words.append(f"realm {at}" + (f" (number {first + at})" if first else ""))
        elif axis in "SAFEN":
            slot = at + (world.config.slots if axis == "N" else 0)
            words.append(f"slot {slot}")
        else:
            words.append(_name(world.config, check.field, axis, at))
    place = ", ".join((*words, f"tick {tick}"))
    return WorldError(
        f"{place}: {check.field} is {value}; it must {check.allowed}.",
        check.field, value, check.allowed, realm, slot, tick,
    )  # fmt: skip


def _name(config: WorldConfig, field: str, axis: str, at: int) -> str:
    """The name of an index into a dimension other than realms and slots."""
    planes = {"H": "row", "W": "column"}
    if axis in planes:
        return f"{planes[axis]} {at}"
    names: dict[str, tuple[str, ...]] = {
        "I": config.tables.items,
        "B": (*config.tables.items, GOLD),
        "K": tuple(kind.name for kind in config.content.npcs),
        "V": event_names(config),
        "9": SKILLS,
    }
    of_field = {
        "worn": GEAR, "quotes": ("bid", "ask", "last price"), "deaths": tuple(c.name.lower() for c in Cause),
        "ledger": tuple(flow.name.lower() for flow in Flow), "trades": ("number", "gold paid"),
    }  # fmt: skip
    known = names.get(axis) or of_field.get(field, ())
    return known[at] if at < len(known) else f"element {at}"
