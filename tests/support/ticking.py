"""Runs of many ticks with random choices, by one backend or by two for comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import torch
from support.helpers import KERNEL_DEVICE, random_orders
from torch import Tensor

from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.env import Env, make, random_actions
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.observation_layout import ObservationLayout
from nmmo_gpu.world.phases import PHASES
from nmmo_gpu.world.state import World

CPU = torch.device("cpu")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def play(
    world: World, backend: Backend, ticks: int, seed: int = 0, choose: Callable[..., Any] = random_orders
) -> list[str]:
    """Runs ticks with random choices. Returns the world's digest after each tick."""
    random = generator(seed)
    digests = []
    for _ in range(ticks):
        tick.step(world, backend, *choose(world, random))
        digests.append(world.digest())
    return digests


def phases_called(world: World, chosen: Iterable[Tensor]) -> list[str]:
    """Returns the names of the phases in the order in which the first tick calls them, in a world of two
    realms with five living agents in the second.

    Checks that each phase finds the tick, ``acted`` and ``cause`` as they are at the start of a tick."""
    world.cause.fill_(3)
    world.alive[1, :5] = True
    called = []

    def spy(name: str) -> Callable[..., tuple[Tensor, ...]]:
        def phase(of: World, *rest: Tensor) -> tuple[Tensor, ...]:
            called.append(name)
            assert of is world and int(world.tick) == 0 and not world.cause.any()
            assert world.acted.tolist() == [0, 5], "NPCs do not count as actors"
            return rest

        return phase

    spies = {phase.name: spy(phase.name) for phase in PHASES if phase.name != "start"}
    tick.step(world, dataclasses.replace(Backend(), **spies), *chosen)
    assert int(world.tick) == 1
    return called


def poison(world: World, random: torch.Generator) -> None:
    """Writes random numbers into every workspace without a fill value."""
    for room in world.workspaces.values():
        if room.fill is None:
            room.tensor.copy_(torch.randint(-2, 200, room.tensor.shape, generator=random))


def on_kernel_device(tensors: Iterable[Tensor | None]) -> list[Tensor | None]:
    return [part if part is None else part.to(KERNEL_DEVICE) for part in tensors]


def table_of(world: World) -> Tensor:
    """Returns [R, A, nearest] int32: the entities that each agent sees, by the rules in torch."""
    shape = (world.realms, world.config.slots)
    records = ObservationLayout(world.config).allocate(*shape, device=CPU)
    seen = torch.full((*shape, world.config.nearest), -1, dtype=torch.int32)
    resolve("torch", CPU).observe(world, records, seen)
    return seen


def step_together(steps: int, name: str, backend: str, device: torch.device = CPU, **settings: Any) -> World:
    """Steps an environment of torch and one of another backend with random actions that each draws itself,
    and compares everything that they return. Returns the final world of torch."""
    ours = make(name, **settings, device="cpu", backend="torch")
    theirs = make(name, **settings, device=device.type, backend=backend)
    assert (ours.backend.name, theirs.backend.name) == ("torch", backend)
    first, second = ours.reset(), theirs.reset()
    assert all(torch.equal(first[field], second[field].cpu()) for field in first)
    for time in range(steps):
        actions, again = random_actions(ours), random_actions(theirs)
        assert torch.equal(actions, again.cpu()), f"tick {time}"
        left, right = ours.step(actions), theirs.step(again)
        assert ours.world.digest() == theirs.world.digest(), f"tick {time}"
        assert torch.equal(ours.records, theirs.records.cpu()), f"tick {time}"
        for place in (0, 4):
            assert left[place].keys() == right[place].keys()
            for field in left[place]:
                assert torch.equal(left[place][field], right[place][field].cpu()), f"tick {time}: {field}"
        for what, a, b in zip(("reward", "terminated", "truncated"), left[1:4], right[1:4], strict=True):
            assert a.dtype == b.dtype and torch.equal(a, b.cpu()), f"tick {time}: {what}"
    return ours.world


def take_turns(
    config: WorldConfig, realms: int, ticks: int, backend: str, device: torch.device = CPU
) -> None:
    """Runs a world for ``ticks`` ticks by torch and as many by another backend, then in the other order.
    Checks that both give the same world as torch alone."""
    digests = []
    for names in (("torch", "torch"), ("torch", backend), (backend, "torch")):
        world = None
        for name in names:
            place = CPU if name == "torch" else device
            settings = {"realms": realms, "seed": 8, "device": place.type, "backend": name}
            env = Env(EnvConfig(world=config, **settings), world and world.to(place))
            if world is None:
                env.reset()
            for _ in range(ticks):
                env.step(random_actions(env))
            world = env.world
        digests.append(world.digest())
    assert len(set(digests)) == 1
