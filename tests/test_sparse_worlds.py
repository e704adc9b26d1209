"""Worlds with one of everything or with none of it, with every feature of the package.

A statistic that is not defined, such as the mean lifetime without a death, is left out or 0, never NaN."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from train.small import CPU, FULL, small

from nmmo_gpu import scripted
from nmmo_gpu.cli import main as cli
from nmmo_gpu.config.serialize import to_plain
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import evaluate as evaluation
from nmmo_gpu.train import run as runs
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.run import Run
from nmmo_gpu.world.state import World

SHORT = {"max_food": 2, "max_water": 2, "max_health": 2, "forage": 0}
"""Lives of a few ticks."""
STATES: dict[str, dict[str, Any]] = {
    "one realm": {"realms": 1},
    "one slot": {"realms": 1, "slots": 1, "populations": 1, **SHORT},
    "one population": {"populations": 1},
    "no births": {"births": 0},
    "no births, full game": {**FULL, "births": 0},
    "no NPCs": {**FULL, "npcs": False, "npc_numbers": ()},
    "zero NPCs": {**FULL, "npc_numbers": (0, 0, 0)},
    "empty market": {**FULL, "works": (), "npcs": False, "npc_numbers": (), "birth_gold": 0},
    "died out": {**SHORT, "births": 4},
    "died out, full game": {**FULL, **SHORT, "births": 4},
}
