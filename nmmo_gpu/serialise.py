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
    """The dataclass again. Unknown fields raise ConfigError; missing ones take their default."""
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return tuple(plain) if isinstance(plain, list) else plain
    if not isinstance(plain, dict):
        raise ConfigError(f"{where} is {plain!r}, where the fields of {kind} are due.")
    hints = typing.get_type_hints(kind)
    unknown = set(plain) - set(hints)
    if unknown:
        raise ConfigError(f"{where} has the unknown fields {', '.join(sorted(unknown))}.")
    return kind(**{name: from_plain(hints[name], value, f"{where}.{name}")
                   for name, value in plain.items()})  # fmt: skip
