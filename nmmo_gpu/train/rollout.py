"""What the learner learns from: T ticks of every slot, in one place."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from nmmo_gpu.world.layout import ObservationLayout


@dataclass
class Rollout:
    """T ticks x N = realms * slots. Allocated once, and written over in each iteration."""

    records: Tensor
    """[T + 1, R, A, bytes] uint8: what was seen before each step, and after the last."""
    alive: Tensor
    """[T, N] bool: somebody lived in the slot, and acted."""
    choices: Tensor
    """[T, N, heads] int16: what each head chose."""
    log_probability: Tensor
    """[T, N] float32, of the joint choice."""
    value: Tensor
    """[T + 1, N] float32: the policy's estimates."""
    reward: Tensor
    """[T, N] float32, times 1 - gamma."""
    died: Tensor
    """[T, N] bool."""
    seed: Tensor
    """[2] int64: the world's."""
    tick: Tensor
    """[1] int64: the world's after the last step."""
    state: Tensor | None
    """[N, hidden] memory before the first step; None without recurrence."""

    @staticmethod
    def allocate(
        layout: ObservationLayout, horizon: int, realms: int, slots: int, device: torch.device, heads: int = 3
    ) -> Rollout:
        """An empty rollout; ``heads``: how many an action has (``nmmo_gpu.world.actions.action_heads``)."""

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


def by_population(alive: Tensor, populations: int, slots: int, least: int = 1) -> tuple[Tensor, Tensor]:
    """The living, as rows of equal length, one per population.

    Args:
        alive: [T, R * slots] bool. least: how long rows are at least.

    Returns:
        index: [P, B] int64 into the flattened [T * R * slots]; B is the largest population's number of
            living (at least ``least``). Shorter rows are filled up with the population's first slot.
        real: [P, B] bool: false for the filling.
    """
    size = slots // populations
    grouped = alive.view(-1, populations, size).transpose(0, 1).reshape(populations, -1)
    count = grouped.sum(1)
    width = max(least, int(count.max()))
    population, place = grouped.nonzero(as_tuple=True)
    column = torch.arange(len(population), device=alive.device) - (count.cumsum(0) - count)[population]
    index = (torch.arange(populations, device=alive.device) * size)[:, None].repeat(1, width)
    index[population, column] = place // size * slots + population * size + place % size
    real = torch.arange(width, device=alive.device) < count[:, None]
    return index, real


def living_by_population(alive: Tensor, populations: int, slots: int, columns: int) -> tuple[Tensor, Tensor]:
    """``by_population`` with rows of a length that is known before, so that the device need not be asked.

    Args:
        columns: at least as many as the largest population has living.

    Returns:
        index: [P, columns] int64. real: [P, columns] bool."""
    index, living = all_by_population(alive, populations, slots)
    place = living.cumsum(1)
    # The dead are written to one more column, which is cut off.
    column = torch.where(living, place - 1, columns)
    first = torch.arange(populations, device=alive.device) * (slots // populations)
    out = first[:, None].repeat(1, columns + 1).scatter_(1, column, index)[:, :columns].contiguous()
    return out, torch.arange(columns, device=alive.device) < place[:, -1:]


def all_by_population(alive: Tensor, populations: int, slots: int) -> tuple[Tensor, Tensor]:
    """As ``by_population``, with the dead left in: sizes do not depend on who lives, so the device need not
    be asked.

    Returns:
        index: [P, B] int64, a permutation of all T * R * slots rows. real: [P, B] bool, who lives."""
    rows = torch.arange(alive.numel(), device=alive.device)
    # Of populations of one, reshape would give a view, and kernels want rows that are whole in memory.
    grouped = rows.view(-1, populations, slots // populations).transpose(0, 1).contiguous()
    index = grouped.view(populations, -1)
    return index, alive.view(-1)[index]
