"""The interface of a policy: what Sword, God, PPO and the value map call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.train.config import PolicyConfig
from nmmo_gpu.train.output import Output, mask_logits
from nmmo_gpu.world.observation_layout import ObservationLayout


class PolicyBase(nn.Module):
    """The policies of all populations, as the trainer uses them.

    ``Policy`` is the default network. ``ModulePolicy`` wraps any ``torch.nn.Module``
    (``nmmo_gpu.train.network_spec``)."""

    shared_weights = False
    """Whether populations share weights. If not, the first dimension of each parameter is the population."""

    def __init__(self, world_config: WorldConfig, config: PolicyConfig) -> None:
        super().__init__()
        self.world_config, self.config = world_config, config
        self.layout = ObservationLayout(world_config)

    @property
    def recurrent(self) -> bool:
        """Whether the policy has a recurrent state."""
        return self.config.recurrent

    def forward(self, records: Tensor, index: Tensor, state: Tensor | None = None) -> Output:
        """Computes the outputs for ``records[index]``.

        Args:
            records: [rows, bytes] uint8, observation records.
            index: [P, B] int64: the rows of each population.
            state: [P, B, n] float32, the recurrent state of a recurrent policy.
        """
        logits, new_state = self.unmasked(records, index, state)
        return mask_logits(logits, self.header_fields(records, index), self.config.targeting, new_state)

    def unmasked(self, records: Tensor, index: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns (logits of all heads and the value [P, B, choices + 1] float32, new recurrent state), for
        callers that apply the masks themselves; arguments as for ``forward``."""
        raise NotImplementedError

    def forward_sequence(self, records: Tensor, slots: Tensor, state: Tensor, survived: Tensor) -> Output:
        """Computes the outputs of a recurrent policy for all ticks of a rollout.

        Args:
            records: [T or more, R * A, bytes] uint8.
            slots: [P, B] int64: the slots in R * A.
            state: [P, B, n] float32, recurrent state before the first tick.
            survived: [P, T, B, 1] bool: whether the agent lives on after the tick; if not, the state becomes
                zero.

        Returns:
            The outputs of [P, T * B] samples, tick by tick, without a state.
        """
        logits = self.unmasked_sequence(records, slots, state, survived)
        rows = sequence_rows(slots, survived.shape[1], records.shape[1]).flatten(1)
        return mask_logits(logits, self.header_fields(records.flatten(0, 1), rows), self.config.targeting)

    def unmasked_sequence(self, records: Tensor, slots: Tensor, state: Tensor, survived: Tensor) -> Tensor:
        """Returns logits and values [P, T * B, choices + 1] float32; arguments as for
        ``forward_sequence``."""
        raise NotImplementedError

    def initial_state(self, agents: int, device: torch.device) -> Tensor | None:
        """Returns [agents, n] float32 zeros for a recurrent policy, else None."""
        raise NotImplementedError

    def newborn_values(self, records: Tensor, index: Tensor) -> Tensor:
        """Returns the values [P, B] float32 of newborn agents, each of which is alone in its realm.

        Args:
            records: [rows, bytes] uint8, their records.
            index: [P, B] int64: the rows for each population.
        """
        state = self.initial_state(index.numel(), index.device)
        logits, _ = self.unmasked(records, index, None if state is None else state.view(*index.shape, -1))
        return logits[..., -1]

    def weights(self) -> Any:
        """Returns what forward passes without gradients can share until parameters change, for ``using``;
        None if there is nothing."""
        return None

    @contextmanager
    def using(self, weights: Any) -> Iterator[None]:
        """Context in which forward passes without gradients use what ``weights`` returned."""
        yield

    def header_fields(self, records: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Returns the fields before the windows, ``name -> [P, B, ...]``, of ``records[index]``."""
        head = self.layout.header_bytes
        picked = records[:, :head].index_select(0, index.reshape(-1))
        return self.layout.views(picked.view(*index.shape, head))


def sequence_rows(slots: Tensor, horizon: int, agents: int) -> Tensor:
    """Returns [P, T, B] int64: the rows of slots [P, B] in each tick of a flattened rollout [T * agents]."""
    start = torch.arange(horizon, device=slots.device, dtype=torch.int64) * agents
    return slots[:, None, :] + start[:, None]
