"""Metrics of what happens in a world: those of the full game, and of systems."""

from __future__ import annotations

from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.train.economy import economy_counts, economy_metrics
from nmmo_gpu.train.system_metrics import system_counts, system_metrics
from nmmo_gpu.world.state import World


def world_counts(world: World) -> dict[str, Tensor]:
    """Returns ``economy_counts`` and ``system_counts``, on the world's device, without a sync."""
    return economy_counts(world) | system_counts(world)


def world_counts_on_host(world: World) -> dict[str, Tensor]:
    """Returns ``world_counts`` on the CPU; waits for the device."""
    return {name: count.cpu() for name, count in world_counts(world).items()}


def world_metrics(
    config: WorldConfig, before: dict[str, Tensor], now: dict[str, Tensor], agent_steps: int, realms: int
) -> dict[str, float]:
    """Returns ``economy_metrics``, with the full game, and ``system_metrics``; arguments as for these."""
    counted = (config, before, now, agent_steps, realms)
    return (economy_metrics(*counted) if config.extended else {}) | system_metrics(*counted)
