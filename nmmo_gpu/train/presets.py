"""Training settings for each preset of the rules."""

from __future__ import annotations

import dataclasses
from typing import Any

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig

SCALES = ("laptop", "gpu")
"""Sizes of batch and network."""

REWARD_TERMS: dict[str, dict[str, Any]] = {
    # Levels weigh more than experience. The first levels of a skill are cheap, so it pays to learn many.
    # Gold is rewarded so that goods that one agent makes and another needs get a price. Trading is not.
    "full": {"reward_experience": 0.02, "reward_level": 5.0, "reward_gold": 0.02},
}
"""Rewards in addition to that for staying alive, by preset."""


def train_preset(name: str, scale: str = "laptop") -> TrainConfig:
    """Returns the training settings of a preset.

    Args:
        name: name of the preset.
        scale: "laptop": a network of 35,000 weights per population, 64 realms; "gpu": 535,000 weights,
            computed in bf16, 2048 realms. ``million`` is one realm of a million agents at either scale.

    Raises ConfigError if the name or scale is unknown."""
    if scale not in SCALES:
        raise ConfigError(f"scale = {scale!r} is unknown; choose one of {', '.join(SCALES)}.")
    realms = {"laptop": 64, "gpu": 2048}[scale] if name != "million" else 1
    # In the full game some entities in reach are harmless and others are not, so the target matters.
    policy = PolicyConfig(targeting="learned" if name == "full" else "auto")
    env = dataclasses.replace(EnvConfig(world=preset(name), realms=realms), **REWARD_TERMS.get(name, {}))
    config = TrainConfig(env=env, policy=policy, run=f"runs/{name}")
    if scale == "laptop":
        return config
    return dataclasses.replace(
        config,
        policy=dataclasses.replace(policy, hidden=512, layers=4, precision="bf16"),
        ppo=PPOConfig(epochs=1, minibatches=32, learning_rate=1e-3, final_learning_rate=1e-4),
    )
