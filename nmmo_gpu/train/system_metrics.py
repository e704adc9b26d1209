"""Counters and scalars of systems, as metrics."""

from __future__ import annotations

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.config.systems import COUNTS
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.world.state import World

SCALAR = " (scalar)"
"""Ending of the names of scalars among the counts."""


def system_counts(world: World) -> dict[str, Tensor]:
    """Returns sums over all realms, on their device, without a sync; {} without systems.

    Returns:
        ``<system>/<counter>``: [] int64, total so far, of each counter.
        ``<system>/<scalar> (scalar)``: [] float64, of each of ``System.scalars``.

    Raises ConfigError if a counter and a scalar of a system have one name."""
    counts: dict[str, Tensor] = {}
    for system in world.config.systems:
        if system.counters:
            totals = system.own(world)[COUNTS].sum(0).unbind()
            names = (f"{system.name}/{counter}" for counter in system.counters)
            counts |= dict(zip(names, totals, strict=True))
        for name, value in system.scalars(world).items():
            if name in system.counters:
                raise ConfigError(
                    f"system {type(system).__name__}: {name!r} is a counter and a scalar, which would share "
                    "a curve; rename one."
                )
            value = value.to(torch.float64).expand(world.realms)
            counts[f"{system.name}/{name}{SCALAR}"] = value.sum()
    return counts


def system_metrics(
    config: WorldConfig, before: dict[str, Tensor], now: dict[str, Tensor], agent_steps: int, realms: int
) -> dict[str, float]:
    """Returns metrics by name: counters per 1000 agent-steps, and the means of scalars over realms.

    Args:
        config: rules of the world.
        before: ``system_counts`` at the start, on the CPU.
        now: those at the end.
        agent_steps: agent-steps between the two.
        realms: number of realms."""
    result: dict[str, float] = {}
    names = tuple(f"{system.name}/" for system in config.systems)
    for name, value in now.items():
        if not name.startswith(names):
            continue
        if name.endswith(SCALAR):
            result[name.removesuffix(SCALAR)] = float(value) / realms
        else:
            result[name] = int(value - before[name]) / max(1, agent_steps) * 1000
    return result
