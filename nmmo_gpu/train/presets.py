"""Training settings for each preset of rules."""

from __future__ import annotations

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.train.config import TrainConfig


def train_preset(name: str) -> TrainConfig:
    """Settings with which the named rules are learned; ConfigError for an unknown name.

    Those of ``law`` and ``chaos`` suit a laptop. ``million`` is one realm, of a million agents."""
    realms = 1 if name == "million" else 64
    return TrainConfig(env=EnvConfig(world=preset(name), realms=realms), run=f"runs/{name}")
