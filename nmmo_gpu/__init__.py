"""nmmo-gpu: the GPU-resident Neural MMO."""

import os

# Idle OpenMP threads sleep instead of spinning. A tick is many short parallel loops; on a machine that has
# other things to do as well, spinning between them was measured to cost a factor of ten, while on an idle one
# sleeping costs a tenth to a third. Read once, when torch is loaded; a value set by the user is kept, so
# OMP_WAIT_POLICY=active gets the last bit out of a machine that does nothing else.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from nmmo_gpu.config import PRESETS, EnvConfig, WorldConfig, preset
from nmmo_gpu.env import Env, make, random_actions

__version__ = "0.2.0"
__all__ = ["PRESETS", "Env", "EnvConfig", "WorldConfig", "make", "preset", "random_actions"]
