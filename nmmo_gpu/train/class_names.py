"""The classes that made a run: their names in checkpoints, and how the command line loads them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from nmmo_gpu.errors import CheckpointError, ConfigError

HOW = "give module:Class, or file.py:Class"


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


def class_name(cls: type) -> str:
    """Returns ``module:qualname`` of a class.

    For a class of the running script, the module is the one that the script's file would be on import."""
    module = cls.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        if getattr(main, "__spec__", None) is not None:  # python -m
            module = main.__spec__.name  # type: ignore[union-attr]
        elif getattr(main, "__file__", None):
            module = Path(str(main.__file__)).stem
    return f"{module}:{cls.__qualname__}"


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
    where, colon, path = name.rpartition(":")
    if not colon or not where or not path:
        raise ConfigError(f"trinity = {name!r} does not name a class; {HOW}.")
    module = _module_of_file(Path(where), name) if where.endswith(".py") else _module(where, name)
    found: Any = module
    for step in path.split("."):
        found = getattr(found, step, None)
    if found is None:
        raise ConfigError(f"trinity = {name!r}: {where} has no {path}; {HOW}.")
    return found


def _is_named(cls: type, needed: str) -> bool:
    """Whether a name is that of a class, or an alias of it in a module that is already imported."""
    if class_name(cls) == needed:
        return True
    module, _, path = needed.partition(":")
    return module in sys.modules and _defined(sys.modules[module], path) is cls


def _defined(module: ModuleType, path: str) -> Any:
    """Returns the object at a dotted path in a module; None if it does not exist.

    Unlike ``getattr``, it runs no code that belongs to the module or its objects."""
    found: Any = module
    for step in path.split("."):
        if not isinstance(found, (ModuleType, type)):
            return None
        found = found.__dict__.get(step)
    return found


def _module(where: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not (where == error.name or where.startswith(error.name + ".")):
            raise  # something that the module imports is missing
        raise ConfigError(
            f"trinity = {name!r}: there is no module {where}; add its folder to PYTHONPATH, or give the "
            "file: path/to/file.py:Class."
        ) from error


def _module_of_file(file: Path, name: str) -> ModuleType:
    """Imports a file as a module named after the file's stem."""
    if not file.is_file():
        raise ConfigError(f"trinity = {name!r}: there is no file {file}; {HOW}.")
    for loaded in (sys.modules.get(file.stem), _loaded_beside.get(file.resolve())):
        origin = getattr(loaded, "__file__", None)
        if loaded is not None and origin and os.path.realpath(origin) == os.path.realpath(file):
            return loaded
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None, "the caller has checked for .py"
    module = importlib.util.module_from_spec(spec)
    named = file.stem not in sys.modules
    if named:  # dataclasses look up their module in sys.modules
        sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if named:
            del sys.modules[file.stem]
        raise
    if not named:
        _loaded_beside[file.resolve()] = module
    return module


_loaded_beside: dict[Path, ModuleType] = {}
"""Modules of files whose names other modules have in ``sys.modules``."""
