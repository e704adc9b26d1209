"""Which class a policy network is: how checkpoints name it, and how the command line finds it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from nmmo_gpu.errors import CheckpointError, ConfigError
from nmmo_gpu.train.policy import Policy

HOW = "give module:Class, or file.py:Class"


def network_name(network: type[Policy]) -> str:
    """``module:qualname`` of a network's class.

    A class of the script that is being run is named by the module that its file is when it is imported."""
    module = network.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        if getattr(main, "__spec__", None) is not None:  # python -m
            module = main.__spec__.name  # type: ignore[union-attr]
        elif getattr(main, "__file__", None):
            module = Path(str(main.__file__)).stem
    return f"{module}:{network.__qualname__}"


def check_network(network: type[Policy], needed: str) -> None:
    """CheckpointError unless a class is the one that a checkpoint names.

    It is if it has that name, or if that name, in a module that is imported already, stands for it: so a
    class that has moved can be left an alias at its former place. Nothing is imported because a checkpoint
    says so.

    Args:
        needed: as ``network_name`` gave it."""
    if network_name(network) == needed:
        return
    module, _, path = needed.partition(":")
    if module in sys.modules and _attribute(sys.modules[module], path) is network:
        return
    raise CheckpointError(
        f"checkpoint: its network is {needed}, and {network_name(network)} cannot take its place; on the "
        f"command line give --network {needed} (or file.py:Class), in Python a Sword with that network: "
        "Trinity(sword=...) to train, sword=... to play."
    )


def load_network(name: str) -> type[Policy]:
    """The class that ``--network`` names: ``module:Class``, imported as by ``import``, or ``file.py:Class``.

    Raises ConfigError if it is not there, or is not a subclass of Policy."""
    where, colon, path = name.rpartition(":")
    if not colon or not where or not path:
        raise ConfigError(f"network = {name!r} does not name a class; {HOW}.")
    module = _module_of_file(Path(where), name) if where.endswith(".py") else _module(where, name)
    network = _attribute(module, path)
    if network is None:
        raise ConfigError(f"network = {name!r}: {where} has no {path}; {HOW}.")
    if not (isinstance(network, type) and issubclass(network, Policy)):
        raise ConfigError(f"network = {name!r} is not a subclass of {network_name(Policy)}; {HOW} of one.")
    return network


def _attribute(module: ModuleType, path: str) -> Any:
    """What a dotted path names in a module; None if there is nothing."""
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
            f"network = {name!r}: there is no module {where}; put its folder into PYTHONPATH, or give the "
            "file: path/to/file.py:Class."
        ) from error


def _module_of_file(file: Path, name: str) -> ModuleType:
    """A module made of a file, with the file's stem for a name."""
    if not file.is_file():
        raise ConfigError(f"network = {name!r}: there is no file {file}; {HOW}.")
    loaded = sys.modules.get(file.stem)
    origin = getattr(loaded, "__file__", None)
    if loaded is not None and origin and Path(origin).resolve() == file.resolve():
        return loaded
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None, "it ends in .py"
    module = importlib.util.module_from_spec(spec)
    if loaded is None:  # dataclasses look their module up
        sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if loaded is None:
            del sys.modules[file.stem]
        raise
    return module
