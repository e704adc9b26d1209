"""Helpers for tests that compare the phases of a backend with those of torch, bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest
import torch
from support.helpers import KERNEL_DEVICE, ODD, assert_same, litter, random_world, unclean
from support.ticking import CPU
from torch import Tensor

from nmmo_gpu.config import WorldConfig, preset
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.state import World

TORCH = resolve("torch", CPU)
NUMBA, TRITON = ("numba",), ("triton",)
BACKENDS = NUMBA + TRITON


class Setting(NamedTuple):
    """Rules, the number of realms, and the kernels' block sizes (None: the defaults)."""

    config: WorldConfig
    realms: int = 1
    block: int | None = None
    tiles: int | None = None
    lanes: int | None = None
    backends: tuple[str, ...] = BACKENDS
    """Backends that the setting applies to. An interpreted kernel program takes milliseconds whatever its
    size, so worlds for kernels are small and crowded."""


class Twin:
    """A backend whose phases are compared with those of torch. Kernels run on the GPU if there is one and are
    interpreted otherwise; worlds are created and compared on the CPU."""

    def __init__(self, name: str) -> None:
        pytest.importorskip(name)
        self.name, self.compiled = name, name == "numba"
        self.device = CPU if self.compiled else KERNEL_DEVICE
        self.backend = resolve(name, self.device)

    def few(self, many: Any, few: Any) -> Any:
        """Returns ``many`` for compiled loops, which are fast enough for many worlds and ticks, else
        ``few``."""
        return many if self.compiled else few

    def copy(self, *tensors: Tensor) -> list[Tensor]:
        """Copies the tensors to the backend's device."""
        return [tensor.to(self.device, copy=True) for tensor in tensors]

    def same(self, theirs: World, ours: World, said: str) -> None:
        """Checks that both worlds are equal and that their workspaces are clean.

        Args:
            theirs: the backend's world.
            ours: the world of torch.
            said: start of the failure message.
        """
        assert_same(theirs.to(CPU), ours, f"{said}: {self.name}, then torch")
        assert unclean(theirs) == unclean(ours) == []

    def both(self, phase: str, world: World, *orders: Tensor) -> World:
        """Runs a phase by torch and by the backend, and checks that the results are equal.

        Args:
            phase: name of the phase.
            world: state before the phase; it is not changed.
            orders: further arguments of the phase, which it must not change.

        Returns the world after the phase.
        """
        ours, theirs = world.clone(), world.to(self.device)
        there = self.copy(*orders)
        getattr(TORCH, phase)(ours, *orders)
        getattr(self.backend, phase)(theirs, *there)
        self.same(theirs, ours, phase)
        assert all(torch.equal(a, b.cpu()) for a, b in zip(orders, there, strict=True)), "orders were changed"
        return ours


class Case(NamedTuple):
    """A backend and a setting."""

    twin: Twin
    setting: Setting

    @property
    def config(self) -> WorldConfig:
        return self.setting.config

    def worlds(self, *, wounded: bool = False) -> Iterator[tuple[int, World]]:
        """Yields (seed, world): random worlds from nearly empty to full, one of them with every tile of the
        ring occupied. The slots of dead agents hold random numbers."""
        fills = (0.1, 0.6, 1.0, 0.02, 0.9)
        for seed, fill in enumerate(self.twin.few(fills, fills[:3])):
            world = random_world(
                self.config, self.setting.realms, seed, fill=fill, full=seed == 2, wounded=wounded
            )
            yield seed, litter(world, seed)


def crossed(*settings: Mapping[str, Setting]) -> list[Any]:
    """Returns pytest parameters: every setting with every backend that it applies to."""
    return [
        pytest.param((backend, setting), id=f"{backend}-{name}")
        for backend in BACKENDS
        for named in settings
        for name, setting in named.items()
        if backend in setting.backends
    ]


