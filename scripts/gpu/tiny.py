"""Worlds and networks small enough for Triton's interpreter, for dry runs without a GPU."""

from __future__ import annotations

import dataclasses

from nmmo_gpu.config import EnvConfig
from nmmo_gpu.train.config import TrainConfig


def tiny(config: TrainConfig) -> TrainConfig:
    """Returns the same run on a CPU with interpreted kernels, as small as possible."""
    return dataclasses.replace(
        config,
        env=tiny_env(config.env),
        policy=dataclasses.replace(config.policy, hidden=8, layers=min(config.policy.layers, 2)),
        ppo=dataclasses.replace(config.ppo, horizon=2, minibatches=1, epochs=1),
    )


def tiny_env(env: EnvConfig) -> EnvConfig:
    """Returns the same world on a CPU with interpreted kernels: one small realm."""
    slots = 16 if env.world.slots <= 128 else 40
    world = dataclasses.replace(env.world, height=40, width=40, slots=slots, populations=2)
    return dataclasses.replace(env, world=world, realms=1, device="cpu", backend="triton")
