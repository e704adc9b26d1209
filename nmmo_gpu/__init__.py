"""nmmo-gpu: the GPU-resident Neural MMO."""

import importlib
import os
from typing import TYPE_CHECKING, Any

# Idle OpenMP threads sleep instead of spinning. A tick is many short parallel loops; on a machine that has
# other things to do as well, spinning between them was measured to cost a factor of ten, while on an idle one
# sleeping costs a tenth to a third. Read once, when torch is loaded; a value set by the user is kept, so
# OMP_WAIT_POLICY=active gets the last bit out of a machine that does nothing else.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from nmmo_gpu.config import PRESETS, EnvConfig, WorldConfig, preset
from nmmo_gpu.env import Env, make, random_actions
from nmmo_gpu.mixed import Mixed

if TYPE_CHECKING:
    from nmmo_gpu.train.trained_policy import TrainedPolicy, load_policy

__version__ = "0.2.0"
__all__ = [
    "PRESETS", "Env", "EnvConfig", "Mixed", "TrainedPolicy", "WorldConfig", "load_policy", "make", "preset",
    "random_actions",
]  # fmt: skip

_LAZY = {"TrainedPolicy": "nmmo_gpu.train.trained_policy", "load_policy": "nmmo_gpu.train.trained_policy"}
"""Names that are imported when they are first used, as the trainer takes time to import."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
