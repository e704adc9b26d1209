"""The policies of a run whose network is any ``torch.nn.Module``."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from nmmo_gpu.errors import UsageError
from nmmo_gpu.train.features import system_features
from nmmo_gpu.train.inputs import encode_inputs
from nmmo_gpu.train.network_spec import LoneObservations, NetworkSpec, Observations
from nmmo_gpu.train.policy_base import PolicyBase
from nmmo_gpu.train.scales import entity_scale, self_scale
from nmmo_gpu.train.training_backend import TrainingBackend

LONE_SLOTS = 1 << 20
"""Approximate number of slots in the realms of ``newborn_values`` at a time."""


class ModulePolicy(PolicyBase):
    """Gives a network (``nmmo_gpu.train.network_spec``) the interface that the trainer uses."""

    def __init__(self, network: nn.Module, spec: NetworkSpec, backend: TrainingBackend) -> None:
        """Wraps a network.

        Args:
            network: the network; its parameters become this module's.
            spec: what the network was made with.
            backend: for its ``encode_inputs``, the implementation of ``Observations.encoded``.
        """
        super().__init__(spec.world, spec.policy)
        self.network = network
        self.state_size: int = getattr(network, "state_size", 0)
        self.shared_weights = not getattr(network, "per_population", False)
        self._encode_inputs = backend.encode_inputs or encode_inputs
        self._self_scale: Tensor
        self._entity_scale: Tensor
        self.register_buffer("_self_scale", self_scale(spec.world), persistent=False)
        self.register_buffer("_entity_scale", entity_scale(spec.world), persistent=False)

    @property
    def recurrent(self) -> bool:
        """Whether the network has a ``state_size``."""
        return self.state_size > 0

    def initial_state(self, agents: int, device: torch.device) -> Tensor | None:
        """Returns [agents, state_size] float32 zeros for a recurrent network, else None."""
        if not self.recurrent:
            return None
        return torch.zeros(agents, self.state_size, device=device, dtype=torch.float32)

    def unmasked(self, records: Tensor, index: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """See ``PolicyBase.unmasked``. The records are those of whole realms, [T * R * A, bytes]."""
        return self._outputs(self.observations(records, index), state)

    def unmasked_sequence(self, records: Tensor, slots: Tensor, state: Tensor, survived: Tensor) -> Tensor:
        """See ``PolicyBase.unmasked_sequence``."""
        logits = []
        for t in range(survived.shape[1]):
            out, new_state = self.unmasked(records[t], slots, state)
            assert new_state is not None, "only recurrent policies learn from sequences"
            state = new_state * survived[:, t]
            logits.append(out)
        return torch.stack(logits, 1).flatten(1, 2)

    def newborn_values(self, records: Tensor, index: Tensor) -> Tensor:
        """See ``PolicyBase.newborn_values``."""
        populations = index.shape[0]
        values = []
        size = max(1, LONE_SLOTS // (populations * self.world_config.slots))
        for part in torch.split(index, size, 1):
            rows = torch.arange(part.numel(), device=part.device, dtype=torch.int64).view(part.shape)
            obs = self.observations(records[part.reshape(-1)], rows, LoneObservations)
            state = self.initial_state(part.numel(), part.device)
            logits, _ = self._outputs(obs, None if state is None else state.view(*part.shape, -1))
            values.append(logits[..., -1])
        return torch.cat(values, 1)

    def observations(
        self, records: Tensor, rows: Tensor, kind: type[Observations] = Observations
    ) -> Observations:
        """Returns what the network gets, for ``rows`` [P, B] of the records."""
        return kind(records, rows, self.layout, self.world_config.slots, self._encoded)

    def _encoded(self, records: Tensor, rows: Tensor) -> Tensor:
        scales = self._self_scale, self._entity_scale
        encoded = self._encode_inputs(records, rows, self.world_config, *scales, torch.float32)
        if not self.layout.system_fields:
            return encoded
        of_systems = system_features(self.header_fields(records, rows), self.layout)
        return torch.cat((encoded, of_systems), -1)

    def call(self, obs: Observations, state: Tensor | None) -> Any:
        """Calls the network, with the run's precision; returns what it returns."""
        arguments = (obs, state) if self.recurrent else (obs,)
        with self._precision(obs.rows.device.type):
            return self.network(*arguments)

    def _outputs(self, obs: Observations, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns what ``unmasked`` does."""
        if self.recurrent and state is None:
            raise UsageError("state is missing: pass initial_state(), or the state of the last Output.")
        logits, value, *new_state = self.call(obs, state)
        joined = torch.cat((logits.float(), value.float()[..., None]), -1)
        return joined, new_state[0].float() if self.recurrent else None

    def _precision(self, device: str) -> AbstractContextManager[Any]:
        # Tensors without data cannot be cast automatically; a dry run overestimates the memory.
        if self.config.precision == "fp32" or device == "meta":
            return nullcontext()
        # A cache of casts would outlive the CUDA graph in which they were computed.
        return torch.autocast(device, dtype=torch.bfloat16, cache_enabled=False)
