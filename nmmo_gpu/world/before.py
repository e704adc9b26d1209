"""The state before a tick, for rewards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nmmo_gpu.world.state import World, state_fields


class Before:
    """The state before a tick, by the names of the world's attributes: ``before.gold``,
    ``before.systems["daylight"]["light"]``.

    Only what the reward functions read when the environment begins is kept, because a copy of the whole state
    would take longer than the tick."""

    def __init__(self, kept: Mapping[str, Tensor]) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Tensor:
        return _kept(self._kept, name)

    @property
    def systems(self) -> _BySystem:
        """The state of systems, by system and name."""
        return _BySystem(self._kept)


class _BySystem:
    def __init__(self, kept: Mapping[str, Tensor]) -> None:
        self._kept = kept

    def __getitem__(self, system: str) -> _OfSystem:
        return _OfSystem(self._kept, system)

    def __contains__(self, system: object) -> bool:
        return any(name.startswith(f"{system}.") for name in self._kept)


class _OfSystem:
    def __init__(self, kept: Mapping[str, Tensor], system: str) -> None:
        self._kept, self._system = kept, system

    def __getitem__(self, name: str) -> Tensor:
        return _kept(self._kept, f"{self._system}.{name}")

    def __contains__(self, name: object) -> bool:
        return f"{self._system}.{name}" in self._kept


def _kept(kept: Mapping[str, Tensor], name: str) -> Tensor:
    if name in kept:
        return kept[name]
    if isinstance(kept, Reading):
        raise AttributeError(
            f"before.{name} does not exist; its tensors have the names of those of the world."
        )
    raise AttributeError(
        f"before.{name} is not kept: a reward has to read the same tensors of before in every call, and "
        "those of its first call are kept. Read it unconditionally."
    )


class Reading(Mapping[str, Tensor]):
    """The whole state, which notes what is read."""

    def __init__(self, world: World, names: set[str]) -> None:
        self._world, self._names = world, names
        self._known = {field.name for field in state_fields(world.config)}

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def __getitem__(self, name: str) -> Tensor:
        self._names.add(name)
        return self._world.tensor(name)

    def __iter__(self) -> Any:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
