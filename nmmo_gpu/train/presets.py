"""Training settings for each preset of rules."""

from __future__ import annotations

import dataclasses
from typing import Any

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig

SCALES = ("laptop", "gpu")
"""Sizes of batch and network."""

REWARD_TERMS: dict[str, dict[str, Any]] = {
    # Levels more than experience: a second skill's first levels are cheap, so it pays to learn many trades.
    # Gold is worth having, so what one makes and another needs finds a price. Nothing is paid for trading.
    "full": {"reward_experience": 0.02, "reward_level": 5.0, "reward_gold": 0.02},
}
"""What training pays beyond staying alive."""


def train_preset(name: str, scale: str = "laptop") -> TrainConfig:
    """Settings with which the named rules are learned; ConfigError for an unknown name.

    Args:
        scale: "laptop", a network of 35,000 weights per population and 64 realms; "gpu", one of 535,000 that
            computes in bf16, and 2048 realms. ``million`` is one realm of a million agents on either.
    """
    if scale not in SCALES:
        raise ConfigError(f"scale = {scale!r} is unknown; choose one of {', '.join(SCALES)}.")
    realms = {"laptop": 64, "gpu": 2048}[scale] if name != "million" else 1
    # Where some of those in reach are harmless and others not, whom to attack is the question.
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
