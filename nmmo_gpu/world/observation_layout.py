"""The layout of an agent's observation: one record of bytes per agent.

A record holds the complete observation of one agent, so that a learner can pick a minibatch of agents by
copying whole rows. ``ObservationLayout.views`` gives the named fields without copying."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.config.systems import ObservationSpec, System
from nmmo_gpu.content import SKILLS, WORKS
from nmmo_gpu.world.movement import MOVES

ALIGNMENT = 16
"""Records, their windows and the rows of windows begin at multiples of this many bytes, for wide loads and
stores. Rows of at most eight cells begin at multiples of the next power of two."""

EMPTY, FRIEND, STRANGER, NPC = 0, 1, 2, 3
"""Kinds of occupant: none; an agent of the same population (including the agent itself); any other agent;
an NPC, to which the index of its kind is added."""

SELF_FEATURES = (
    "age", "health", "food", "water", "row", "col", "freeze", "damage", "immune", "population",
    "heading_row", "heading_col",
)  # fmt: skip
"""Columns of ``self``: ticks; units; units; units; tiles; tiles; ticks; units lost in the last tick; 0 or 1;
index; tiles moved south and east by the last successful move (-1, 0 or 1), which lets an agent without memory
keep a direction."""

ENTITY_FEATURES = ("row_offset", "col_offset", "age", "health", "food", "water", "freeze", "damage")
"""Columns of ``entities``: tiles south; tiles east; ticks (at most 127); units ...; units lost in the last
tick."""

ENTITY_ATTRIBUTES = (
    "npc_kind", "combat_level", "sword", "knife", "armor", "token", "max_health", "immune",
)  # fmt: skip
"""Columns of ``entity_attributes``: 0 for an agent, 1 + kind for an NPC; ``tables.combat_level``; ranks of
worn gear, 0 for none; the token of the last tick; units; 0 or 1."""

GOODS_FEATURES = ("gold", "room")
"""Columns of ``goods``: at most 32767; free units of the inventory, without those an open offer reserves."""

OFFER_FEATURES = ("side", "item", "price", "ticks_left")
"""Columns of ``offer``: 0 none, 1 to sell, 2 to buy; 1 + item; 1 + index of the price; ticks."""

OFFER_SIDES = 3
"""Kinds of trade with separate prices in ``price_mask``: none (or withdrawing), selling, buying."""

STYLES = ("melee", "range", "mage")
"""Attack styles, in the order of their index."""


@dataclass(frozen=True)
class ObservationField:
    """One named part of the record."""

    shape: tuple[int, ...]
    """Shape per agent."""
    dtype: torch.dtype
    """Type of its elements."""
    offset: int
    """First byte within the record."""
    about: str
    """Description for the reference page."""
    pitch: int = 0
    """Bytes from one row of a window to the next; those after the row's cells are zero. 0 for fields without
    padding."""

    @property
    def bytes(self) -> int:
        """Length in bytes, with the padding of rows."""
        return self.shape[0] * self.pitch if self.pitch else math.prod(self.shape) * self.dtype.itemsize


class ObservationLayout:
    """The record for a given config: ``fields`` by name, ``header_bytes`` before the windows, ``bytes`` in
    total, including padding. The fields of systems, which ``system_fields`` declares by name, and the masks
    of their heads are between ``stock_bytes`` and ``header_bytes``. Rows of windows are ``pitch`` bytes
    apart."""

    def __init__(self, config: WorldConfig) -> None:
        self.window, self.pitch = config.window, row_pitch(config.window)
        rows = config.nearest
        kinds = "0 {}, 1 own population, 2 another population"
        if config.npcs:
            kinds += ", 3 and more an NPC: 3 + its kind"
        fair = " (and not immune; for range only with a knife worn)" if config.rolls else ""
        self.fields: dict[str, ObservationField] = {}
        self.bytes = 0
        # The windows come last: a learner that reads them in place copies only the header of a record.
        self._add("self", (len(SELF_FEATURES),), torch.int16, "own state: " + ", ".join(SELF_FEATURES))
        self._add(
            "entities", (rows, len(ENTITY_FEATURES)), torch.int8,
            "nearest other entities, by Chebyshev distance, ties row by row: " + ", ".join(ENTITY_FEATURES),
        )  # fmt: skip
        if config.extended:
            self._add_goods(config)
        self._add("entity_kind", (rows,), torch.uint8, kinds.format("no such row"))
        self._add("move_mask", (len(MOVES),), torch.bool, "moves that are possible; staying always is")
        self._add(
            "style_mask", (len(STYLES),), torch.bool,
            f"styles with a target in reach{fair}; melee is always set, so that at least one style is",
        )  # fmt: skip
        self._add(
            "target_mask", (len(STYLES), rows + 1), torch.bool,
            f"per style: none (always possible), then the rows of entities that are in reach{fair}",
        )  # fmt: skip
        self._add("alive", (), torch.bool, "a living agent is in the slot; if not, the whole record is zero")
        self._add_goods_masks(config)
        self.stock_bytes = self.bytes
        self._add_systems(config)
        self.edited = any(type(s).edit_observation is not System.edit_observation for s in config.systems)
        """Whether a system edits the fields of others."""
        self.systems_observe = self.edited or self.bytes > self.stock_bytes
        """Whether systems write anything."""
        self.header_bytes = self.bytes = _aligned(self.bytes)
        self._add_window("material", "material of every tile in the window")
        self._add_window("occupant", "occupant of every tile in the window: " + kinds.format("none"))

    def _add_goods(self, config: WorldConfig) -> None:
        """Adds the fields that exist if any system of the full game is on."""
        items = len(config.content.items)
        # Fields of eight bytes first, then of two bytes, then of one byte, so that all are aligned.
        self._add(
            "entity_attributes", (config.nearest, len(ENTITY_ATTRIBUTES)), torch.int8,
            "more of the same entities, each at most 127: " + ", ".join(ENTITY_ATTRIBUTES),
        )  # fmt: skip
        self._add("levels", (len(SKILLS),), torch.int16, "own levels: " + ", ".join(SKILLS))
        self._add("goods", (len(GOODS_FEATURES),), torch.int16, "own " + " and ".join(GOODS_FEATURES))
        self._add("inventory", (items,), torch.int16, "number of each item held, at most 32767")
        self._add(
            "offer", (len(OFFER_FEATURES),), torch.int16,
            "own open offer, zeros if there is none: " + ", ".join(OFFER_FEATURES),
        )  # fmt: skip
        self._add(
            "market", (items, 3), torch.uint8,
            "per item the best bid, the best ask and the last price paid: each 1 + its index, 0 for none",
        )  # fmt: skip

    def _add_goods_masks(self, config: WorldConfig) -> None:
        """Adds the masks of heads that only the full game has."""
        prices = len(config.content.prices)
        if config.works:
            self._add(
                "work_mask", (len(WORKS),), torch.bool, "works that have an effect; `none` is always set"
            )
        if config.exchange:
            self._add(
                "trade_mask", (2 * len(config.content.items) + 2,), torch.bool,
                "trades that are possible: none (always), selling each item, buying each item, withdrawing",
            )  # fmt: skip
            self._add(
                "price_mask", (OFFER_SIDES, prices), torch.bool,
                "prices that are possible: with no trade or withdrawing, selling, buying",
            )  # fmt: skip
        if config.tokens:
            self._add("token_mask", (config.tokens,), torch.bool, "tokens that can be said: all")

    def _add_systems(self, config: WorldConfig) -> None:
        """Adds the fields of systems, wide numbers first, and the masks of their heads."""
        self.system_fields: dict[str, ObservationSpec] = {}
        for system in config.systems:
            specs = system.observation(config)
            self.system_fields |= {f"{system.name}.{name}": spec for name, spec in specs.items()}
        for name, spec in sorted(self.system_fields.items(), key=lambda item: -item[1].dtype.itemsize):
            self.bytes += -self.bytes % spec.dtype.itemsize
            self._add(name, spec.shape, spec.dtype, spec.about)
        for system in config.systems:
            for name, head in system.actions(config).items():
                about = f"choices of {name} that are possible; the first always is: {head.about}"
                self._add(f"{name}_mask", (head.choices,), torch.bool, about)

    def _add_window(self, name: str, about: str) -> None:
        field = ObservationField((self.window, self.window), torch.uint8, self.bytes, about, self.pitch)
        self.fields[name] = field
        self.bytes = _aligned(self.bytes + field.bytes)

    def _add(self, name: str, shape: tuple[int, ...], dtype: torch.dtype, about: str) -> None:
        assert self.bytes % dtype.itemsize == 0, f"{name} would not be aligned"
        self.fields[name] = ObservationField(shape, dtype, self.bytes, about)
        self.bytes += self.fields[name].bytes

    def allocate(self, *leading: int, device: torch.device | str) -> Tensor:
        """[*leading, bytes] uint8, zeros: a buffer of records."""
        return torch.zeros(*leading, self.bytes, dtype=torch.uint8, device=device)

    def views(self, records: Tensor) -> dict[str, Tensor]:
        """The named fields of uint8 records: ``name -> [..., *shape] dtype``, without copies.

        Args:
            records: [..., bytes]; or the first bytes of each record, such as [..., header_bytes]: then the
                fields beyond them are left out.

        Returns:
            The fields by name, in the order of the record.
        """
        named = {}
        for name, field in self.fields.items():
            if field.offset + field.bytes > records.shape[-1]:
                continue
            part = records[..., field.offset : field.offset + field.bytes].view(field.dtype)
            if field.pitch:
                named[name] = torch.unflatten(part, -1, (-1, field.pitch))[..., : field.shape[1]]
            else:
                named[name] = torch.unflatten(part, -1, field.shape) if field.shape else part.squeeze(-1)
        return named

    def clear_padding(self, records: Tensor) -> None:
        """Writes zeros to the bytes of [..., bytes] uint8 records that belong to no field."""
        fields = list(self.fields.values())
        starts = [field.offset for field in fields[1:]] + [self.bytes]
        for field, start in zip(fields, starts, strict=True):
            records[..., field.offset + field.bytes : start] = 0
            if field.pitch:
                part = records[..., field.offset : field.offset + field.bytes]
                torch.unflatten(part, -1, (-1, field.pitch))[..., field.shape[1] :] = 0


def row_pitch(window: int) -> int:
    """Returns the bytes from one row of a window to the next: the next power of two up to ``ALIGNMENT``, or a
    multiple of it."""
    return _aligned(window) if window > ALIGNMENT // 2 else 1 << (window - 1).bit_length()


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
