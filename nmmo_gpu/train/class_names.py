"""The classes that made a run: their names in checkpoints, and how the command line loads them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nmmo_gpu.config.class_names import class_name as class_name
from nmmo_gpu.config.class_names import imported, load
from nmmo_gpu.errors import CheckpointError


class ClassNames(NamedTuple):
    """The names of the classes of a run, as returned by ``class_name``."""

    network: str = "nmmo_gpu.train.policy:Policy"
    """Name of the network of the policies; by default, as for the others, the stock class."""
    sword: str = "nmmo_gpu.train.trinity.sword:Sword"
    """Name of the Sword, which has the network."""
    god: str = "nmmo_gpu.train.trinity.god:God"
    """Name of the God."""
    pantheon: str = "nmmo_gpu.train.trinity.pantheon:Pantheon"
    """Name of the Pantheon."""


STOCK = ClassNames()
"""The names of the classes of a run without custom ones."""


def class_option(cls: type) -> str:
    """Returns a value of ``--trinity`` that gives a class: ``module:Class`` for a class in a package, and
    ``file.py:Class`` for one in a file of its own, which the command line could not import by name."""
    module, _, qualname = class_name(cls).partition(":")
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if "." in module or not file or not file.endswith(".py"):
        return f"{module}:{qualname}"
    path = Path(file).resolve()
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}:{qualname}"


def check_classes(classes: Mapping[str, type], needed: ClassNames) -> None:
    """Raises CheckpointError unless classes are those that a checkpoint names.

    A class must have that name, or that name must be an alias of it in a module that is already imported, as
    for a class that has been moved. No module is imported because a checkpoint names it.

    Args:
        classes: the classes by the names of the fields of ``ClassNames``; only those that matter.
        needed: the names in the checkpoint."""
    names = needed._asdict()
    wrong = [
        f"its {part} is {names[part]}, not {class_name(cls)}"
        for part, cls in classes.items()
        if not _is_named(cls, names[part])
    ]
    if not wrong:
        return
    custom = [names[part] for part in classes if names[part] != getattr(STOCK, part)]
    if not custom:
        remedy = "On the command line leave out --trinity; in Python pass no other classes"
    elif any("<locals>" in name for name in custom):
        remedy = "The command line cannot give classes that a function defines; in Python pass these classes"
    else:
        remedy = (
            f"On the command line give --trinity {' '.join(custom)} (module:Class or file.py:Class); in "
            "Python pass these classes"
        )
    raise CheckpointError(
        f"checkpoint: {'; '.join(wrong)}. {remedy}: trinity=... to train and load_policy, sword=... to "
        "functions that play."
    )


def load_object(name: str) -> Any:
    """Loads what ``--trinity`` names: ``module:Name``, with an ordinary import, or ``file.py:Name``.

    Raises ConfigError if there is no such module, file or name. Errors of the module itself are not
    changed."""
    return load(name, "trinity")


def _is_named(cls: type, needed: str) -> bool:
    """Whether a name is that of a class, or an alias of it in a module that is already imported."""
    return class_name(cls) == needed or imported(needed) is cls
