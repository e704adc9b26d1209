"""Storage for rollouts, and the grouping of samples by population."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.world.observation_layout import ObservationLayout


@dataclass
class Rollout:
    """T ticks of N = realms * slots agents. Allocated once and overwritten in each iteration."""

    records: Tensor
    """[T + 1, R, A, bytes] uint8: observations before each step and after the last."""
    alive: Tensor
    """[T, N] bool: whether a living agent acted in the slot."""
    choices: Tensor
    """[T, N, heads] int16: choice of each head."""
    log_probability: Tensor
    """[T, N] float32: log probability of all choices together."""
    value: Tensor
    """[T + 1, N] float32: value estimates of the observations."""
    reward: Tensor
    """[T, N] float32: rewards times 1 - gamma."""
    died: Tensor
    """[T, N] bool: whether the agent died in the step."""
    seed: Tensor
    """[2] int64: the world's seed."""
    tick: Tensor
    """[1] int64: the world's tick after the last step."""
    state: Tensor | None
    """[N, hidden]: recurrent state before the first step; None if the policy is not recurrent."""

    @staticmethod
    def allocate(
        layout: ObservationLayout, horizon: int, realms: int, slots: int, device: torch.device, heads: int = 3
    ) -> Rollout:
        """Allocates a rollout of zeros.

        Args:
            layout: layout of the observation records.
            horizon: number of ticks T.
            realms: number of realms.
            slots: slots per realm.
            device: device of the tensors.
            heads: number of heads of an action (``nmmo_gpu.world.actions.action_heads``)."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        agents = realms * slots
        return Rollout(
            records=layout.allocate(horizon + 1, realms, slots, device=device),
            alive=zeros(horizon, agents, dtype=torch.bool),
            choices=zeros(horizon, agents, heads, dtype=torch.int16),
            log_probability=zeros(horizon, agents),
            value=zeros(horizon + 1, agents),
            reward=zeros(horizon, agents),
            died=zeros(horizon, agents, dtype=torch.bool),
            seed=zeros(2, dtype=torch.int64),
            tick=zeros(1, dtype=torch.int64),
            state=None,
        )


def by_population(alive: Tensor, populations: int, slots: int, min_width: int = 1) -> tuple[Tensor, Tensor]:
    """Groups the samples of living agents by population, padded to equal length.

    Args:
        alive: [T, R * slots] bool.
        populations: number of populations P.
        slots: slots per realm.
        min_width: minimum length of the rows.

    Returns:
        index: [P, B] int64 into the flattened [T * R * slots]; B is the largest number of samples of a
            population (at least ``min_width``). Shorter rows are padded with the population's first slot.
        real: [P, B] bool, false for padding.
    """
    size = slots // populations
    grouped = alive.view(-1, populations, size).transpose(0, 1).reshape(populations, -1)
    count = grouped.sum(1)
    width = max(min_width, int(count.max()))
    population, place = grouped.nonzero(as_tuple=True)
    number = torch.arange(len(population), device=alive.device, dtype=torch.int64)
    column = number - (count.cumsum(0) - count)[population]
    first = torch.arange(populations, device=alive.device, dtype=torch.int64) * size
    index = first[:, None].repeat(1, width)
    index[population, column] = place // size * slots + population * size + place % size
    real = torch.arange(width, device=alive.device, dtype=torch.int64) < count[:, None]
    return index, real


def living_by_population(alive: Tensor, populations: int, slots: int, columns: int) -> tuple[Tensor, Tensor]:
    """Like ``by_population``, with rows of a given length, which avoids a sync with the device.

    Args:
        alive: [T, R * slots] bool.
        populations: number of populations P.
        slots: slots per realm.
        columns: length of the rows, at least the largest number of samples of a population.

    Returns:
        index: [P, columns] int64.
        real: [P, columns] bool, false for padding."""
    index, living = all_by_population(alive, populations, slots)
    place = living.cumsum(1)
    # Samples of empty slots are written to an extra last column, which is dropped.
    column = torch.where(living, place - 1, columns)
    first = torch.arange(populations, device=alive.device, dtype=torch.int64) * (slots // populations)
    out = first[:, None].repeat(1, columns + 1).scatter_(1, column, index)[:, :columns].contiguous()
    return out, torch.arange(columns, device=alive.device, dtype=torch.int64) < place[:, -1:]


def living_first(alive: Tensor, populations: int, columns: int) -> Tensor:
    """Groups the slots of a tick by population, those of living agents first, without a sync with the device.

    Args:
        alive: [R, A] bool.
        populations: number of populations P.
        columns: length of the rows, at most R * A / P.

    Returns:
        [P, columns] int64 into the flattened [R * A]: the first slots of each population, each at most once;
            first those of living agents, in ascending order, then empty ones, likewise. Living agents are
            missing if a population has more than ``columns``."""
    slots = alive.shape[1]
    index, living = all_by_population(alive.reshape(1, -1), populations, slots)
    rank = living.cumsum(1)  # number of living agents up to and including each slot
    number = torch.arange(index.shape[1], device=alive.device, dtype=torch.int64)
    column = torch.where(living, rank - 1, rank[:, -1:] + number - rank)
    return torch.empty_like(index).scatter_(1, column, index)[:, :columns].contiguous()


def all_by_population(alive: Tensor, populations: int, slots: int) -> tuple[Tensor, Tensor]:
    """Like ``by_population``, with the samples of empty slots included.

    The shapes do not depend on data, which avoids a sync with the device.

    Args:
        alive: [T, R * slots] bool.
        populations: number of populations P.
        slots: slots per realm.

    Returns:
        index: [P, B] int64, a permutation of all T * R * slots rows.
        real: [P, B] bool, true for living agents."""
    rows = torch.arange(alive.numel(), device=alive.device, dtype=torch.int64)
    # With populations of one slot, reshape would return a view, but kernels need contiguous rows.
    grouped = rows.view(-1, populations, slots // populations).transpose(0, 1).contiguous()
    index = grouped.view(populations, -1)
    return index, alive.view(-1)[index]
