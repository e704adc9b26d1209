"""The columns of a recording, and how they are read from the world."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import GEAR, SKILLS
from nmmo_gpu.world.actions import StepActions
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.state import World

TYPES = {"u8": torch.uint8, "i16": torch.int16, "i32": torch.int32, "u32": torch.int32}
"""Types of columns, and the torch dtypes that hold their bits."""

Type = Literal["u8", "i16", "i32", "u32"]
OBSERVED: dict[torch.dtype, Type] = {
    torch.bool: "u8", torch.uint8: "u8", torch.int8: "i16", torch.int16: "i16",
}  # fmt: skip
"""Types of columns that hold a system's field of the observation, by its dtype."""

Of = Literal["entities", "agents", "realm"]
VALUE_SCALE = 1 / 1024
PROBABILITY_SCALE = 1 / 255


class PolicyTrace(NamedTuple):
    """The policy's output for the recorded realms, before the tick."""

    probability: Tensor
    """[k, A, choices of all heads] float32."""
    value: Tensor
    """[k, A] float32."""


@dataclass(frozen=True)
class Column:
    """One column of a recording; see docs/replay-format.md."""

    name: str
    type: Type
    of: Of
    width: int = 1
    delta: bool = True
    scale: float = 1.0

    @property
    def bytes(self) -> int:
        """Bytes per number."""
        return TYPES[self.type].itemsize

    def numbers(self, entities: int, agents: int) -> int:
        """Numbers per tick."""
        return {"entities": entities, "agents": agents, "realm": 1}[self.of] * self.width


def columns(config: WorldConfig, choices: int = 0) -> tuple[Column, ...]:
    """The columns of a recording, wide numbers first, so that a frame's are aligned.

    Args:
        choices: total number of choices of all heads, if the policy is recorded; else 0."""
    listed = [
        Column("entity", "u32", "entities"),
        Column("age", "i32", "entities"),
        Column("target", "i32", "entities", delta=False),
        *(Column(name, "i16", "entities") for name in ("row", "col", "health", "food", "water", "freeze")),
        Column("damage", "i16", "entities", delta=False),
        Column("alive", "u8", "entities"),
        Column("cause", "u8", "entities", delta=False),
        Column("style", "u8", "entities", delta=False),
    ]
    items = len(config.content.items)
    if config.extended:
        listed += [
            Column("gold", "i32", "agents"),
            Column("offer", "i16", "agents"),
            Column("offer_left", "i16", "agents"),
            Column("inventory", "i16", "agents", items),
            Column("offer_price", "u8", "agents"),
            Column("worn", "u8", "agents", len(GEAR)),
            Column("token", "u8", "agents", delta=False),
            Column("work", "u8", "agents", delta=False),
            Column("level", "u8", "entities", len(SKILLS)),
            Column("quotes", "u8", "realm", items * 3),
        ]
    for name, spec in ObservationLayout(config).system_fields.items():
        listed.append(Column(name, OBSERVED[spec.dtype], "agents", math.prod(spec.shape)))
    if choices:
        listed.append(Column("value", "i16", "agents", scale=VALUE_SCALE))
        listed.append(Column("probability", "u8", "agents", choices, delta=False, scale=PROBABILITY_SCALE))
    # A content without items has empty columns.
    return tuple(sorted(filter(lambda c: c.width > 0, listed), key=lambda column: -column.bytes))


class FrameLayout:
    """The layout of one tick of a realm in bytes: column by column, then one bit per tile."""

    def __init__(self, config: WorldConfig, choices: int = 0) -> None:
        self.config = config
        self.columns = columns(config, choices)
        self.observation = ObservationLayout(config)
        self.offsets: dict[str, int] = {}
        self.bytes = 0
        for column in self.columns:
            self.offsets[column.name] = self.bytes
            self.bytes += column.bytes * column.numbers(config.entities, config.slots)
        self.tiles = self.bytes
        """Offset of the tiles' bits."""
        self.bytes += math.ceil(config.height * config.width / 8)
        self.bytes = math.ceil(self.bytes / 4) * 4  # so that the next frame is aligned, too

    def write(
        self,
        frames: Tensor,
        world: World,
        realms: Tensor,
        step_actions: StepActions,
        policy_trace: PolicyTrace | None = None,
        records: Tensor | None = None,
    ) -> None:
        """Copies the current state of some realms into frames, without a device sync.

        Args:
            frames: [k, bytes] uint8, contiguous.
            world: the world, after the tick.
            realms: [k] int64, on the world's device.
            step_actions: the actions of the tick.
            policy_trace: the policy's output, if it is recorded.
            records: [R, A, bytes] uint8, the observation after the tick; only needed if systems add fields to
                it."""
        observed = self._observed(records)
        for column in self.columns:
            if column.name in observed:
                source = observed[column.name][realms]
            else:
                source = _source(column.name, world, realms, step_actions, policy_trace)
            self._part(frames, column).copy_(source.reshape(len(frames), -1))
        changed = (world.material[realms] != world.base[realms]).flatten(1)
        lacking = -changed.shape[1] % 8
        bits = torch.nn.functional.pad(changed, (0, lacking)).view(len(frames), -1, 8)
        shift = torch.arange(8, dtype=torch.uint8, device=frames.device)
        packed = (bits.to(torch.uint8) << shift).sum(-1, dtype=torch.uint8)
        frames[:, self.tiles : self.tiles + packed.shape[1]] = packed

    def _observed(self, records: Tensor | None) -> dict[str, Tensor]:
        """name -> [R, A, ...]: the fields that systems add to the observation."""
        names = self.observation.system_fields
        if not names:
            return {}
        assert records is not None, "the fields of systems are recorded from the observation"
        views = self.observation.views(records)
        return {name: views[name] for name in names}

    def _part(self, frames: Tensor, column: Column) -> Tensor:
        start = self.offsets[column.name]
        numbers = column.numbers(self.config.entities, self.config.slots)
        return frames[:, start : start + column.bytes * numbers].view(TYPES[column.type])


def _source(
    name: str, world: World, realms: Tensor, step_actions: StepActions, policy_trace: PolicyTrace | None
) -> Tensor:
    """[k, ...]: the numbers of a column; wider types keep only their low bits."""
    if name in ("style", "target", "work"):
        done: Tensor | None = getattr(step_actions, name)
        if done is None:  # the system is off
            return torch.zeros(len(realms), 1, dtype=torch.uint8, device=realms.device)
        return done[realms]
    if name == "inventory":
        return world.inventory[realms].clamp(max=torch.iinfo(torch.int16).max)
    if name == "gold":
        return world.gold[realms].clamp(max=torch.iinfo(torch.int32).max)
    if name in ("value", "probability"):
        assert policy_trace is not None, "the columns of a policy are recorded with it"
        if name == "value":
            return (policy_trace.value / VALUE_SCALE).round().clamp(-32768, 32767)
        return (policy_trace.probability / PROBABILITY_SCALE).round()
    return SOURCES[name](world)[realms]


def _field(name: str) -> Callable[[World], Tensor]:
    def field(world: World) -> Tensor:
        tensor: Tensor = getattr(world, name)
        return tensor

    return field


SOURCES = {
    name: _field(name)
    for name in (
        "entity", "age", "row", "col", "health", "food", "water", "freeze", "damage", "alive", "cause",
        "offer", "offer_left", "offer_price", "worn", "token", "level", "quotes",
    )
}  # fmt: skip
"""Columns that are fields of ``World``."""
