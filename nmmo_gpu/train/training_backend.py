"""Who runs the parts of training that have faster twins: plain torch, compiled loops, or kernels."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nmmo_gpu.train.features import encode_features
from nmmo_gpu.train.gae import advantages
from nmmo_gpu.train.layers import hidden_layers
from nmmo_gpu.train.metrics import count
from nmmo_gpu.train.window import window_embedding
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.random import draw


@dataclass(frozen=True)
class TrainingBackend:
    """One function per part; the defaults run anywhere."""

    draw: Callable[..., tuple[Tensor, ...]] = draw
    encode_inputs: Callable[..., Tensor] | None = None
    """The network's inputs as one matrix, where its product is faster than sums over what is not zero."""
    hidden_layers: Callable[..., Tensor] = hidden_layers
    window_embedding: Callable[..., Tensor] = window_embedding
    """Where there is no ``encode_inputs``, as ``encode_features``."""
    encode_features: Callable[..., tuple[Tensor, Tensor]] = encode_features
    advantages: Callable[..., Tensor] = advantages
    count: Callable[..., None] = count
    choose: Callable[..., Any] | None = None
    """All slots' choices in one call, for who can do it without asking the device who lives."""
    sample: Callable[..., tuple[Tensor, Tensor]] | None = None
    """The living's choices and their log-probability from unmasked logits, with the masks read from the
    records, for who can do it faster than torch."""
    evaluate: Callable[..., tuple[Tensor, Tensor]] | None = None
    """Log-probability and entropy of choices, likewise."""

    @property
    def static_shapes(self) -> bool:
        """Whether training is to be laid out so that nothing waits for the device or asks it for sizes: all
        slots take part, the empty ones masked, and steps can be captured in CUDA graphs."""
        return self.choose is not None


def training_backend(backend: Backend, extended: bool = False) -> TrainingBackend:
    """The parts that go with who runs the world's phases.

    ``extended``: the full game is played, whose many heads are worth compiled loops on a CPU."""
    parts: dict[str, Any] = {}
    if backend.name == "numba":
        loops = importlib.import_module("nmmo_gpu.cpu.train")
        parts = loops.TRAINING | (loops.TRAINING_EXTENDED if extended else {})
    elif backend.capturable:
        parts = importlib.import_module("nmmo_gpu.kernels").TRAINING
    return TrainingBackend(draw=backend.draw, **parts)
