"""Selects the implementation of each part of training: plain torch, compiled loops, or kernels."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.train.features import encode_features
from nmmo_gpu.train.gae import advantages
from nmmo_gpu.train.layers import hidden_layers
from nmmo_gpu.train.metrics import count
from nmmo_gpu.train.rollout import living_first
from nmmo_gpu.train.sampling import choose_all
from nmmo_gpu.train.window import window_embedding
from nmmo_gpu.world.backend import Backend
from nmmo_gpu.world.random import draw


@dataclass(frozen=True)
class TrainingBackend:
    """One function per part; the defaults run on any device."""

    draw: Callable[..., tuple[Tensor, ...]] = draw
    encode_inputs: Callable[..., Tensor] | None = None
    """Encodes the network's inputs as one matrix; None if sums over the non-zero inputs are faster."""
    hidden_layers: Callable[..., Tensor] = hidden_layers
    window_embedding: Callable[..., Tensor] = window_embedding
    """Used if ``encode_inputs`` is None, as is ``encode_features``."""
    encode_features: Callable[..., tuple[Tensor, Tensor]] = encode_features
    gather_sum: Callable[..., list[Tensor]] | None = None
    """Gathers the network's matrices from its parameters; None to make them by operations of torch."""
    advantages: Callable[..., Tensor] = advantages
    count: Callable[..., None] = count
    living_first: Callable[..., Tensor] = living_first
    """Groups slots by population, those of living agents first; used with static shapes."""
    choose: Callable[..., Any] | None = None
    """Samples the choices of all slots in one call, without a sync; None if there is no such function."""
    sample: Callable[..., tuple[Tensor, Tensor]] | None = None
    """Samples the choices of living agents from unmasked logits, with the masks read from the records, and
    returns them with their log probability; None to use torch."""
    evaluate: Callable[..., tuple[Tensor, Tensor]] | None = None
    """Returns log probability and entropy of choices, from the same inputs; None to use torch."""
    loss: Callable[..., tuple[Tensor, Tensor]] | None = None
    """Used in place of ``nmmo_gpu.train.ppo.loss``; None to use that."""

    @property
    def static_shapes(self) -> bool:
        """Whether training uses shapes that do not depend on data: empty slots are computed too, and masked,
        so nothing waits for the device within a rollout or an update, and CUDA graphs can capture them."""
        return self.choose is not None


def training_backend(backend: Backend, config: WorldConfig | None = None) -> TrainingBackend:
    """Returns the training functions that match the backend of the world.

    Args:
        backend: implementation of the world's phases.
        config: rules of the world, by default those of ``chaos``. Only the many heads of the full game are
            faster as compiled loops on a CPU. Heads of systems are sampled and evaluated in torch."""
    extended = config is not None and config.extended
    parts: dict[str, Any] = {}
    if backend.name == "numba":
        loops = importlib.import_module("nmmo_gpu.cpu.train")
        parts = loops.TRAINING | (loops.TRAINING_EXTENDED if extended else {})
    elif backend.capturable:
        parts = dict(importlib.import_module("nmmo_gpu.kernels.train").TRAINING)
    if config is not None and any(system.actions(config) for system in config.systems):
        static = parts.pop("choose", None) is not None
        parts = {name: part for name, part in parts.items() if name not in ("sample", "evaluate")}
        if static:
            parts["choose"] = functools.partial(choose_all, backend.draw)
    return TrainingBackend(draw=backend.draw, **parts)
