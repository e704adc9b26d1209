"""The whole world state, as a structure of tensors."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.config.systems import Words, state_range, state_specs
from nmmo_gpu.content import Material
from nmmo_gpu.content.tables import LEVELS
from nmmo_gpu.errors import UsageError
from nmmo_gpu.world.events import Event, Flow
from nmmo_gpu.world.processes import SentByValue
from nmmo_gpu.world.random import draw
from nmmo_gpu.world.regrowth_table import NEVER

MAX_EXPERIENCE = 1_000_000_000
"""Maximum experience, far above what level 99 needs."""

MAX_STACK = 1_000_000_000
"""Maximum number of an item without weight that an agent holds."""

MAX_AGE = (1 << 31) - 1
"""Maximum age, at which ``World.age`` stays."""

VISITED_SIDE = 64
"""Side of the torus of tiles on which each agent's footprints are kept, one bit per tile."""

MAX_IDS = 1 << 43
"""Maximum number of births in a realm: the sort key of an offer holds 43 bits of an id."""
MAX_COUNT = 1 << 53
"""Maximum of a realm's counters, which float64 represents exactly."""
MAX_TICK = 1 << 62


class Cause(IntEnum):
    """Cause of death; the value is stored in ``World.cause``."""

    NONE = 0
    LAVA = 1
    HUNGER = 2
    THIRST = 3
    COMBAT = 4
    OTHER = 5
    """A system killed the agent; only in worlds with systems."""


def causes(config: WorldConfig) -> tuple[Cause, ...]:
    """The causes of death that exist under these rules."""
    return tuple(Cause) if config.systems else tuple(Cause)[:-1]


class Workspace(NamedTuple):
    """A scratch tensor of a phase, and its fill value between phases (None: undefined)."""

    tensor: Tensor
    fill: int | None


Bound = int | Callable[[WorldConfig], int]
"""A limit of a field's values, or a function of the rules that returns it."""


@dataclass(frozen=True)
class StateField:
    """The declaration of one tensor of the state."""

    name: str
    """Name of the attribute of World; ``<system>.<name>`` for one in ``World.systems``."""
    shape: str
    """Dimensions in the letters of ``World.sizes``, or numbers, separated by spaces."""
    dtype: torch.dtype
    """Dtype."""
    low: Bound
    """Least value, in every slot, dead ones included."""
    high: Bound
    """Largest value, likewise."""
    fill: int = 0
    """Value in an empty world."""


def _tensor(shape: str, dtype: torch.dtype, low: Bound, high: Bound, fill: int = 0) -> Any:
    """Declares a field; the arguments are those of ``StateField``."""
    return dataclasses.field(metadata={"spec": (shape, dtype, low, high, fill)})


def _most_health(config: WorldConfig) -> int:
    of_npcs = max((row.health for row in config.tables.npcs if config.npcs), default=0)
    return max(LEVELS if config.skills else config.max_health, of_npcs)


def _most_gear(config: WorldConfig) -> int:
    return max(map(len, config.tables.gear))


def _most_aggro_ticks(config: WorldConfig) -> int:
    return max((row.aggro_ticks for row in config.tables.npcs), default=0)


class Systems(dict[str, dict[str, Tensor]]):
    """Tensors of systems, by the names of system and tensor."""

    def __missing__(self, name: str) -> dict[str, Tensor]:
        raise UsageError(
            f"the world has no system {name!r}; add it to systems, beside {', '.join(self) or 'no other'}."
        )


