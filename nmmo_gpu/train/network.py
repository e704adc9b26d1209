"""The class of a policy network: its name in checkpoints, and how the command line loads it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from nmmo_gpu.errors import CheckpointError, ConfigError

HOW = "give module:Class, or file.py:Class"


def network_name(network: type[nn.Module]) -> str:
    """Returns ``module:qualname`` of a network's class.

    For a class of the running script, the module is the one that the script's file would be on import."""
    module = network.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        if getattr(main, "__spec__", None) is not None:  # python -m
            module = main.__spec__.name  # type: ignore[union-attr]
        elif getattr(main, "__file__", None):
            module = Path(str(main.__file__)).stem
    return f"{module}:{network.__qualname__}"


def check_network(network: type[nn.Module], needed: str) -> None:
    """Raises CheckpointError unless a class is the one that a checkpoint names.

    The class must have that name, or that name must be an alias of it in a module that is already imported,
    as for a class that has been moved. No module is imported because a checkpoint names it.

    Args:
        network: the class.
        needed: the name in the checkpoint, from ``network_name``."""
    if network_name(network) == needed:
        return
    module, _, path = needed.partition(":")
    if module in sys.modules and _defined(sys.modules[module], path) is network:
        return
    raise CheckpointError(
        f"checkpoint: its network is {needed}, not {network_name(network)}; on the command line give "
        f"--network {needed} (or file.py:Class), in Python a Sword with that network: Trinity(sword=...) to "
        "train, sword=... to play."
    )


def load_network(name: str) -> type[nn.Module]:
    """Loads the class that ``--network`` names: ``module:Class``, with an ordinary import, or
    ``file.py:Class``.

    Raises ConfigError if the class does not exist or is not a subclass of torch.nn.Module."""
    where, colon, path = name.rpartition(":")
    if not colon or not where or not path:
        raise ConfigError(f"network = {name!r} does not name a class; {HOW}.")
    module = _module_of_file(Path(where), name) if where.endswith(".py") else _module(where, name)
    network = _attribute(module, path)
    if network is None:
        raise ConfigError(f"network = {name!r}: {where} has no {path}; {HOW}.")
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise ConfigError(f"network = {name!r} is not a subclass of torch.nn.Module; {HOW} of one.")
    return network


def _defined(module: ModuleType, path: str) -> Any:
    """Returns the object at a dotted path in a module; None if it does not exist.

    Unlike ``getattr``, it runs no code that belongs to the module or its objects."""
    found: Any = module
    for step in path.split("."):
        if not isinstance(found, (ModuleType, type)):
            return None
        found = found.__dict__.get(step)
    return found


def _attribute(module: ModuleType, path: str) -> Any:
    """Returns the attribute at a dotted path in a module; None if it does not exist."""
    found: Any = module
    for step in path.split("."):
        found = getattr(found, step, None)
    return found


def _module(where: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ModuleNotFoundError as error:
        if error.name is None or not (where == error.name or where.startswith(error.name + ".")):
            raise  # something that the module imports is missing
        raise ConfigError(
            f"network = {name!r}: there is no module {where}; add its folder to PYTHONPATH, or give the "
            "file: path/to/file.py:Class."
        ) from error


def _module_of_file(file: Path, name: str) -> ModuleType:
    """Imports a file as a module named after the file's stem."""
    if not file.is_file():
        raise ConfigError(f"network = {name!r}: there is no file {file}; {HOW}.")
    loaded = sys.modules.get(file.stem)
    origin = getattr(loaded, "__file__", None)
    if loaded is not None and origin and Path(origin).resolve() == file.resolve():
        return loaded
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None, "the caller has checked for .py"
    module = importlib.util.module_from_spec(spec)
    if loaded is None:  # dataclasses look up their module in sys.modules
        sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if loaded is None:
            del sys.modules[file.stem]
        raise
    return module
