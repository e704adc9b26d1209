"""Configs as JSON, and back."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from nmmo_gpu.errors import ConfigError


def to_plain(config: Any) -> Any:
    """A (nested, frozen) dataclass as dicts, lists, numbers and strings."""
    if dataclasses.is_dataclass(config):
        return {f.name: to_plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    return [to_plain(item) for item in config] if isinstance(config, tuple) else config


def from_plain(kind: Any, plain: Any, where: str = "config") -> Any:
    """What ``to_plain`` was given again: a dataclass, or a tuple of some (``tuple[Item, ...]``).

    Unknown fields raise ConfigError; missing ones take their default, and raise ConfigError where there is
    none."""
    row = _row_of(kind)
    if row is not None:
        if not isinstance(plain, (list, tuple)):
            raise ConfigError(f"{where} is {plain!r}, where a list is due.")
        return tuple(from_plain(row, item, f"{where}[{i}]") for i, item in enumerate(plain))
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return tuple(plain) if isinstance(plain, list) else plain
    if not isinstance(plain, dict):
        raise ConfigError(f"{where} is {plain!r}, where the fields of {kind} are due.")
    hints = typing.get_type_hints(kind)
    unknown = set(plain) - set(hints)
    if unknown:
        raise ConfigError(f"{where} has the unknown fields {', '.join(sorted(unknown))}.")
    nothing = dataclasses.MISSING
    needed = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is nothing}
    if missing := needed - set(plain):
        raise ConfigError(f"{where} lacks the fields {', '.join(sorted(missing))}.")
    return kind(**{name: from_plain(hints[name], value, f"{where}.{name}")
                   for name, value in plain.items()})  # fmt: skip


def _row_of(kind: Any) -> Any:
    """The dataclass of which ``kind`` is a tuple, ``tuple[Row, ...]``; None for every other kind."""
    rows = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    return rows[0] if len(rows) == 2 and rows[1] is ... and dataclasses.is_dataclass(rows[0]) else None
