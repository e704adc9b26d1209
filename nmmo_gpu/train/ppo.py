"""The PPO loss and its update, for all populations at once."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.train import distributed
from nmmo_gpu.train.config import PPOConfig
from nmmo_gpu.train.policy import Policy, Weights
from nmmo_gpu.train.rollout import Rollout, all_by_population, by_population, living_by_population
from nmmo_gpu.train.sampling import evaluate
from nmmo_gpu.train.training_backend import TrainingBackend
from nmmo_gpu.world.random import Stream

STATISTICS = ("policy_loss", "value_loss", "entropy", "kl", "clip_fraction")
"""What ``loss`` measures on the way, in this order."""


class ActionEvaluation(NamedTuple):
    """What the network says now about what was done, [P, B] float32 each."""

    log_probability: Tensor
    entropy: Tensor
    value: Tensor


def loss(
    evaluation: ActionEvaluation, old_log: Tensor, advantage: Tensor, returns: Tensor, real: Tensor,
    config: PPOConfig, count: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The clipped surrogate of PPO (Schulman et al. 2017, arXiv 1707.06347, equations 7 and 9).

    Args:
        evaluation: of the batch, by the network that learns.
        old_log: [P, B] float32, log probability of the actions when they were chosen.
        advantage: [P, B] float32.
        returns: [P, B] float32.
        real: [P, B] bool, false for filling.
        config: of the learner.
        count: [P], how many are real where the batch is a part of a larger one; by default as many as here.

    Returns:
        loss: [] float32, the sum over populations of each one's mean, so that none sees the others.
        statistics: [P, 5] float32, as ``STATISTICS`` names them, without gradient.
    """
    log_probability, entropy, value = evaluation
    change = torch.where(real, log_probability - old_log, 0.0)
    ratio = change.exp()
    surrogate = torch.minimum(ratio * advantage, ratio.clamp(1 - config.clip, 1 + config.clip) * advantage)
    weight = real / (real.sum(1) if count is None else count)[:, None].clamp(min=1)

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


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    rollout: Rollout,
    config: PPOConfig,
    training_backend: TrainingBackend,
    columns: int | None = None,
) -> dict[str, Tensor]:
    """Learns from one rollout, together with the other processes of the run, each from its own: what counts
    is the mean over the samples of all. With static shapes nothing in here waits for the device.

    Args:
        columns: of ``enough_columns``, where shapes are static and the policies have no memory; None for
            all there can be.

    Returns:
        per population ([P] float32): ``STATISTICS``, means over the minibatches, ``explained_variance``
            of the values, and ``grad_norm`` before clipping.
    """
    horizon = rollout.alive.shape[0]
    advantage = training_backend.advantages(
        rollout.reward, rollout.value[:horizon], rollout.died, rollout.value[horizon],
        config.gamma, config.gae_lambda,
    )  # fmt: skip
    returns = advantage + rollout.value[:horizon]
    world_config = policy.world_config
    batches: SampleBatches | SequenceBatches
    if policy.config.recurrent:
        batches = SequenceBatches(policy, rollout, training_backend)
    else:
        batches = SampleBatches(policy, rollout, training_backend, config.minibatches, columns)
    index, real = batches.index, batches.real
    explained = explained_variance(rollout.value[:horizon].view(-1)[index], returns.view(-1)[index], real)
    advantage = _normalised(advantage.view(-1), index, real)
    returns, old_log = returns.view(-1), rollout.log_probability.view(-1)

    totals = torch.zeros(world_config.populations, len(STATISTICS), device=advantage.device)
    norms = torch.zeros(world_config.populations, device=advantage.device)
    for epoch in range(config.epochs):
        order = shuffled(batches.columns, rollout, epoch, training_backend)
        # Which samples share a minibatch is random; within it, memory is best read in order.
        pieces = [piece.sort().values for piece in order.tensor_split(config.minibatches)]
        counts = torch.stack([batches.valid(piece).sum(1) for piece in pieces])
        distributed.all_reduce_sum([counts])
        for piece, count in zip(pieces, counts, strict=True):
            evaluation, rows, valid = batches.evaluate_actions(piece)
            total, statistics = loss(
                evaluation, old_log[rows], advantage[rows], returns[rows], valid, config, count
            )
            optimizer.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
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
"""Numbers of columns are multiples of this share of all, so that few graphs serve all updates."""


