"""Training settings for each preset of rules."""

from __future__ import annotations

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.train.config import TrainConfig


def train_preset(name: str) -> TrainConfig:
    """Settings with which the named rules are learned on a laptop; ConfigError for an unknown name."""
    return TrainConfig(env=EnvConfig(world=preset(name), realms=64), run=f"runs/{name}")