@dataclass(repr=False)
class World(SentByValue):
    """R realms of S slots on H x W tiles. All tensors are contiguous, on one device, and written in place.

    The first A slots of a realm are the agents', the others the NPCs', kind by kind; without NPCs, S is A. A
    slot's fields are meaningful while ``alive``; after a death they keep their last values until the next
    entity spawns in the slot. The fields of the full game are empty without it."""

    config: WorldConfig
    """The rules."""

    seed: Tensor = _tensor("2", torch.int64, -(1 << 63), (1 << 63) - 1)
    """[2] int64: key of all random numbers, and the global number of the first realm. Realms with the same
    key may be distributed over several worlds."""
    tick: Tensor = _tensor("1", torch.int64, 0, MAX_TICK)
    """[1] int64: ticks completed."""

    base: Tensor = _tensor("R H W", torch.uint8, 0, max(Material))
    """[R, H, W] uint8, Material: base material of the tile; never changes."""
    material: Tensor = _tensor("R H W", torch.uint8, 0, max(Material))
    """[R, H, W] uint8, Material: current material of the tile."""
    shore: Tensor = _tensor("R H W", torch.bool, 0, 1)
    """[R, H, W] bool: base material of one of the four neighbors is water; never changes."""
    regrow_at: Tensor = _tensor("R H W", torch.int32, NEVER, (1 << 31) - 1, fill=NEVER)
    """[R, H, W] int32, tick (low 31 bits) at which a depleted tile regrows; -1 if it is not depleted."""
    occupant: Tensor = _tensor("R H W", torch.int32, 0, lambda c: c.entities)
    """[R, H, W] int32: slot + 1 of the tile's occupant; 0 if it has none."""
    presence: Tensor = _tensor("R H W", torch.uint8, 0, lambda c: c.populations + len(c.npc_counts))
    """[R, H, W] uint8: population + 1 of the tile's occupant; 0 if it has none. Derived from ``occupant``, so
    that observation reads a quarter of the memory."""

    alive: Tensor = _tensor("R S", torch.bool, 0, 1)
    """[R, S] bool: a living entity is in the slot."""
    entity: Tensor = _tensor("R S", torch.int64, -1, MAX_IDS - 1, fill=-1)
    """[R, S] int64: id within the realm, never reused; -1 in a slot never used."""
    row: Tensor = _tensor("R S", torch.int32, 0, lambda c: c.height - 1)
    """[R, S] int32, tiles from the top."""
    col: Tensor = _tensor("R S", torch.int32, 0, lambda c: c.width - 1)
    """[R, S] int32, tiles from the left."""
    health: Tensor = _tensor("R S", torch.int16, 0, _most_health)
    """[R, S] int16, 0 to max_health."""
    food: Tensor = _tensor("R S", torch.int16, 0, lambda c: c.max_food)
    """[R, S] int16, 0 to max_food."""
    water: Tensor = _tensor("R S", torch.int16, 0, lambda c: c.max_water)
    """[R, S] int16, 0 to max_water."""
    freeze: Tensor = _tensor("R S", torch.int16, 0, lambda c: c.freeze_ticks)
    """[R, S] int16, ticks for which the agent cannot move."""
    heading: Tensor = _tensor("R S", torch.uint8, 0, 4)
    """[R, S] uint8: the last successful move, 1 to 4 as in ``MOVES``; 0 before the first."""
    age: Tensor = _tensor("R S", torch.int32, 0, MAX_AGE)
    """[R, S] int32, number of upkeeps survived, including the one in the tick of birth. At death this is the
    lifetime: the number of times the agent acted."""
    damage: Tensor = _tensor("R S", torch.int16, 0, (1 << 15) - 1)
    """[R, S] int16: damage taken in the last tick."""
    chilled: Tensor = _tensor("R S", torch.bool, 0, 0)
    """[R, S] bool: hit by a mage this tick; false between ticks. It is separate from ``freeze`` because a
    freeze of this tick does not prevent this tick's move."""
    explored: Tensor = _tensor("R A", torch.int32, 0, VISITED_SIDE * VISITED_SIDE)
    """[R, A] int32: number of different tiles visited (see ``visited``)."""
    visited: Tensor = _tensor(f"R A {VISITED_SIDE}", torch.int64, -(1 << 63), (1 << 63) - 1)
    """[R, A, 64] int64: footprints, bit ``col % 64`` of word ``row % 64``. Exact while an agent's
    path spans at most 64 x 64 tiles, as on every 80x80 map; an undercount beyond."""
    cause: Tensor = _tensor("R S", torch.uint8, 0, lambda c: max(causes(c)))
    """[R, S] uint8, Cause: cause of death if the slot's entity died in the last tick; else 0."""

    next_entity: Tensor = _tensor("R", torch.int64, 0, MAX_IDS)
    """[R] int64: id of the next entity; equal to the number of births so far."""
    acted: Tensor = _tensor("R", torch.int64, 0, MAX_COUNT)
    """[R] int64: agent-steps so far."""
    deaths: Tensor = _tensor("R C", torch.int64, 0, MAX_COUNT)
    """[R, causes] int64: deaths so far, by Cause; the last only with systems."""

    xp: Tensor = _tensor("R F 9", torch.int32, 0, (1 << 31) - 1)
    """[R, A, 9] int32: experience in each of ``SKILLS``, at most ``MAX_EXPERIENCE``."""
    level: Tensor = _tensor("R E 9", torch.uint8, 0, LEVELS)
    """[R, S, 9] uint8, 1 to 99: level in each of ``SKILLS``, as of the end of the last tick. An NPC's levels
    are those of its kind and never change."""
    inventory: Tensor = _tensor("R F I", torch.int32, 0, (1 << 31) - 1)
    """[R, A, items] int32: number of each item held, without those in escrow."""
    gold: Tensor = _tensor("R F", torch.int64, 0, MAX_COUNT)
    """[R, A] int64: gold held, without that in escrow."""
    worn: Tensor = _tensor("R F 3", torch.uint8, 0, _most_gear)
    """[R, A, 3] uint8: rank (``Tables.gear``, from 1) of the sword, knife and armor worn, as of the end of
    the last tick; 0 for none."""
    offer: Tensor = _tensor("R F", torch.int16, 0, lambda c: 2 * len(c.content.items) * c.exchange)
    """[R, A] int16: the open offer: 0 none, 1 + i to sell item i, 1 + items + i to buy it."""
    offer_price: Tensor = _tensor("R F", torch.uint8, 0, lambda c: len(c.content.prices) - 1)
    """[R, A] uint8: its price, index into ``Tables.prices``; 0 without an offer."""
    offer_left: Tensor = _tensor("R F", torch.int16, 0, lambda c: c.offer_ticks)
    """[R, A] int16: ticks until it expires; 0 without an offer."""
    token: Tensor = _tensor("R F", torch.uint8, 0, lambda c: max(0, c.tokens - 1))
    """[R, A] uint8: the agent's token in the last tick; 0 for silence."""
    quotes: Tensor = _tensor("R I 3", torch.uint8, 0, lambda c: len(c.content.prices))
    """[R, items, 3] uint8: best bid, best ask, last price paid, each 1 + its index, 0 for none."""
    aggro_target: Tensor = _tensor("R N", torch.int32, -1, lambda c: c.slots - 1, fill=-1)
    """[R, NPCs] int32: slot of the agent that provoked the NPC; -1 for none."""
    aggro_entity: Tensor = _tensor("R N", torch.int64, -1, MAX_IDS - 1, fill=-1)
    """[R, NPCs] int64: id of that agent, because its slot may be reused; -1 for none."""
    aggro_ticks: Tensor = _tensor("R N", torch.uint8, 0, _most_aggro_ticks)
    """[R, NPCs] uint8: ticks for which it continues to fight its aggro_target."""
    top_attacker: Tensor = _tensor("R E", torch.int32, -1, lambda c: c.entities - 1, fill=-1)
    """[R, S] int32: slot of the attacker that did the most damage in the last tick, ties drawn; -1 for
    none."""
    events: Tensor = _tensor("R F V", torch.int32, 0, (1 << 31) - 1)
    """[R, A, events] int32: event counts of the slot's agent; see ``nmmo_gpu.world.events``."""
    dead_totals: Tensor = _tensor("R V", torch.int64, 0, MAX_COUNT)
    """[R, events] int64: the sum of the event counts of all dead agents."""
    ledger: Tensor = _tensor(f"R B {len(Flow)}", torch.int64, 0, MAX_COUNT)
    """[R, items + 1, flows] int64: amount of each item, and last of gold, by flow;
    see ``nmmo_gpu.world.events.Flow``."""
    trades: Tensor = _tensor("R I 2", torch.int64, 0, MAX_COUNT)
    """[R, items, 2] int64: trades so far, and the gold paid in them."""
    npc_kills: Tensor = _tensor("R K", torch.int64, 0, MAX_COUNT)
    """[R, kinds] int64: NPCs killed so far, by any attacker."""

    systems: dict[str, dict[str, Tensor]] = dataclasses.field(default_factory=lambda: Systems())
    """The state of ``config.systems``: their tensors by name, by the name of the system."""

    draw: Callable[..., Words] = dataclasses.field(default_factory=lambda: draw, init=False, compare=False)
    """``nmmo_gpu.world.random.draw`` or a twin of it, for systems."""
    static_shapes: bool = dataclasses.field(default=False, init=False, compare=False)
    """Whether systems must not use shapes that depend on data, because the device would be waited for."""
    workspaces: dict[str, Workspace] = dataclasses.field(default_factory=dict, init=False)
    """Scratch tensors of the phases, by name; not part of the state."""

    @staticmethod
    def of(config: WorldConfig, tensors: Mapping[str, Tensor]) -> World:
        """The world of a config with these tensors, by the names of ``state_fields``."""
        stock = {name: tensor for name, tensor in tensors.items() if "." not in name}
        systems = Systems({system.name: {} for system in config.systems})
        for name, tensor in tensors.items():
            if "." in name:
                system, _, own = name.partition(".")
                systems[system][own] = tensor
        return World(config=config, **stock, systems=systems)

    def workspace(
        self, name: str, shape: tuple[int, ...], dtype: torch.dtype, fill: int | None = None
    ) -> Tensor:
        """A scratch tensor of a phase, allocated on first use and then reused, inside or outside torch's
        inference mode.

        Args:
            fill: its value between phases; the phase must restore it. By default the content is undefined,
                and a phase writes it before it reads it.
        """
        if name not in self.workspaces:
            with torch.inference_mode(False):
                tensor = torch.empty(shape, dtype=dtype, device=self.device)
                self.workspaces[name] = Workspace(tensor if fill is None else tensor.fill_(fill), fill)
        return self.workspaces[name].tensor

    @property
    def realms(self) -> int:
        """R: number of realms in the batch."""
        return self.alive.shape[0]

    @property
    def device(self) -> torch.device:
        """Device of the world."""
        return self.alive.device

    @staticmethod
    def sizes(config: WorldConfig, realms: int) -> dict[str, int]:
        """The sizes of the letters in the fields' shapes."""
        on = config.extended
        items, kinds = len(config.content.items), len(config.content.npcs)
        return {
            "R": realms, "H": config.height, "W": config.width, "A": config.slots, "S": config.entities,
            "N": config.npc_slots, "F": on * config.slots, "E": on * config.entities, "I": on * items,
            "B": on * (items + 1), "K": on * kinds, "V": on * (len(Event) + kinds),
            "C": len(causes(config)),
        }  # fmt: skip

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """(name, tensor) of every field of the state, in the order of ``state_fields``."""
        for field in state_fields(self.config):
            yield field.name, self.tensor(field.name)

    def tensor(self, name: str) -> Tensor:
        """The tensor of the state with a name of ``state_fields``."""
        system, dot, own = name.partition(".")
        found: Tensor = self.systems[system][own] if dot else getattr(self, name)
        return found

    def set_tensor(self, name: str, tensor: Tensor) -> None:
        """Replaces the tensor of the state with a name of ``state_fields``."""
        system, dot, own = name.partition(".")
        if dot:
            self.systems[system][own] = tensor
        else:
            setattr(self, name, tensor)

    def draw_like(self, like: Tensor, stream: int, where: Tensor | None = None) -> Words:
        """Four random 32-bit words for each element of a tensor; see ``System.draw``.

        Args:
            like: [R, ...].
            stream: 0 to 255, as ``nmmo_gpu.world.random.Stream``.
            where: bool, of the shape of ``like``: elements that need words."""
        count = like[0].numel()
        if where is None or self.static_shapes:
            realm = torch.arange(self.realms, device=self.device, dtype=torch.int64)[:, None]
            index = torch.arange(count, device=self.device, dtype=torch.int64)[None, :]
            words = self.draw(self.seed, self.tick, stream, realm, index)
            return tuple(word.view(like.shape) for word in words)  # type: ignore[return-value]
        chosen = where.reshape(-1).nonzero().squeeze(1)
        words = self.draw(self.seed, self.tick, stream, chosen // count, chosen % count)
        out = torch.zeros(4, like.numel(), dtype=torch.int64, device=self.device)
        out[:, chosen] = torch.stack(words)
        return tuple(out.view(4, *like.shape).unbind(0))  # type: ignore[return-value]

    def tile(self) -> Tensor:
        """[R * S] int64: index of each slot's tile in a flattened [R, H, W] plane."""
        cfg = self.config
        within = self.row * cfg.width + self.col
        start = torch.arange(self.realms, device=self.device, dtype=torch.int64) * (cfg.height * cfg.width)
        return (within + start[:, None]).view(-1)

    def immune(self) -> Tensor:
        """[R, S] bool: too young to take damage. NPCs are never immune."""
        young = self.age < self.config.immune_ticks
        young[:, self.config.slots :] = False
        return young

    def apart(self, one: Tensor, other: Tensor) -> Tensor:
        """[...] int32: Chebyshev distance, tiles, between slots, given as indices into [R * S]."""
        row, col = self.row.view(-1), self.col.view(-1)
        return torch.maximum((row[one] - row[other]).abs(), (col[one] - col[other]).abs())

    def agents(self, field: Tensor) -> Tensor:
        """[R, A, ...]: the agents' part of a field [R, S, ...]; a view."""
        return field[:, : self.config.slots]

    def validate(self, ledger: bool = True) -> None:
        """Raises WorldError unless the state satisfies every invariant of a world between two ticks; see
        ``nmmo_gpu.world.validate``. Waits for the device.

        Args:
            ledger: whether goods must agree with the ledger."""
        from nmmo_gpu.world.validate import validate  # which imports this module

        validate(self, ledger)

    def clone(self) -> World:
        """A copy that shares no memory with this world."""
        return self.to(self.device)

    @torch.inference_mode(False)
    def to(self, device: torch.device | str) -> World:
        """A copy on a device."""
        copies = {name: tensor.to(device, copy=True) for name, tensor in self.tensors()}
        return World.of(self.config, copies)

    def digest(self) -> str:
        """SHA-256 (hex) of every bit of the state: equal for equal worlds on any device."""
        sha = hashlib.sha256()
        for name, tensor in self.tensors():
            sha.update(name.encode())
            sha.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()


@cache
def stock_fields() -> tuple[StateField, ...]:
    """The fields of World that are tensors, without those of systems."""
    declared = (field for field in dataclasses.fields(World) if "spec" in field.metadata)
    return tuple(StateField(field.name, *field.metadata["spec"]) for field in declared)


@cache
def state_fields(config: WorldConfig) -> tuple[StateField, ...]:
    """All tensors of a world's state, those of its systems last."""
    of_systems = [
        StateField(f"{system.name}.{name}", spec.shape, spec.dtype, *state_range(spec), spec.fill)
        for system in config.systems
        for name, spec in state_specs(system, config).items()
    ]
    return (*stock_fields(), *of_systems)


def field_range(field: StateField, config: WorldConfig) -> tuple[int, int]:
    """The lowest and the highest value that the field may have under these rules."""
    low, high = field.low, field.high
    return low(config) if callable(low) else int(low), high(config) if callable(high) else int(high)


def field_shape(field: StateField, sizes: dict[str, int]) -> tuple[int, ...]:
    """The field's shape for the sizes of ``World.sizes``."""
    return tuple(sizes[word] if word in sizes else int(word) for word in field.shape.split())
