"""Options that name code of the user: ``--import``, and ``--system`` with the settings of systems."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, cast

import tyro

from nmmo_gpu.config.class_names import load, load_module
from nmmo_gpu.config.system_check import SNAKE_CASE
from nmmo_gpu.config.systems import System
from nmmo_gpu.errors import ConfigError

IMPORT, SYSTEM = "--import", "--system"
PREFIX = "system_"
"""Before the name of a system, the name of the field that holds it."""

Names = Annotated[tuple[str, ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True)
class _Imports:
    """What every command takes in addition to its options."""

    imports: Annotated[Names, tyro.conf.arg(name="import", metavar="MODULE|FILE.PY")] = ()
    """Module or file to import first, for the classes and functions that a run names. Its code is run."""


@dataclass(frozen=True)
class _Systems(_Imports):
    """What the commands that take a preset add to that."""

    systems: Annotated[Names, tyro.conf.arg(name="system", metavar="MODULE:CLASS|FILE.PY:CLASS")] = ()
    """System to add to the rules, whose settings are then options as well. Its code is run."""


def with_systems(kind: type, default: Any, arguments: Sequence[str]) -> Any:
    """Returns the type to parse with tyro: the options of a command, and those that name code.

    Imports what ``--import`` names, and loads what ``--system`` names.

    Args:
        kind: the command's options. It takes ``--system`` if it, or a config in it, has a field ``systems``.
        default: an instance of ``kind``, or None if it has required fields.
        arguments: those of the command.

    Raises ConfigError for an argument that names no module or system, or no setting of a system."""
    for name in values(arguments, IMPORT):
        load_module(name, IMPORT)
    takes = _takes_systems(kind)
    classes = _classes(values(arguments, SYSTEM)) if takes else []
    _check_settings(classes, arguments)
    default_field = () if default is None else (field(default=default),)
    fields: list[Any] = [
        ("config", Annotated[kind, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")], *default_field)
    ]
    for cls in classes:
        fields.append((PREFIX + cls.name, Annotated[cls, tyro.conf.arg(name=cls.name)]))
    return dataclasses.make_dataclass(
        "Options",
        fields,
        bases=(_Systems if takes else _Imports,),
        namespace={"__doc__": kind.__doc__},
        frozen=True,
        kw_only=True,
    )


def parsed(options: Any) -> Any:
    """Returns the command's options from an instance of the type that ``with_systems`` returns."""
    added = [getattr(options, f.name) for f in dataclasses.fields(options) if f.name.startswith(PREFIX)]
    return _add(options.config, tuple(added)) if added else options.config


def values(arguments: Sequence[str], option: str) -> Iterator[str]:
    """Yields the values of an option that may be repeated."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=False):
        name, equals, value = argument.partition("=")
        if name == option and (equals or following):
            yield value if equals else following


def imports(arguments: Sequence[str]) -> list[str]:
    """Returns the options that a command needs to read a run that these arguments began: an ``--import`` for
    each module that they name."""
    modules = [*values(arguments, IMPORT)]
    modules += [name.rpartition(":")[0] for name in values(arguments, SYSTEM)]
    modules += [name.rpartition(":")[0] for name in values(arguments, "--reward") if ":" in name]
    return [word for module in dict.fromkeys(modules) for word in (IMPORT, module)]


def _classes(names: Iterator[str]) -> list[type[System]]:
    """The classes that ``--system`` names."""
    found: list[type[System]] = []
    for name in names:
        cls = load(name, SYSTEM, beside=False)
        if not (isinstance(cls, type) and issubclass(cls, System)):
            raise ConfigError(
                f"{SYSTEM} = {name!r} is not a subclass of nmmo_gpu.systems.System; give module:Class, or "
                "file.py:Class, of one."
            )
        if not dataclasses.is_dataclass(cls):
            raise ConfigError(
                f"{SYSTEM} = {name!r} is not a frozen dataclass; decorate it with @dataclass(frozen=True)."
            )
        if not SNAKE_CASE.fullmatch(cls.name):
            raise ConfigError(f"{SYSTEM} = {name!r}: name = {cls.name!r} is not in snake case; change it.")
        if cls.name in [other.name for other in found]:
            raise ConfigError(
                f"{SYSTEM} = {name!r}: a system of the name {cls.name} is given already; leave one out."
            )
        found.append(cls)
    return found


def _check_settings(classes: Sequence[type[System]], arguments: Sequence[str]) -> None:
    """Raises ConfigError for an option of a system that is not one of its settings."""
    for cls in classes:
        settings = [setting.name for setting in dataclasses.fields(cast(Any, cls)) if setting.init]
        for argument in arguments:
            option = argument.partition("=")[0]
            system, dot, setting = option.removeprefix("--").replace("-", "_").partition(".")
            if not option.startswith("--") or not dot or system != cls.name:
                continue
            known = {name.removeprefix("no_") for name in settings}
            if setting.partition(".")[0].removeprefix("no_") not in known:
                valid = ", ".join(f"--{cls.name}.{name}".replace("_", "-") for name in settings)
                remedy = f"choose {valid}" if valid else "it has none"
                raise ConfigError(f"{option} is not a setting of {cls.__name__}; {remedy}.")


def _takes_systems(kind: type) -> bool:
    hints = typing.get_type_hints(kind)
    return any(
        name == "systems" or (dataclasses.is_dataclass(hint) and _takes_systems(cast(type, hint)))
        for name, hint in hints.items()
    )


def _add(config: Any, systems: tuple[System, ...]) -> Any:
    """A config with systems added to its field ``systems``, or to that of the config in it that has one."""
    if hasattr(config, "systems"):
        return dataclasses.replace(config, systems=(*config.systems, *systems))
    name = next(
        f.name
        for f in dataclasses.fields(config)
        if dataclasses.is_dataclass(getattr(config, f.name)) and _takes_systems(type(getattr(config, f.name)))
    )
    return dataclasses.replace(config, **{name: _add(getattr(config, name), systems)})
