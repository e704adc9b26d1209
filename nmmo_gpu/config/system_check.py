"""Checks what systems declare."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import torch

from nmmo_gpu.config.systems import (
    COUNTS,
    MAX_SYSTEMS,
    STOCK_HEADS,
    ActionSpec,
    ObservationSpec,
    StateSpec,
    System,
    dtype_range,
    state_range,
)
from nmmo_gpu.errors import ConfigError

if TYPE_CHECKING:
    from nmmo_gpu.config.world import WorldConfig

SNAKE_CASE = re.compile(r"[a-z][a-z0-9_]*")
LETTERS = ("H", "W", "A", "S")
"""Letters that a shape may contain, beside the R with which it begins."""
STATE_DTYPES = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
OBSERVED_DTYPES = (torch.bool, torch.uint8, torch.int8, torch.int16)


def check_systems(config: WorldConfig) -> None:
    """Raises ConfigError if the systems of a config are not declared well, or do not fit its rules."""
    systems = config.systems
    if len(systems) > MAX_SYSTEMS:
        raise ConfigError(f"systems holds {len(systems)} systems; give at most {MAX_SYSTEMS}.")
    names = [system.name for system in systems]
    for system in systems:
        parameters = getattr(type(system), "__dataclass_params__", None)
        if parameters is None or not parameters.frozen or "__dataclass_params__" not in vars(type(system)):
            _refuse(
                system, "the class", "is not a frozen dataclass", "decorate it with @dataclass(frozen=True)"
            )
        if not SNAKE_CASE.fullmatch(system.name):
            _refuse(system, f"name = {system.name!r}", "is not in snake case", "choose another")
        try:
            hash(system)
        except TypeError as error:
            _refuse(system, "a setting", f"cannot be hashed ({error})", "use a tuple in place of a list")
        if names.count(system.name) > 1:
            _refuse(
                system, f"name = {system.name!r}", "is that of another system, too",
                "use one of them, or a subclass with another name",
            )  # fmt: skip
        _check_state(system, config)
        _check_observation(system, config)
        _check_actions(system, config)
        system.validate(config)


def _refuse(system: System, what: str, problem: str, remedy: str) -> NoReturn:
    raise ConfigError(f"system {type(system).__name__}: {what} {problem}; {remedy}.")


def _check_names(system: System, what: str, names: Mapping[str, Any], kind: type) -> None:
    for name, spec in names.items():
        if not isinstance(name, str) or not SNAKE_CASE.fullmatch(name):
            _refuse(system, f"{what} {name!r}", "is not a name in snake case", "choose another")
        if not isinstance(spec, kind):
            _refuse(system, f"{what} {name}", f"is {spec!r}", f"give a {kind.__name__}")


def _check_state(system: System, config: WorldConfig) -> None:
    specs = system.state(config)
    _check_names(system, "state", specs, StateSpec)
    for name, spec in specs.items():
        what, words = f"state {name}", spec.shape.split()
        if name == COUNTS:
            _refuse(system, what, "is the name of the counters", "choose another")
        if words[:1] != ["R"] or not all(word in LETTERS or word.isdecimal() for word in words[1:]):
            _refuse(
                system, what, f"has shape {spec.shape!r}",
                'begin with R, and go on with H, W, A, S or numbers, as in "R A 4"',
            )  # fmt: skip
        if spec.dtype not in STATE_DTYPES:
            _refuse(system, what, f"has {spec.dtype}", "choose torch.bool or an integer dtype")
        least, most = dtype_range(spec.dtype)
        low, high = state_range(spec)
        values = [spec.fill] if spec.at_birth is None else [spec.fill, spec.at_birth]
        if not least <= low <= high <= most or not all(low <= value <= high for value in values):
            _refuse(
                system, what, "has low, high, fill and at_birth that do not fit together",
                f"choose {least} <= low <= fill, at_birth <= high <= {most}",
            )  # fmt: skip
        if spec.at_birth is not None and words[1:2] not in (["A"], ["S"]):
            _refuse(
                system, what, f"has at_birth and shape {spec.shape!r}", 'begin the shape with "R A" or "R S"'
            )


def _check_observation(system: System, config: WorldConfig) -> None:
    specs = system.observation(config)
    _check_names(system, "observation", specs, ObservationSpec)
    for name, spec in specs.items():
        what = f"observation {name}"
        if spec.dtype not in OBSERVED_DTYPES:
            _refuse(system, what, f"has {spec.dtype}", "choose torch.bool, uint8, int8 or int16")
        least, most = dtype_range(spec.dtype)
        if not (least <= spec.low <= 0 <= spec.high <= most and spec.low < spec.high):
            _refuse(
                system, what, f"has a range from {spec.low} to {spec.high}",
                f"choose {least} <= low <= 0 <= high <= {most}, and low < high",
            )  # fmt: skip
        if not all(isinstance(size, int) and size > 0 for size in spec.shape):
            _refuse(system, what, f"has shape {spec.shape!r}", "give a tuple of integers above 0")


def _check_actions(system: System, config: WorldConfig) -> None:
    specs = system.actions(config)
    _check_names(system, "action", specs, ActionSpec)
    for name, spec in specs.items():
        shared = any(name in other.actions(config) for other in config.systems if other is not system)
        if name in STOCK_HEADS or shared:
            _refuse(system, f"action {name}", "is the name of another head", "choose another")
        if not 2 <= spec.choices <= 1 << 15:
            _refuse(system, f"action {name}", f"has {spec.choices} choices", "give from 2 to 32768")
