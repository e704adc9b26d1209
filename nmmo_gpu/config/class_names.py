"""Names of classes in files and on the command line: ``module:qualname``, or ``file.py:qualname``."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from nmmo_gpu.errors import ConfigError

Kind = Literal["Class", "function"]


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


def load(name: str, option: str, kind: Kind = "Class", *, beside: bool = True) -> Any:
    """Loads what an option of the command line names: ``module:Class``, with an ordinary import, or
    ``file.py:Class``.

    Args:
        name: the option's value.
        option: its name, for messages.
        kind: what it has to name, for messages.
        beside: whether a file may have the name of another module. Then its classes cannot be found by the
            name of their module, as dataclasses, pickles and configs in files do.

    Raises ConfigError if it does not exist. Errors of the module itself are not changed."""
    how = f"give module:{kind}, or file.py:{kind}"
    where, colon, path = name.rpartition(":")
    if not colon or not where or not path:
        raise ConfigError(f"{option} = {name!r} does not name a {kind.lower()}; {how}.")
    found: Any = _load_module(where, name, option, how, f"path/to/file.py:{kind}", beside)
    for step in path.split("."):
        found = getattr(found, step, None)
    if found is None:
        raise ConfigError(f"{option} = {name!r}: {where} has no {path}; {how}.")
    return found


def load_module(name: str, option: str) -> ModuleType:
    """Imports the module that an option of the command line names, or the file, ``path/to/file.py``, as a
    module named after its stem.

    Args:
        name: the option's value.
        option: its name, for messages.

    Raises ConfigError if it does not exist. Errors of the module itself are not changed."""
    return _load_module(name, name, option, "give a module, or a .py file", "path/to/file.py", False)


def _load_module(where: str, name: str, option: str, how: str, file: str, beside: bool) -> ModuleType:
    if where.endswith(".py"):
        return _module_of_file(Path(where), name, option, how, beside)
    try:
        if where.startswith("."):
            raise ModuleNotFoundError(name=where)  # the name is relative, but to no package
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not (where == error.name or where.startswith(error.name + ".")):
            raise  # something that the module imports is missing
        raise ConfigError(
            f"{option} = {name!r}: the module {where} does not exist; add its folder to PYTHONPATH, or give "
            f"the file: {file}."
        ) from error


def _module_of_file(file: Path, name: str, option: str, how: str, beside: bool) -> ModuleType:
    """Imports a file as a module named after the file's stem."""
    if not file.is_file():
        raise ConfigError(f"{option} = {name!r}: the file {file} does not exist; {how}.")
    for loaded in (sys.modules.get(file.stem), _loaded_beside.get(file.resolve())):
        origin = getattr(loaded, "__file__", None)
        if loaded is not None and origin and os.path.realpath(origin) == os.path.realpath(file):
            return loaded
    named = file.stem not in sys.modules
    if not named and not beside:
        raise ConfigError(
            f"{option} = {name!r}: another module of the name {file.stem} is already imported; rename the "
            "file."
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None, "the caller has checked for .py"
    module = importlib.util.module_from_spec(spec)
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
