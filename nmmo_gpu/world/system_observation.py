"""The part of an observation that systems write."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nmmo_gpu.config.systems import ObservationSpec, System
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.observation_layout import EMPTY, ObservationLayout
from nmmo_gpu.world.state import World


def observe_systems(
    world: World, records: Tensor, fields: dict[str, Tensor], seen: Tensor, layout: ObservationLayout,
    check: bool = False,
) -> None:  # fmt: skip
    """Writes the fields of systems and the masks of their heads, and lets systems edit the observation.

    Args:
        world: the world, after the tick.
        records: [R, A, bytes] uint8; all fields of the rules are written.
        fields: ``layout.views(records)``.
        seen: [R, A, nearest] int32, slots of the entity rows; becomes -1 for rows that are edited to be
            empty.
        layout: layout of the records.
        check: whether to check the range of what systems observe; waits for the device.
    """
    living = world.agents(world.alive)
    records[..., layout.stock_bytes : layout.header_bytes] = 0  # also the gaps between fields
    for system in world.config.systems:
        _write_fields(system, world, living, fields, check)
        _write_masks(system, world, living, fields)
    if layout.edited:
        for system in world.config.systems:
            system.edit_observation(world, fields)
        _clear(records, ~living, world.static_shapes)
        seen.masked_fill_(fields["entity_kind"] == EMPTY, -1)


def _write_fields(
    system: System, world: World, living: Tensor, fields: Mapping[str, Tensor], check: bool
) -> None:
    declared, values = system.observation(world.config), system.observe(world)
    _check_names(system, "observe() returns", values, declared)
    if missing := set(declared) - set(values):
        raise ConfigError(
            f"system {type(system).__name__}: observe() does not return {min(missing)!r}, which "
            "observation() declares; return a tensor for it."
        )
    for name, value in values.items():
        field = fields[f"{system.name}.{name}"]
        value = _broadcast(system, f"observe()[{name!r}]", value, field)
        if value.is_floating_point():
            raise ConfigError(
                f"system {type(system).__name__}: observe()[{name!r}] is {value.dtype}; round it, because "
                "observations are integers."
            )
        if check:
            _check_range(system, name, value[living], declared[name])
        field.copy_(value)
        field.mul_(living.view(*living.shape, *[1] * (field.dim() - 2)))


def _check_range(system: System, name: str, value: Tensor, spec: ObservationSpec) -> None:
    if not value.numel():
        return
    low, high = (int(end) for end in torch.aminmax(value))
    if low < spec.low or high > spec.high:
        raise ConfigError(
            f"system {type(system).__name__}: {name} is observed from {low} to {high}; declare that range, "
            "or clamp it."
        )


def _write_masks(system: System, world: World, living: Tensor, fields: Mapping[str, Tensor]) -> None:
    heads, masks = system.actions(world.config), system.masks(world)
    _check_names(system, "masks() returns", masks, heads)
    for name in heads:
        field = fields[f"{name}_mask"]
        if name in masks:
            field.copy_(_broadcast(system, f"masks()[{name!r}]", masks[name], field))
            field[..., 0] = True
        else:
            field.fill_(True)
        field.logical_and_(living[..., None])


def _check_names(
    system: System, what: str, given: Mapping[str, Tensor], declared: Mapping[str, object]
) -> None:
    for name in given:
        if name not in declared:
            raise ConfigError(
                f"system {type(system).__name__}: {what} {name!r}, which it does not declare; it declares "
                f"{', '.join(declared) or 'none'}."
            )


def _broadcast(system: System, what: str, value: Tensor, field: Tensor) -> Tensor:
    try:
        return value.expand(field.shape)
    except (RuntimeError, AttributeError):
        found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ConfigError(
            f"system {type(system).__name__}: {what} is {found}; give a tensor of shape "
            f"{tuple(field.shape)}, or one that broadcasts to it."
        ) from None


def _clear(records: Tensor, dead: Tensor, static: bool) -> None:
    """Zeroes the records of empty slots, which editing may have written."""
    if static:
        records.masked_fill_(dead[..., None], 0)
    else:
        rows = records.view(-1, records.shape[-1])
        rows.index_fill_(0, dead.reshape(-1).nonzero().squeeze(1), 0)
