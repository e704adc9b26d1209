"""Lists what a tick and a training iteration launch at real sizes, on tensors without data."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from counting.operations import Operations
from nmmo_gpu.env import Env
from nmmo_gpu.kernels.launch import Launch
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.memory_estimate import dry_run
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.trinity import God, Pantheon, Sword
from nmmo_gpu.world.memory import META

REALMS = {"chaos": 8192, "full": 512, "train": 2048}
"""Number of realms of 128 slots: of a tick of ``chaos`` and ``full``, and of a training iteration."""


@dataclasses.dataclass
class Work:
    """What a part of the program does on the device."""

    samples: int
    """Slots, or slots times ticks of the rollout, empty ones included; counts are per sample."""
    launches: list[Launch]
    """All launches of Triton kernels that have programs, in order."""
    operations: Operations
    """All operations of torch."""


def ticks(preset: str, realms: int) -> Work:
    """Returns what a tick does (``Env.step`` with int64 actions), with slots kept full.

    Args:
        preset: name of the preset.
        realms: number of realms.
    """
    config = settings(preset, realms).env
    launches: list[Launch] = []
    with dry_run(config, launches.append) as (_, world):
        env = Env(config, world)
        shape = (realms, config.world.slots, len(env.action_heads))
        actions = torch.zeros(shape, dtype=torch.int64, device=META)
        env.step(actions, out=env.records)  # makes the workspaces
        return _noted(lambda: env.step(actions, out=env.records), realms * config.world.slots, launches)


def iteration(realms: int, preset: str = "chaos") -> dict[str, Work]:
    """Returns what the rollout and the update of a training iteration do, with slots kept full.

    Args:
        realms: number of realms.
        preset: name of the preset, trained at scale "gpu".
    """
    config = settings(preset, realms)
    launches: list[Launch] = []
    with dry_run(config.env, launches.append) as (_, world):
        sword = Sword(config, META)
        god, pantheon = God(config, sword, world), Pantheon(config, sword)
        _fuse(pantheon.optimizer)
        samples = config.ppo.horizon * realms * config.env.world.slots
        return {
            "rollout": _noted(god.collect, samples, launches),
            "update": _noted(lambda: pantheon.learn(god.rollout, 0.0), samples, launches),
        }


def _fuse(optimizer: torch.optim.Optimizer) -> None:
    """Makes Adam on the meta device take its steps in fused kernels, as on a GPU; torch would refuse to, but
    only where it makes the moments."""
    for group in optimizer.param_groups:
        group["fused"], group["foreach"], group["capturable"] = True, False, True
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter),
            }  # fmt: skip


def settings(preset: str, realms: int) -> TrainConfig:
    """Returns a training at scale "gpu" on the meta device, with slots kept full."""
    config = train_preset(preset, "gpu")
    world = dataclasses.replace(config.env.world, births=-1)
    env = dataclasses.replace(
        config.env, world=world, device="meta", realms=realms, shared_map=True, check_actions=False
    )
    return dataclasses.replace(config, env=env)


def _noted(work: Callable[[], Any], samples: int, launches: list[Launch]) -> Work:
    launches.clear()
    with Operations() as operations:
        work()
    return Work(samples, [launch for launch in launches if launch.programs > 0], operations)


def repeated(launches: list[Launch], form: Callable[[Launch], str]) -> list[tuple[Launch, int, int]]:
    """Returns each distinct launch, in the order of their first appearance, with its number of launches and
    their programs in total.

    Args:
        launches: the launches.
        form: returns what distinguishes the compiled code of a launch.
    """
    count: collections.Counter[str] = collections.Counter()
    programs: collections.Counter[str] = collections.Counter()
    first: dict[str, Launch] = {}
    for launch in launches:
        key = form(launch)
        first.setdefault(key, launch)
        count[key] += 1
        programs[key] += launch.programs
    return [(launch, count[key], programs[key]) for key, launch in first.items()]
