"""The configuration of worlds and environments, and the presets."""

from nmmo_gpu.config.env import EnvConfig, RewardFunction
from nmmo_gpu.config.presets import PRESETS, preset, replace
from nmmo_gpu.config.world import ALL_FREE_SLOTS, MAX_SIDE, MIN_SIDE, WorldConfig

__all__ = [
    "ALL_FREE_SLOTS", "MAX_SIDE", "MIN_SIDE", "PRESETS", "EnvConfig", "RewardFunction", "WorldConfig",
    "preset", "replace",
]  # fmt: skip