def most_living(rollout: Rollout, populations: int, slots: int) -> Tensor:
    """[] int64: samples that the population with most of them has in a rollout."""
    return rollout.alive.view(-1, populations, slots // populations).sum((0, 2)).max()


def enough_columns(living: int, samples: int, least: int) -> int:
    """Columns for ``living`` of up to ``samples`` samples, and ``least`` if there are as many: the next
    multiple of an eighth of all."""
    share = -(-samples // SHARES)
    return min(samples, max(least, -(-max(1, living) // share) * share))


def update_sizes(samples: int, least: int) -> list[int]:
    """All that ``enough_columns`` returns for up to ``samples`` samples."""
    return sorted({enough_columns(k * -(-samples // SHARES), samples, least) for k in range(1, SHARES + 1)})


def shuffled(columns: int, rollout: Rollout, epoch: int, training_backend: TrainingBackend) -> Tensor:
    """[columns] int64: the columns in random order, drawn from the world's seed and tick, so that a run is a
    function of its seed, with no dice to be kept."""
    index = torch.arange(columns, device=rollout.tick.device)
    words = training_backend.draw(
        rollout.seed, rollout.tick, Stream.SHUFFLE, torch.full_like(index, epoch), index
    )
    return ((words[0] << 31) | (words[1] >> 1)).argsort()


class SampleBatches:
    """Minibatches of single steps, for policies without memory."""

    def __init__(
        self,
        policy: Policy,
        rollout: Rollout,
        training_backend: TrainingBackend,
        least: int = 1,
        columns: int | None = None,
    ) -> None:
        """``least``: there are to be so many columns at least, and if they are filling. ``columns``: so many
        there are to be where shapes are static; None for one per slot and tick, whoever lives."""
        self.policy, self.training_backend = policy, training_backend
        self.records = rollout.records.view(-1, rollout.records.shape[-1])
        self.choices = rollout.choices.view(-1, rollout.choices.shape[-1])
        config = policy.world_config
        sizes = rollout.alive, config.populations, config.slots
        if not training_backend.static_shapes:
            self.index, self.real = by_population(*sizes, least)
        elif columns is None:
            self.index, self.real = all_by_population(*sizes)
        else:
            self.index, self.real = living_by_population(*sizes, columns)
        self.columns = self.index.shape[1]

    def valid(self, columns: Tensor) -> Tensor:
        """[P, B] bool: which samples of the chosen columns are real."""
        return self.real[:, columns]

    def evaluate_actions(self, columns: Tensor) -> tuple[ActionEvaluation, Tensor, Tensor]:
        """What the network says of the chosen columns, their rows in the rollout, and which are real."""
        rows, policy = self.index[:, columns], self.policy
        views, weights = policy.header_fields(self.records, rows), policy.weights()
        hidden, entities = policy.encode(self.records, rows, views, weights)
        return _evaluated(self, rows, views, hidden, entities, weights), rows, self.valid(columns)


class SequenceBatches:
    """Minibatches of whole slots over the horizon, for recurrent policies.

    Memory starts as it was in the rollout, and is wiped where the slot's agent changes."""

    def __init__(self, policy: Policy, rollout: Rollout, training_backend: TrainingBackend) -> None:
        assert rollout.state is not None, "a recurrent policy's rollout holds its memory"
        self.policy, self.training_backend = policy, training_backend
        horizon, agents = rollout.alive.shape
        self.rollout, self.horizon = rollout, horizon
        self.records = rollout.records.view(-1, rollout.records.shape[-1])
        self.choices = rollout.choices.view(-1, rollout.choices.shape[-1])
        config = policy.world_config
        self.slots, _ = all_by_population(rollout.alive[:1], config.populations, config.slots)
        self.columns = self.slots.shape[1]
        start = torch.arange(horizon, device=self.slots.device) * agents
        self.all_rows = self.slots[:, None, :] + start[:, None]  # [P, T, columns]
        self.index = self.all_rows.flatten(1)
        self.real = rollout.alive.view(-1)[self.index]

    def valid(self, columns: Tensor) -> Tensor:
        """[P, T * columns] bool: which samples of the chosen columns are real."""
        return self.rollout.alive.view(-1)[self.all_rows[:, :, columns]].flatten(1)

    def evaluate_actions(self, columns: Tensor) -> tuple[ActionEvaluation, Tensor, Tensor]:
        """As ``SampleBatches.evaluate_actions``; the rows are time-major, [P, T * columns]."""
        assert self.rollout.state is not None
        policy = self.policy
        rows = self.all_rows[:, :, columns]
        flat = rows.flatten(1)
        views, weights = policy.header_fields(self.records, flat), policy.weights()
        trunk, entities = policy.encode(self.records, flat, views, weights)
        trunk = trunk.view(*rows.shape, -1)
        alive = self.rollout.alive.view(-1)[rows]
        goes_on = (alive & ~self.rollout.died.view(-1)[rows])[..., None]
        memory = self.rollout.state[self.slots[:, columns]]
        hidden = []
        for t in range(self.horizon):
            memory = policy.remember(trunk[:, t], memory, weights)
            hidden.append(memory)
            memory = memory * goes_on[:, t]
        state = torch.stack(hidden, 1).flatten(1, 2)
        return _evaluated(self, flat, views, state, entities, weights), flat, alive.flatten(1)


def _evaluated(
    batches: SampleBatches | SequenceBatches, rows: Tensor, views: dict[str, Tensor], hidden: Tensor,
    entities: Tensor, weights: Weights,
) -> ActionEvaluation:  # fmt: skip
    policy = batches.policy
    if batches.training_backend.evaluate is None:
        output = policy.decide(views, hidden, entities, None, weights)
        return ActionEvaluation(*evaluate(output, batches.choices[rows].long()), output.value)
    logits = policy.logits(hidden, entities, weights)
    auto = policy.config.targeting == "auto"
    judged = batches.training_backend.evaluate(
        batches.records, rows, logits, batches.choices, policy.layout, auto
    )
    return ActionEvaluation(*judged, logits[..., -1])


def clip_per_population(policy: Policy, limit: float) -> Tensor:
    """Scales each population's gradient down to the limit; returns the norms before, [P]."""
    grads = [p.grad for p in policy.parameters() if p.grad is not None]
    norm = torch.stack([g.flatten(1).square().sum(1) for g in grads]).sum(0).sqrt()
    scale = (limit / (norm + 1e-6)).clamp(max=1.0)
    for g in grads:
        g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
    return norm


def explained_variance(value: Tensor, returns: Tensor, real: Tensor) -> Tensor:
    """1 - Var(returns - value) / Var(returns) over [P, B], per population; 0 where returns do not vary."""
    error, total = _moments(returns - value, real)[1], _moments(returns, real)[1]
    return torch.where(total > 0, 1 - error / total.clamp(min=1e-12), 0.0)


def _moments(values: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance, [P] each, of what is real in [P, B], over all processes."""
    count = real.sum(1)
    distributed.all_reduce_sum([count])
    weight = real / count[:, None].clamp(min=1)
    mean = (values * weight).sum(1)
    distributed.all_reduce_sum([mean])
    variance = ((values - mean[:, None]).square() * weight).sum(1)
    distributed.all_reduce_sum([variance])
    return mean, variance


def _normalised(advantage: Tensor, index: Tensor, real: Tensor) -> Tensor:
    """[rows]: zero mean and unit deviation within each population's real rows."""
    picked = advantage[index]
    mean, variance = (moment[:, None] for moment in _moments(picked, real))
    scaled = (picked - mean) / (variance.sqrt() + 1e-8)
    # What is not real goes to a row beyond the last, which is dropped.
    out = advantage.new_zeros(len(advantage) + 1)
    out[torch.where(real, index, len(advantage))] = scaled
    return out[:-1]