def of_loops(settings: Mapping[str, Setting]) -> dict[str, Setting]:
    """Returns the settings restricted to compiled loops."""
    return {name: setting._replace(backends=NUMBA) for name, setting in settings.items()}


def by_block(*blocks: int) -> Any:
    """Parametrizes ``twin`` and ``block``: each backend with its defaults, and kernels with each block
    size."""
    pairs = [(backend, None) for backend in BACKENDS] + [("triton", block) for block in blocks]
    return pytest.mark.parametrize(("twin", "block"), pairs, indirect=["twin"])


def cut(monkeypatch: pytest.MonkeyPatch, setting: Setting) -> None:
    """Makes the kernels use the block sizes of the setting."""
    for name in ("block", "tiles", "lanes"):
        limit = getattr(setting, name)
        if limit is not None:
            monkeypatch.setattr(f"nmmo_gpu.kernels.launch.{name.upper()}", limit)


CRAMPED = {**ODD, "border": 12}
"""Nine rows of 23 tiles, so that agents block each other."""
ODD_RULES = {
    "reach": (2, 7, 5), "damage": (0, 9, 3), "forage": 40, "heal_above": 3, "freeze_ticks": 9,
    "immune_ticks": 2, "max_health": 100, "max_food": 90, "max_water": 127, "regrowth": 1.0,
}  # fmt: skip
SETTINGS = {
    "chaos-7x7": Setting(preset("chaos", **ODD, slots=7, populations=7, births=1)),
    "law-7x1": Setting(preset("law", **ODD, slots=7, populations=1, births=3), 3),
    "chaos-crowd": Setting(preset("chaos", **ODD, slots=240, populations=8, births=-1), 3, backends=NUMBA),
    "chaos-150-in-one-block": Setting(
        preset("chaos", **CRAMPED, slots=150, populations=3, births=3, regrowth=0.4)
    ),
    "chaos-2x70-in-blocks-of-32": Setting(
        preset("chaos", **CRAMPED, slots=70, populations=5, births=3, immune_ticks=3), 2, 32, 1024, 4096
    ),
    "odd-rules-150-in-blocks-of-32": Setting(
        preset("law", **CRAMPED, slots=150, populations=2, births=-1, **ODD_RULES), 1, 32, 512, 8192
    ),
}
"""Settings of the presets law and chaos."""
EXTENDED = {
    "full-7-and-15-npcs": Setting(
        preset("full", **ODD, slots=7, populations=7, births=1, npc_numbers=(5, 7, 3), ore_regrowth=0.4), 3
    ),
    "full-2x70-and-30-npcs-in-blocks-of-32": Setting(
        preset(
            "full", **CRAMPED, slots=70, populations=5, births=3, npc_numbers=(12, 13, 5), birth_gold=1234,
            ore_regrowth=0.4,
        ),
        2, 32, 1024, 4096,
    ),
    "full-60-and-one-npc": Setting(
        preset(
            "full", **ODD, slots=60, populations=3, births=3, npc_numbers=(0, 1, 0), max_health=77,
            freeze_ticks=9, immune_ticks=2,
        ),
        backends=NUMBA,
    ),
    "chaos-with-npcs-33-in-blocks-of-32": Setting(
        preset("chaos", **CRAMPED, slots=33, populations=3, births=-1, npcs=True, npc_numbers=(0, 32, 1)),
        3, 32,
    ),
    "law-with-mines": Setting(
        preset("law", **CRAMPED, slots=40, populations=2, births=3, works=("mine",), max_health=100), 2
    ),
    "law-with-skills": Setting(
        preset("law", **ODD, slots=60, populations=2, births=3, skills=True, works=("fish", "mine")), 3,
        backends=NUMBA,
    ),
    "mines-alone-grow": Setting(
        preset("chaos", **ODD, slots=60, populations=2, births=3, works=("mine",), regrowth=0.0), 3,
        backends=NUMBA,
    ),
}  # fmt: skip
"""Settings with systems of the full game, separately and together, with and without NPCs."""
