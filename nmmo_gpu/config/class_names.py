"""Names of classes in files and on the command line: ``module:qualname``, or ``file.py:qualname``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from nmmo_gpu.errors import ConfigError

HOW = "give module:Class, or file.py:Class"


def class_name(cls: Any) -> str:
    """Returns ``module:qualname`` of a class or function.

    For one of the running script, the module is the one that the script's file would be on import."""
    module = cls.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        if getattr(main, "__spec__", None) is not None:  # python -m
            module = main.__spec__.name  # type: ignore[union-attr]
        elif getattr(main, "__file__", None):
            module = Path(str(main.__file__)).stem
    return f"{module}:{cls.__qualname__}"


def imported(name: str) -> Any:
    """Returns the object that a name in a file means, if its module is already imported; else None.

    Nothing is imported because a file names it, and no code of the module or its objects runs."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    main = sys.modules.get("__main__")
    if found is None and main is not None and getattr(main, "__file__", None):
        found = main if Path(str(main.__file__)).stem == module else None
    if found is None:
        return None
    for step in path.split("."):
        if not isinstance(found, (ModuleType, type)):
            return None
        found = found.__dict__.get(step)
    return found.__func__ if isinstance(found, staticmethod) else found


def load(name: str, option: str) -> Any:
    """Loads what an option of the command line names: ``module:Class``, with an ordinary import, or
    ``file.py:Class``.

    Args:
        name: the option's value.
        option: its name, for messages.

    Raises ConfigError if it does not exist."""
    where, colon, path = name.rpartition(":")
    if not colon or not where or not path:
        raise ConfigError(f"{option} = {name!r} does not name a class; {HOW}.")
    found: Any = (
        _module_of_file(Path(where), name, option) if where.endswith(".py") else _module(where, name, option)
    )
    for step in path.split("."):
        found = getattr(found, step, None)
    if found is None:
        raise ConfigError(f"{option} = {name!r}: {where} has no {path}; {HOW}.")
    return found


def _module(where: str, name: str, option: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not (where == error.name or where.startswith(error.name + ".")):
            raise  # something that the module imports is missing
        raise ConfigError(
            f"{option} = {name!r}: there is no module {where}; add its folder to PYTHONPATH, or give the "
            "file: path/to/file.py:Class."
        ) from error


def _module_of_file(file: Path, name: str, option: str) -> ModuleType:
    """Imports a file as a module named after the file's stem."""
    if not file.is_file():
        raise ConfigError(f"{option} = {name!r}: there is no file {file}; {HOW}.")
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
