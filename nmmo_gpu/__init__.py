"""nmmo-gpu: the GPU-resident Neural MMO."""

from nmmo_gpu.config import PRESETS, EnvConfig, WorldConfig, preset
from nmmo_gpu.env import Env, make, random_actions

__version__ = "0.1.0"
__all__ = ["PRESETS", "Env", "EnvConfig", "WorldConfig", "make", "preset", "random_actions"]
