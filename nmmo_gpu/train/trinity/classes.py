"""The three classes of a run together, from classes and from their names on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.class_names import class_name, load_object
from nmmo_gpu.train.trinity.god import God
from nmmo_gpu.train.trinity.pantheon import Pantheon
from nmmo_gpu.train.trinity.sword import Sword, sword_with


@dataclass
class Trinity:
    """The classes that a training run uses."""

    pantheon: type[Pantheon] = Pantheon
    god: type[God] = God
    sword: type[Sword] = Sword


Part = Trinity | type[Sword] | type[God] | type[Pantheon] | type[nn.Module]
"""A Trinity, or a class of one: a Sword, God or Pantheon, or the network of the Sword."""


def trinity_of(*parts: Part) -> Trinity:
    """Returns the Trinity of these classes, with the stock classes for all others.

    Args:
        parts: each a Trinity, or a subclass of Sword, God, Pantheon or ``torch.nn.Module``. A module is the
            network of the Sword.

    Raises ConfigError for any other object, and if two different classes are given for one part."""
    chosen: dict[str, Any] = {}

    def choose(part: str, cls: type) -> None:
        if chosen.setdefault(part, cls) is not cls:
            names = f"{class_name(chosen[part])} and {class_name(cls)}"
            raise ConfigError(f"trinity has two classes for the {part}, {names}; give one of them.")

    for part in parts:
        if isinstance(part, Trinity):
            for name, stock in vars(Trinity()).items():
                if getattr(part, name) is not stock:
                    choose(name, getattr(part, name))
            continue
        choose(_kind(part, repr(part)), part)
    sword: type[Sword] = chosen.get("sword", Sword)
    if sword.network is not Sword.network:
        choose("network", sword.network)
    if "network" in chosen:
        sword = sword_with(chosen.pop("network"), sword)
    return Trinity(**(chosen | {"sword": sword}))


def trinity_named(names: Iterable[str]) -> Trinity:
    """Returns the Trinity of the classes that ``--trinity`` names.

    Args:
        names: each ``module:Name`` or ``file.py:Name`` of an object as for ``trinity_of``. The modules are
            imported, which runs their code.

    Raises ConfigError if a name does not exist, and as ``trinity_of`` does."""
    parts = [(name, load_object(name)) for name in names]
    for name, part in parts:
        if not isinstance(part, Trinity):
            _kind(part, repr(name))
    return trinity_of(*(part for _, part in parts))


def _kind(part: Any, shown: str) -> str:
    """Returns of what an object is a class: "sword", "god", "pantheon" or "network". Raises ConfigError, with
    the object shown as ``shown``, for other objects."""
    kinds = {"sword": Sword, "god": God, "pantheon": Pantheon, "network": nn.Module}
    for name, kind in kinds.items():
        if isinstance(part, type) and issubclass(part, kind):
            return name
    raise ConfigError(
        f"trinity = {shown} is neither a Trinity nor a subclass of Sword, God, Pantheon or torch.nn.Module; "
        "give one of these."
    )
