"""The PPO loss and update, for all populations at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.train import distributed
from nmmo_gpu.train.config import PPOConfig
from nmmo_gpu.train.output import Output
from nmmo_gpu.train.policy_base import PolicyBase, sequence_rows
from nmmo_gpu.train.rollout import Rollout, all_by_population, by_population, living_by_population
from nmmo_gpu.train.sampling import evaluate
from nmmo_gpu.train.training_backend import TrainingBackend
from nmmo_gpu.world.random import Stream

STATISTICS = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")
"""Statistics returned by ``loss``, in this order."""


class ActionEvaluation(NamedTuple):
    """The current network's evaluation of the actions taken, [P, B] float32 each."""

    log_probability: Tensor
    entropy: Tensor
    value: Tensor


def loss(
    evaluation: ActionEvaluation, old_log: Tensor, advantage: Tensor, returns: Tensor, real: Tensor,
    config: PPOConfig, count: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Computes the clipped surrogate loss of PPO (Schulman et al. 2017, arXiv 1707.06347, equations 7 and 9).

    Args:
        evaluation: evaluation of the batch by the current network.
        old_log: [P, B] float32, log probability of the actions when they were chosen.
        advantage: [P, B] float32.
        returns: [P, B] float32.
        real: [P, B] bool, false for padding.
        config: settings of the learner.
        count: [P], number of real samples in the whole batch if this is a part of it; by default those in
            ``real``.

    Returns:
        loss: [] float32, the sum of the populations' means, so that populations with weights of their own
            have independent gradients. ``update`` divides it by P if populations share weights.
        statistics: [P, 5] float32, in the order of ``STATISTICS``, without gradient.
    """
    log_probability, entropy, value = evaluation
    change = torch.where(real, log_probability - old_log, 0.0)
    ratio = change.exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - config.clip, 1 + config.clip) * advantage)
    weight = real.float() / (real.sum(1) if count is None else count)[:, None].clamp(min=1)

    def mean(values: Tensor) -> Tensor:
        return (values * weight).sum(1)

    policy_loss = -mean(surrogate)
    value_loss = mean((value - returns).square())
    bonus = mean(entropy)
    total = policy_loss + config.value_weight * value_loss - config.entropy_weight * bonus
    with torch.no_grad():
        kl = mean(ratio - 1 - change)  # Schulman's k3 estimator: unbiased, and never negative
        clipped = mean(((ratio - 1).abs() > config.clip).float())
        statistics = torch.stack((policy_loss, value_loss, bonus, kl, clipped), 1)
    return total.sum(), statistics


DEFAULT_LOSS = loss


def update(
    policy: PolicyBase,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    training_backend: TrainingBackend,
    columns: int | None = None,
    loss: Callable[..., tuple[Tensor, Tensor]] = loss,
) -> dict[str, Tensor]:
    """Updates the policies with one rollout.

    All processes of a run call this together, each with its own rollout; losses are means over the samples of
    all processes. With static shapes, nothing here waits for the device.

    Args:
        policy: the policies.
        optimizer: optimizer of their weights.
        rollout: the experience of this process.
        config: settings of the learner.
        training_backend: implementations of the parts.
        columns: number of columns from ``enough_columns``, used with static shapes and policies that are not
            recurrent; None for all slots and ticks.
        loss: the function ``loss`` of this module, or one with the same arguments and results.

    Returns:
        Per population ([P] float32): ``STATISTICS`` as means over the minibatches, ``explained_variance`` of
            the values, and ``grad_norm`` before clipping.
    """
    if loss is DEFAULT_LOSS and training_backend.loss is not None:
        loss = training_backend.loss
    horizon = rollout.alive.shape[0]
    advantage = training_backend.advantages(
        rollout.reward, rollout.value[:horizon], rollout.died, rollout.value[horizon],
        config.gamma, config.gae_lambda,
    )  # fmt: skip
    returns = advantage + rollout.value[:horizon]
    world_config = policy.world_config
    batches: SampleBatches | SequenceBatches
    if policy.recurrent:
        batches = SequenceBatches(policy, rollout, training_backend)
    else:
        batches = SampleBatches(policy, rollout, training_backend, config.minibatches, columns)
    index, real = batches.index, batches.real
    explained = explained_variance(rollout.value[:horizon].view(-1)[index], returns.view(-1)[index], real)
    advantage = _normalized(advantage.view(-1), index, real)
    returns, old_log = returns.view(-1), rollout.log_probability.view(-1)

    totals = torch.zeros(
        world_config.populations, len(STATISTICS), device=advantage.device, dtype=torch.float32
    )
    norms = torch.zeros(world_config.populations, device=advantage.device, dtype=torch.float32)
    for epoch in range(config.epochs):
        order = shuffled(batches.columns, rollout, epoch, training_backend)
        pieces = split(order, config.minibatches)
        counts = torch.stack([valid.sum(1) for valid in batches.valid_of(pieces)])
        distributed.all_reduce_sum([counts])
        for piece, count in zip(pieces, counts, strict=True):
            evaluation, rows, valid = batches.evaluate_actions(piece)
            total, statistics = loss(
                evaluation, old_log[rows], advantage[rows], returns[rows], valid, config, count
            )
            if policy.shared_weights:
                total = total / world_config.populations
            optimizer.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            _fill_gradients(policy)
            distributed.all_reduce_sum(p.grad for p in policy.parameters() if p.grad is not None)
            norm = clip_per_population(policy, config.max_grad_norm)
            optimizer.step()
            totals += statistics
            norms += norm
    distributed.all_reduce_sum([totals])
    steps = config.epochs * config.minibatches
    result = dict(zip(STATISTICS, (totals / steps).unbind(1), strict=True))
    result["grad_norm"] = norms / steps
    result["explained_variance"] = explained
    return result


SHARES = 8
"""The number of columns is a multiple of 1 / ``SHARES`` of all samples, so that a few graphs are enough."""


def most_living(rollout: Rollout, populations: int, slots: int) -> Tensor:
    """Returns the largest number of samples of a population in a rollout, [] int64."""
    return rollout.alive.view(-1, populations, slots // populations).sum((0, 2)).max()


def enough_columns(living: int, samples: int, min_columns: int) -> int:
    """Returns a number of columns for ``living`` samples, rounded up to a multiple of 1 / ``SHARES`` of all.

    Args:
        living: largest number of samples of a population.
        samples: maximum number of samples of a population, the upper limit of the result.
        min_columns: minimum number of columns."""
    share = -(-samples // SHARES)
    return min(samples, max(min_columns, -(-max(1, living) // share) * share))


def update_sizes(samples: int, min_columns: int) -> list[int]:
    """Returns all possible results of ``enough_columns``, sorted."""
    return sorted(
        {enough_columns(k * -(-samples // SHARES), samples, min_columns) for k in range(1, SHARES + 1)}
    )


def shuffled(columns: int, rollout: Rollout, epoch: int, training_backend: TrainingBackend) -> Tensor:
    """Returns a random permutation of the columns, [columns] int64.

    It is drawn from the world's seed and tick, so a run is a function of its seed, without the state of a
    generator."""
    index = torch.arange(columns, device=rollout.tick.device, dtype=torch.int64)
    words = training_backend.draw(
        rollout.seed, rollout.tick, Stream.SHUFFLE, torch.full_like(index, epoch), index
    )
    return ((words[0] << 31) | (words[1] >> 1)).argsort()


def split(order: Tensor, minibatches: int) -> tuple[Tensor, ...]:
    """Splits [columns] into minibatches whose sizes differ by at most 1, and sorts each, because reading in
    order is faster."""
    if len(order) % minibatches == 0:
        return order.view(minibatches, -1).sort(1).values.unbind(0)
    return tuple(piece.sort().values for piece in order.tensor_split(minibatches))


class SampleBatches:
    """Minibatches of single steps, for policies that are not recurrent."""

    def __init__(
        self,
        policy: PolicyBase,
        rollout: Rollout,
        training_backend: TrainingBackend,
        min_columns: int = 1,
        columns: int | None = None,
    ) -> None:
        """Prepares the columns.

        Args:
            policy: the policies.
            rollout: the samples.
            training_backend: implementations of the parts.
            min_columns: minimum number of columns; missing samples are padded.
            columns: number of columns with static shapes; None for one per slot and tick."""
        self.policy, self.training_backend = policy, training_backend
        self.records = rollout.records.view(-1, rollout.records.shape[-1])
        self.choices = rollout.choices.view(-1, rollout.choices.shape[-1])
        config = policy.world_config
        sizes = rollout.alive, config.populations, config.slots
        if not training_backend.static_shapes:
            self.index, self.real = by_population(*sizes, min_columns)
        elif columns is None:
            self.index, self.real = all_by_population(*sizes)
        else:
            self.index, self.real = living_by_population(*sizes, columns)
        self.columns = self.index.shape[1]

    def valid(self, columns: Tensor) -> Tensor:
        """Returns [P, B] bool: which samples of the given columns are real."""
        return self.real[:, columns]

    def valid_of(self, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns ``valid`` of several tensors of columns."""
        return torch.split(self.valid(torch.cat(tuple(pieces))), [len(piece) for piece in pieces], 1)

    def evaluate_actions(self, columns: Tensor) -> tuple[ActionEvaluation, Tensor, Tensor]:
        """Returns the evaluation of the given columns, their rows in the rollout, and which are real."""
        rows, policy = self.index[:, columns], self.policy
        outputs: Output | Tensor
        if self.training_backend.evaluate is None:
            outputs = policy(self.records, rows)
        else:
            outputs, _ = policy.unmasked(self.records, rows, None)
        return _evaluated(self, rows, outputs), rows, self.valid(columns)


class SequenceBatches:
    """Minibatches of whole slots over the horizon, for recurrent policies.

    The recurrent state starts as in the rollout, and is set to zero where the agent of a slot changes."""

    def __init__(self, policy: PolicyBase, rollout: Rollout, training_backend: TrainingBackend) -> None:
        assert rollout.state is not None, "the rollout of a recurrent policy holds its state"
        self.policy, self.training_backend = policy, training_backend
        horizon, agents = rollout.alive.shape
        self.rollout, self.horizon = rollout, horizon
        self.records = rollout.records.view(-1, rollout.records.shape[-1])
        self.choices = rollout.choices.view(-1, rollout.choices.shape[-1])
        config = policy.world_config
        self.slots, _ = all_by_population(rollout.alive[:1], config.populations, config.slots)
        self.columns = self.slots.shape[1]
        self.all_rows = sequence_rows(self.slots, horizon, agents)  # [P, T, columns]
        self.index = self.all_rows.flatten(1)
        self.real = rollout.alive.view(-1)[self.index]

    def valid(self, columns: Tensor) -> Tensor:
        """Returns [P, T * columns] bool: which samples of the given columns are real."""
        return self.rollout.alive.view(-1)[self.all_rows[:, :, columns]].flatten(1)

    def valid_of(self, pieces: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Returns ``valid`` of several tensors of columns."""
        return tuple(map(self.valid, pieces))

    def evaluate_actions(self, columns: Tensor) -> tuple[ActionEvaluation, Tensor, Tensor]:
        """Like ``SampleBatches.evaluate_actions``; the rows are time-major, [P, T * columns]."""
        assert self.rollout.state is not None
        policy, rollout = self.policy, self.rollout
        rows = self.all_rows[:, :, columns]
        slots = self.slots[:, columns]
        alive = rollout.alive.view(-1)[rows]
        survived = (alive & ~rollout.died.view(-1)[rows])[..., None]
        records = rollout.records.flatten(1, 2)
        masks_here = self.training_backend.evaluate is None
        look = policy.forward_sequence if masks_here else policy.unmasked_sequence
        outputs = look(records, slots, self.rollout.state[slots], survived)
        rows = rows.flatten(1)
        return _evaluated(self, rows, outputs), rows, alive.flatten(1)


def _evaluated(
    batches: SampleBatches | SequenceBatches, rows: Tensor, outputs: Output | Tensor
) -> ActionEvaluation:
    """Evaluates the choices in some rows, from the policy's ``Output`` or unmasked logits."""
    if isinstance(outputs, Output):
        return ActionEvaluation(*evaluate(outputs, batches.choices[rows].long()), outputs.value)
    assert batches.training_backend.evaluate is not None, "logits are for a backend that evaluates them"
    judged = batches.training_backend.evaluate(
        batches.records, rows, outputs, batches.choices, batches.policy.layout,
        batches.policy.config.targeting == "auto",
    )  # fmt: skip
    return ActionEvaluation(*judged, outputs[..., -1])


def clip_per_population(policy: PolicyBase, limit: float) -> Tensor:
    """Clips the norm of each population's gradient to ``limit``; returns the norms before clipping, [P].

    If populations share weights, there is one norm, that of the whole gradient, repeated."""
    grads = [p.grad for p in policy.parameters() if p.grad is not None]
    if policy.shared_weights:
        norm = torch.stack([g.square().sum() for g in grads]).sum().sqrt()
        for g in grads:
            g.mul_((limit / (norm + 1e-6)).clamp(max=1.0))
        return norm.expand(policy.world_config.populations)
    norm = norms_per_population(grads)
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
    return norm


def norms_per_population(grads: list[Tensor]) -> Tensor:
    """Returns the norms [P] of each population's part of the gradients [P, ...]."""
    if grads[0].is_cpu:
        return torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()
    return fused_norms(grads)


def fused_norms(grads: list[Tensor]) -> Tensor:
    """Does the same as ``norms_per_population`` in few operations."""
    parts = [part for g in grads for part in g.unbind(0)]
    norms = torch.stack(list(torch._foreach_norm(parts)))
    total: Tensor = torch.linalg.vector_norm(norms.view(len(grads), -1), dim=0)
    return total


def _fill_gradients(policy: PolicyBase) -> None:
    """Gives trainable parameters that the loss does not depend on a gradient of zeros, so that Adam has a
    state for each of them, which checkpoints expect, and processes reduce the same gradients."""
    for parameter in policy.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)


def explained_variance(value: Tensor, returns: Tensor, real: Tensor) -> Tensor:
    """Returns 1 - Var(returns - value) / Var(returns) over [P, B], [P]; 0 where the returns do not vary."""
    error, total = _moments(returns - value, real)[1], _moments(returns, real)[1]
    return torch.where(total > 0, 1 - error / total.clamp(min=1e-12), 0.0)


def _moments(values: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and variance, [P] each, of the real samples in [P, B], over all processes."""
    count = real.sum(1)
    distributed.all_reduce_sum([count])
    weight = real.float() / count[:, None].clamp(min=1)
    mean = (values * weight).sum(1)
    distributed.all_reduce_sum([mean])
    variance = ((values - mean[:, None]).square() * weight).sum(1)
    distributed.all_reduce_sum([variance])
    return mean, variance


def _normalized(advantage: Tensor, index: Tensor, real: Tensor) -> Tensor:
    """Returns [rows]: advantages, scaled to mean 0 and deviation 1 over each population's real rows."""
    picked = advantage[index]
    mean, variance = (moment[:, None] for moment in _moments(picked, real))
    scaled = (picked - mean) / (variance.sqrt() + 1e-8)
    # Padding goes to an extra last row, which is dropped.
    out = advantage.new_zeros(len(advantage) + 1)
    out[torch.where(real, index, len(advantage))] = scaled
    return out[:-1]
