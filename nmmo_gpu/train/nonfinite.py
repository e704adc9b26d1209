"""Weights that are NaN or infinite: found without waiting for the device, described, and never saved."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nmmo_gpu.errors import CheckpointError, NonFiniteError
from nmmo_gpu.files import replace_text
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.rollout import Rollout

if TYPE_CHECKING:
    from nmmo_gpu.train.run import IterationStats, Run

REPORT = "nonfinite.json"
"""Describes, in the run's folder, the iteration that made weights NaN or infinite."""
REMEDY = "lower learning_rate or max_grad_norm, or check the reward and the network"


def all_finite(tensors: Iterable[Tensor]) -> Tensor:
    """Returns [] bool, on the tensors' device: whether all their numbers are finite."""
    filled = [tensor.detach() for tensor in tensors if tensor.numel()]
    return torch.nn.utils.get_total_norm(filled, norm_type=math.inf).isfinite()


def first_bad_tick(rollout: Rollout) -> Tensor:
    """Returns [] int64, on the rollout's device: the first row (0 to T - 1) in which the reward, the value or
    the log probability of a living agent is NaN or infinite; T if all are finite."""
    horizon = len(rollout.alive)
    numbers = rollout.reward + rollout.value[:horizon] + rollout.log_probability
    bad = (rollout.alive & ~numbers.isfinite()).any(1)
    row = torch.arange(horizon, device=bad.device, dtype=torch.int64)
    return torch.where(bad, row, horizon).amin()


def refuse_nonfinite(tensors: dict[str, Tensor], where: str) -> None:
    """Raises NonFiniteError if floating-point tensors are not finite.

    Args:
        tensors: tensors by name.
        where: what is not done, for the message."""
    floats = {name: t for name, t in tensors.items() if t.is_floating_point() and t.numel()}
    bad = [name for name, tensor in floats.items() if not tensor.isfinite().all()]
    if bad:
        listed = ", ".join(bad[:5]) + (", ..." if len(bad) > 5 else "")
        raise NonFiniteError(f"{listed}: NaN or infinite; {where}. {REMEDY.capitalize()}.")


def nonfinite_error(run: Run, stats: IterationStats) -> NonFiniteError:
    """Describes an iteration that made weights NaN or infinite in ``REPORT``, and returns the error to raise.

    Args:
        run: the run, whose weights are still those, or what later updates made of them.
        stats: the iteration's statistics."""
    weights = {name: t.detach().cpu() for name, t in run.sword.policy.named_parameters()}
    bad = {name: ~tensor.isfinite() for name, tensor in weights.items() if not tensor.isfinite().all()}
    count = run.config.env.world.populations
    shared = run.sword.policy.shared_weights
    # Parameters that are not trained may have no dimension for populations.
    own = [wrong for wrong in bad.values() if not shared and wrong.dim() and wrong.shape[0] == count]
    populations = [p for p in range(count) if any(bool(wrong[p].any()) for wrong in own)]
    losses = {name: value.tolist() for name, value in stats.statistics.items()}
    nonfinite = [name for name, values in losses.items() if not all(map(math.isfinite, values))]
    first_tick = stats.last_tick - run.config.ppo.horizon + 1
    folder = Path(run.config.run)
    kept = None
    with contextlib.suppress(CheckpointError):
        kept = checkpoints.load(folder, torch.device("cpu"), policy_only=True).counters["iteration"]
    replay = run.resume_command(run.config.run)
    report = {
        "iteration": stats.iteration,
        "ticks": [first_tick, stats.last_tick],
        "first_nonfinite_tick": stats.first_bad_tick,
        "populations": populations,
        "weights": list(bad),
        "nonfinite_statistics": nonfinite,
        "statistics": {name: [str(value) for value in values] for name, values in losses.items()},
        "checkpoint_iteration": kept,
        "replay": None if kept is None else replay,
    }
    whose = f"population{'s' * (len(populations) > 1)} {', '.join(map(str, populations))}"
    message = (
        f"the update of iteration {stats.iteration} (ticks {first_tick} to {stats.last_tick}) made weights "
        f"NaN or infinite, of {'all populations' if shared else whose}; "
        f"not finite: {', '.join(nonfinite) or 'no loss'}"
    )
    if stats.first_bad_tick is not None:
        message += f"; rewards, values or log probabilities already at tick {stats.first_bad_tick}"
    message += f". {REMEDY.capitalize()}."
    if kept is not None:
        message += f" The checkpoint of iteration {kept} is kept; to repeat this: {replay}."
    try:
        replace_text(folder / REPORT, json.dumps(report, indent=2) + "\n")
        message += f" Details are in {folder / REPORT}."
    except OSError as error:
        message += f" Details could not be written ({error.strerror})."
    return NonFiniteError(message)
