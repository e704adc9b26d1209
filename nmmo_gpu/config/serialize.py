"""Configs as JSON, and back."""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
import typing
from types import FunctionType
from typing import Any, NoReturn

from nmmo_gpu.config.class_names import class_name, imported
from nmmo_gpu.config.env import RewardFunction
from nmmo_gpu.config.systems import System
from nmmo_gpu.errors import ConfigError, NotImportedError

CLASS, FUNCTION = "class", "function"
"""Keys of the name of a system's class, beside its settings, and of that of a reward function."""


def to_plain(config: Any) -> Any:
    """A (nested, frozen) dataclass as dicts, lists, numbers and strings."""
    if isinstance(config, RewardFunction):
        return {FUNCTION: class_name(config.function)}
    if dataclasses.is_dataclass(config):
        named: dict[str, Any] = {CLASS: class_name(type(config))} if isinstance(config, System) else {}
        return named | {f.name: to_plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    return [to_plain(item) for item in config] if isinstance(config, tuple) else config


def parse_json(text: str | bytes, where: str = "config") -> Any:
    """The values in a JSON text of an unknown source. Raises ConfigError for text that is not JSON, a name
    that is given twice, numbers that are not finite, and values that are nested too deeply."""

    def fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"{where} has the field {_shown(twice)} twice; remove one of them.")
        return found

    def constant(name: str) -> NoReturn:
        raise ConfigError(f"{where} holds {name}; give a finite number.")

    def number(digits: str) -> float:
        return float(digits) if math.isfinite(float(digits)) else constant(digits[:40])

    try:
        return json.loads(text, object_pairs_hook=fields, parse_constant=constant, parse_float=number)
    except RecursionError:
        raise ConfigError(f"{where} is nested too deeply; give the fields of a config.") from None
    except ConfigError:
        raise
    except ValueError as error:  # also for integers of thousands of digits
        raise ConfigError(f"{where} is not valid JSON ({error}); write it again.") from None


def from_plain(kind: Any, plain: Any, where: str = "config") -> Any:
    """What ``to_plain`` was given again: a dataclass, or a tuple of some (``tuple[Item, ...]``).

    Unknown fields raise ConfigError, and so do values of the wrong type or out of range; missing fields take
    their default, and raise ConfigError where there is none."""
    if kind is System:
        return _system(plain, where)
    if RewardFunction in typing.get_args(kind):
        return _reward(plain, where)
    row = _row_of(kind)
    if row is not None:
        if not isinstance(plain, (list, tuple)):
            raise ConfigError(f"{where} is {_shown(plain)}, where a list is due.")
        return tuple(from_plain(row, item, f"{where}[{i}]") for i, item in enumerate(plain))
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        return tuple(plain) if isinstance(plain, list) else plain
    if not isinstance(plain, dict):
        raise ConfigError(f"{where} is {_shown(plain)}, where the fields of {kind.__name__} are due.")
    hints = typing.get_type_hints(kind)
    unknown = set(plain) - set(hints)
    if unknown:
        names = ", ".join(map(_shown, sorted(unknown, key=str)[:8]))
        raise ConfigError(
            f"{where} has the unknown fields {names}; remove them, or use the version of nmmo-gpu that wrote "
            "them."
        )
    nothing = dataclasses.MISSING
    needed = {f.name for f in dataclasses.fields(kind) if f.default is f.default_factory is nothing}
    if missing := needed - set(plain):
        raise ConfigError(f"{where} lacks the fields {', '.join(sorted(missing))}.")
    values = {name: from_plain(hints[name], value, f"{where}.{name}") for name, value in plain.items()}
    try:
        return kind(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {_cut(str(error))}") from None
    except RecursionError:
        raise ConfigError(f"{where} is nested too deeply; give the fields of {kind.__name__}.") from None


def _system(plain: Any, where: str) -> System:
    """A system from its class, which has to be imported already, and its settings."""
    if not isinstance(plain, dict) or not isinstance(plain.get(CLASS), str):
        raise ConfigError(f"{where} is {_shown(plain)}, where a system with its class is due.")
    kind = imported(plain[CLASS])
    if not (isinstance(kind, type) and issubclass(kind, System) and dataclasses.is_dataclass(kind)):
        raise _not_imported(where, "a system of the class", plain[CLASS])
    settings = {name: value for name, value in plain.items() if name != CLASS}
    made: System = from_plain(kind, settings, where)
    return made


def _reward(plain: Any, where: str) -> Any:
    """A reward function, which has to be imported already; other values are returned unchanged."""
    if not isinstance(plain, dict):
        return plain
    function = imported(str(plain.get(FUNCTION)))
    if list(plain) != [FUNCTION] or not isinstance(function, FunctionType):
        raise _not_imported(where, "the function", str(plain.get(FUNCTION)))
    return RewardFunction(function)


def _not_imported(where: str, kind: str, name: str) -> NotImportedError:
    module = name.partition(":")[0]
    return NotImportedError(
        f"{where} is {kind} {_shown(name)}, which is not imported, because importing runs code; if you trust "
        f"it, give --import {_shown(module)} (or its file) on the command line, or import it first."
    )


def _shown(value: Any) -> str:
    """A short form of a value, whatever its size; names of fields are not quoted."""
    is_name = isinstance(value, str) and value.isidentifier() and len(value) <= 40
    return str(value) if is_name else reprlib.repr(value)


def _cut(text: str) -> str:
    """A message without the middle of a long value."""
    return text if len(text) < 1000 else f"{text[:500]} ... {text[-300:]}"


def _row_of(kind: Any) -> Any:
    """The dataclass of which ``kind`` is a tuple, ``tuple[Row, ...]``; None for every other kind."""
    rows = typing.get_args(kind) if typing.get_origin(kind) is tuple else ()
    if len(rows) != 2 or rows[1] is not ...:
        return None
    return rows[0] if rows[0] is System or dataclasses.is_dataclass(rows[0]) else None
