"""Networks of your own: what a ``torch.nn.Module`` needs to be the policy of a training run.

A network is a subclass of ``torch.nn.Module`` with two methods:

    class Net(torch.nn.Module):
        def __init__(self, spec: NetworkSpec): ...

        def forward(self, obs: Observations):
            ...
            return logits, value

- ``logits`` is [P, B, ``spec.choices``], floating point: the logits of all heads, concatenated in the
  order of ``spec.heads``. The trainer applies the masks and samples.
- ``value`` is [P, B], floating point: the expected discounted reward, in units of 1 / (1 - gamma).

P is the number of populations, and B a number of agents of each, which varies between calls. Every agent of
``obs`` needs finite outputs, also that of an empty slot, whose observation is zero.

Two class or instance attributes are optional:

- ``state_size``: number of floats of a recurrent state; the default is 0, for none. With a state,
  ``forward(obs, state)`` gets the state [P, B, state_size] float32 and returns (logits, value, new state).
  The state is zero at birth. Updates call ``forward`` tick by tick.
- ``per_population``: True if the first dimension of each parameter is the population, so that populations
  share no weights. Their gradients are then clipped independently, and the loss is the sum over populations.
  The default is False: populations share all weights, the loss is the mean over populations, and the gradient
  is clipped as a whole.

``forward`` must be a function of its arguments and parameters: no dropout, and no batch normalization.
Parameters are float32, and are drawn from the run's seed: the constructor runs on the CPU, with torch's
generator seeded. With ``precision = "bf16"``, ``forward`` runs under ``torch.autocast``. On a GPU,
``forward`` is part of CUDA graphs (``TrainConfig.graphs``): it must not copy values to the host, and its
shapes must not depend on data.

``Sword`` checks this when it is created, and raises ConfigError. Use a network with
``train(config, network=Net)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.train.config import PolicyConfig
from nmmo_gpu.train.features import system_features_width
from nmmo_gpu.world.network_inputs import InputColumns
from nmmo_gpu.world.observation_layout import SELF_FEATURES, ObservationLayout

POPULATION = SELF_FEATURES.index("population")


@dataclass(frozen=True)
class NetworkSpec:
    """The sizes that a network's constructor needs."""

    layout: ObservationLayout
    """Shapes and dtypes of the fields of an observation: ``layout.fields[name].shape``."""
    heads: dict[str, int]
    """Name and number of choices of each head, in order. Under auto-targeting, the target has 2 choices: no
    attack, or an attack on the nearest enemy."""
    world: WorldConfig
    """Rules of the world."""
    policy: PolicyConfig
    """Settings of the network. What ``hidden`` and ``layers`` mean is up to the network."""

    @property
    def choices(self) -> int:
        """Number of logits: the sum over heads."""
        return sum(self.heads.values())

    @property
    def populations(self) -> int:
        """Number of populations, P."""
        return self.world.populations

    @cached_property
    def encoded_size(self) -> int:
        """Number of columns of ``Observations.encoded``."""
        return InputColumns.of(self.world).width + system_features_width(self.layout)


class Observations(Mapping[str, Tensor]):
    """The observations of B agents of each population.

    ``obs["material"]`` copies the named field of these agents from the rollout, on first use: [P, B, *shape],
    in the field's dtype. docs/observation.md lists the fields."""

    def __init__(
        self,
        records: Tensor,
        rows: Tensor,
        layout: ObservationLayout,
        slots: int,
        encode: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        """Copies nothing yet.

        Args:
            records: [T * R * A, bytes] uint8.
            rows: [P, B] int64, rows of the agents.
            layout: layout of the records.
            slots: slots per realm, A.
            encode: ``encode(records, rows)`` returns ``encoded()``.
        """
        self.rows = rows
        """[P, B] int64: the agents, as indices into the flattened ticks, realms and slots [T * R * A]."""
        self._records, self._layout, self._slots, self._encode = records, layout, slots, encode
        self._views = layout.views(records)
        self._gathered: dict[str, Tensor] = {}

    def __getitem__(self, name: str) -> Tensor:
        """Returns a field of these agents, [P, B, *shape]. Raises KeyError if the rules do not include it."""
        if name not in self._gathered:
            field = self._views[name]
            picked = field.index_select(0, self.rows.reshape(-1))
            self._gathered[name] = picked.view(*self.rows.shape, *field.shape[1:])
        return self._gathered[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    @property
    def slot(self) -> Tensor:
        """[P, B] int64: the agents' slots in their realms."""
        return self.rows % self._slots

    @property
    def realm(self) -> Tensor:
        """[P, B] int64: the agents' realms and ticks, as indices into the first dimension of ``everyone``."""
        return self.rows // self._slots

    @property
    def population(self) -> Tensor:
        """[P, B] int64: the agents' populations."""
        number = torch.arange(self.rows.shape[0], device=self.rows.device, dtype=torch.int64)
        return number[:, None].expand(self.rows.shape)

    def everyone(self, name: str) -> Tensor:
        """Returns a field of all slots of all realms and ticks, [T * R, A, *shape], without a copy.

        For critics that know more than the agent: ``everyone(name)[obs.realm]`` are the agents of the same
        realm and tick. Empty slots are zero, and their ``alive`` is False."""
        return torch.unflatten(self._views[name], 0, (-1, self._slots))

    def encoded(self) -> Tensor:
        """Returns the observation as numbers of about -1 to 1, [P, B, ``NetworkSpec.encoded_size``] float32.

        The columns are the inputs of the default network: the windows one-hot, a column of ones, the agent's
        state, the entity table, and in the full game the attributes
        (``nmmo_gpu.world.network_inputs.InputColumns``); then the fields of ``WorldConfig.systems``."""
        return self._encode(self._records, self.rows)


class LoneObservations(Observations):
    """Observations of agents each of which is alone in a realm of its own, in its population's first slot.

    The records are those of these agents alone, [N, bytes], and ``everyone`` is [N, A, *shape], a copy."""

    @property
    def slot(self) -> Tensor:
        """[P, B] int64: the first slot of the agents' populations."""
        return self._first_slot()[self.rows]

    @property
    def realm(self) -> Tensor:
        """[P, B] int64: as many realms as records."""
        return self.rows

    def everyone(self, name: str) -> Tensor:
        """Returns zeros, with the agent in its slot."""
        field = self._views[name]
        out = field.new_zeros(len(field), self._slots, *field.shape[1:])
        number = torch.arange(len(field), device=field.device, dtype=torch.int64)
        out[number, self._first_slot()] = field
        return out

    def _first_slot(self) -> Tensor:
        """Returns [N] int64."""
        population = self._views["self"][:, POPULATION].long()
        return population * (self._slots // self.rows.shape[0])
