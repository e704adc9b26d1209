"""The policy network. The leading dimension of every weight is P, the number of populations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.errors import UsageError
from nmmo_gpu.train import symmetry
from nmmo_gpu.train.config import PolicyConfig
from nmmo_gpu.train.features import encode_features, system_features, system_features_width
from nmmo_gpu.train.inputs import entity_rows, own_state
from nmmo_gpu.train.layers import hidden_layers
from nmmo_gpu.train.output import AUTO_TARGETS, Output, mask_logits
from nmmo_gpu.train.policy_base import PolicyBase, sequence_rows
from nmmo_gpu.train.scales import entity_scale, self_scale
from nmmo_gpu.train.weight_table import MOST, WeightTable
from nmmo_gpu.train.weights import Weights, joined
from nmmo_gpu.train.window import window_embedding
from nmmo_gpu.world import actions
from nmmo_gpu.world.movement import MOVES
from nmmo_gpu.world.network_inputs import (
    DESCRIBED,
    InputColumns,
    codes,
    entity_attributes_width,
    self_attributes_width,
    split,
)  # fmt: skip
from nmmo_gpu.world.observation_layout import SELF_FEATURES, STYLES


class Policy(PolicyBase):
    """A linear layer for each of window, entity table and own state, summed; then a trunk and linear heads.

    The network follows that of v1, with two differences. v1 encoded all entities with the same weights and
    took the maximum; here each row of the table, which is sorted by distance, has its own weights. And the
    network is equivariant to quarter turns (``nmmo_gpu.train.symmetry``): if the world is rotated, its choice
    rotates too. The full game adds goods, levels and entity attributes (``nmmo_gpu.train.features``) to the
    inputs, and its own heads to the outputs.
    """

    def __init__(
        self,
        world_config: WorldConfig,
        config: PolicyConfig,
        generator: torch.Generator,
        encode_inputs: Callable[..., Tensor] | None = None,
        hidden_layers: Callable[..., Tensor] = hidden_layers,
        window_embedding: Callable[..., Tensor] = window_embedding,
        encode_features: Callable[..., tuple[Tensor, Tensor]] = encode_features,
        gather_sum: Callable[..., list[Tensor]] | None = None,
    ) -> None:
        """Initializes the weights from the (CPU) generator.

        Args:
            encode_inputs: ``nmmo_gpu.train.inputs.encode_inputs`` or a twin of it, for a first layer that is
                one matrix product; None for a first layer that sums only the nonzero terms.
            hidden_layers: ``nmmo_gpu.train.layers.hidden_layers`` or a twin of it.
            window_embedding: ``nmmo_gpu.train.window.window_embedding`` or a twin of it. Not called if
                ``encode_inputs`` is given.
            encode_features: ``nmmo_gpu.train.features.encode_features`` or a twin of it. Not called if
                ``encode_inputs`` is given.
            gather_sum: ``nmmo_gpu.train.weight_table.gather_sum`` or a twin of it, to make all matrices at
                once; None to make each by operations of torch.
        """
        super().__init__(world_config, config)
        self.encode_inputs, self.hidden_layers = encode_inputs, hidden_layers
        self.window_embedding, self.encode_features = window_embedding, encode_features
        self.gather_sum = gather_sum
        self.columns = InputColumns.of(world_config)
        self.output_alignment = 1 if encode_inputs is None else 8
        """The heads' outputs are padded to a multiple of this, so that tensor cores get rows of 16 bytes."""
        self.dtype = torch.bfloat16 if config.precision == "bf16" else torch.float32
        populations, hidden, width = world_config.populations, config.hidden, config.hidden // symmetry.TURNS
        cells = world_config.window**2

        def weight(*shape: int, fan_in: int, gain: float = 1.0) -> nn.Parameter:
            scale = gain / math.sqrt(fan_in)
            values = torch.randn(populations, *shape, generator=generator, dtype=torch.float32, device="cpu")
            return nn.Parameter(values * scale)

        def bias(width: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(populations, 1, width, dtype=torch.float32, device="cpu"))

        self.window = weight(cells, codes(world_config), width, fan_in=cells)
        self.self_in = weight(len(SELF_FEATURES), width, fan_in=len(SELF_FEATURES))
        described = world_config.nearest * len(DESCRIBED)
        self.entities = weight(described, width, fan_in=described)
        self.input_bias = bias(width)
        self.trunk = weight(config.layers, symmetry.TURNS, width, width, fan_in=hidden, gain=math.sqrt(2))
        self.trunk_bias = nn.Parameter(
            torch.zeros(populations, config.layers, 1, width, dtype=torch.float32, device="cpu")
        )
        if config.recurrent:
            # Reset gate, update gate and candidate state of a GRU (Cho et al. 2014).
            self.gru_input = weight(3, symmetry.TURNS, width, width, fan_in=hidden)
            self.gru_hidden = weight(3, symmetry.TURNS, width, width, fan_in=hidden)
            self.gru_bias = bias(3 * width)
        # A small gain makes the initial policy nearly uniform, so that every action is tried.
        self.directional_head = weight(symmetry.TURNS, width, 1, fan_in=hidden, gain=0.01)
        steady = 1 + len(STYLES) + (AUTO_TARGETS if config.targeting == "auto" else 1)
        self.invariant_head = weight(width, steady, fan_in=hidden, gain=0.01)
        self.value = weight(width, 1, fan_in=hidden)
        self.directional_head_bias, self.invariant_head_bias, self.value_bias = bias(1), bias(steady), bias(1)
        if config.targeting == "learned":
            self.query = weight(width, len(DESCRIBED), fan_in=hidden, gain=0.01)
        self.described = len(DESCRIBED)
        """Number of features of an entity row that ``encode`` returns."""
        if world_config.extended and config.targeting == "learned":
            self.described += entity_attributes_width(world_config)
        self.extra_choices = sum(list(actions.action_heads(world_config).values())[3:])
        self.outputs = len(MOVES) + steady - 1 + self.extra_choices + 1
        """Columns of the heads' matrix, including the value, before padding."""
        if world_config.extended:
            about_self, about_others = (
                self_attributes_width(world_config),
                entity_attributes_width(world_config),
            )
            self.self_attributes = weight(about_self, width, fan_in=about_self)
            self.entity_attributes = weight(
                world_config.nearest * about_others, width, fan_in=world_config.nearest * about_others
            )
            if config.targeting == "learned":
                self.query_attributes = weight(width, about_others, fan_in=hidden, gain=0.01)
        if self.extra_choices:
            self.extra_heads = weight(width, self.extra_choices, fan_in=hidden, gain=0.01)
            self.extra_heads_bias = bias(self.extra_choices)
        of_systems = system_features_width(self.layout)
        if of_systems:
            self.system_features = weight(of_systems, width, fan_in=of_systems)

        self.self_scale: Tensor
        self.entity_scale: Tensor
        self._self_turns: Tensor
        self._row_turns: Tensor
        constants = {
            "self_scale": self_scale(world_config),
            "entity_scale": entity_scale(world_config),
            **_turns(),
        }
        for name, tensor in constants.items():
            self.register_buffer(name, tensor, persistent=False)
        self._free = tuple(name for name, _ in self.named_parameters())
        if sum(parameter[0].numel() for parameter in self.parameters()) > MOST:
            self.gather_sum = None
        self._table: tuple[torch.device, WeightTable] | None = None
        self._weights: Weights | None = None

    def weights(self) -> Weights:
        """Computes the matrices from the parameters; inside ``using`` and without gradients, returns those
        passed to ``using``."""
        if self._weights is not None and not torch.is_grad_enabled():
            return self._weights
        return self._make_weights()

    @contextmanager
    def using(self, weights: Weights) -> Iterator[None]:
        """Context in which forward passes without gradients use these matrices, so that a rollout computes
        them only once:

            with torch.no_grad(), policy.using(policy.weights()):
                ...

        Changes to parameters inside the context take effect only after it ends."""
        before, self._weights = self._weights, weights
        try:
            yield
        finally:
            self._weights = before

    def _make_weights(self) -> Weights:
        free = {name: self.get_parameter(name) for name in self._free}
        if self.gather_sum is None:
            turns = {"_self_turns": self._self_turns, "_row_turns": self._row_turns}
            return self._matrices({**free, **turns}, self.dtype)
        table = self._table_on(self.value.device)
        return table.weights(list(free.values()), self.dtype, self.gather_sum)

    def prepare(self) -> None:
        """Makes the table of ``gather_sum``, if there is one, where the parameters are. Otherwise the first
        call of ``weights`` does."""
        if self.gather_sum is not None:
            self._table_on(self.value.device)

    def _table_on(self, device: torch.device) -> WeightTable:
        """Returns the table of the matrices."""
        if self._table is None:
            shapes = {name: self.get_parameter(name).shape[1:] for name in self._free}
            turns = _turns()
            table = WeightTable.of(lambda free: self._matrices({**free, **turns}, torch.float32), shapes)
            self._table = device, table.to(device)
        elif self._table[0] != device:
            self._table = device, self._table[1].to(device)
        return self._table[1]

    def _matrices(self, free: Mapping[str, Tensor], dtype: torch.dtype) -> Weights:
        """Returns the matrices [P, ...] of ``dtype`` from the parameters [P, ...] and the constants of
        ``_turns``, by name.

        Each entry must be zero, or a parameter times 1 or -1 (``nmmo_gpu.train.weight_table``)."""
        recurrent, learned = self.config.recurrent, self.config.targeting == "learned"
        extended = self.world_config.extended
        rows = torch.unflatten(free["entities"], 1, (self.world_config.nearest, len(DESCRIBED)))
        stay, others = free["invariant_head"][..., :1], free["invariant_head"][..., 1:]
        heads = [
            symmetry.pool(stay),
            symmetry.mix(free["directional_head"]),
            symmetry.pool(others),
            symmetry.pool(free["value"]),
        ]
        heads_bias = [
            free["invariant_head_bias"][..., :1], symmetry.repeat(free["directional_head_bias"]),
            free["invariant_head_bias"][..., 1:],
            free["value_bias"],
        ]  # fmt: skip
        if self.extra_choices:
            heads.insert(3, symmetry.pool(free["extra_heads"]))
            heads_bias.insert(3, free["extra_heads_bias"])
        if learned:
            query = symmetry.lower(free["query"], free["_row_turns"])
            if extended:
                query = torch.cat((query, symmetry.pool(free["query_attributes"])), -1)

        def gates(free: Tensor) -> Tensor:
            return torch.cat(symmetry.mix(free).unbind(1), -1)

        def cast(weight: Tensor) -> Tensor:
            return weight.to(dtype)

        def aligned(outputs: Tensor) -> Tensor:
            unused = -outputs.shape[-1] % self.output_alignment
            return torch.nn.functional.pad(cast(outputs), (0, unused)) if unused else cast(outputs)

        first = self._first_layer(free, rows, cast)
        return Weights(
            **first,
            systems=cast(free["system_features"]) if system_features_width(self.layout) else None,
            trunk=cast(symmetry.mix(free["trunk"])).unbind(1),
            trunk_bias=tuple(cast(symmetry.repeat(layer)) for layer in free["trunk_bias"].unbind(1)),
            gru_input=cast(gates(free["gru_input"])) if recurrent else None,
            gru_hidden=cast(gates(free["gru_hidden"])) if recurrent else None,
            gru_bias=cast(torch.cat([symmetry.repeat(g) for g in free["gru_bias"].chunk(3, -1)], -1))
            if recurrent
            else None,
            action_heads=aligned(torch.cat(heads, -1)),
            action_heads_bias=aligned(torch.cat(heads_bias, -1)),
            query=aligned(query) if learned else None,
        )

    def _first_layer(
        self, free: Mapping[str, Tensor], rows: Tensor, cast: Callable[[Tensor], Tensor]
    ) -> dict[str, Tensor | None]:
        """Returns the fields of ``Weights`` for the first layer: as one matrix, or each by itself."""
        attributes = None
        if self.world_config.extended:
            attributes = cast(torch.cat((free["self_attributes"], free["entity_attributes"]), 1))
        parts: dict[str, Any] = {
            "window": cast(symmetry.lift_cells(free["window"])),
            "self_in": cast(symmetry.lift(free["self_in"], free["_self_turns"])),
            "entities": cast(symmetry.lift(rows, free["_row_turns"]).flatten(1, 2)),
            "attributes": attributes,
            "input_bias": cast(symmetry.repeat(free["input_bias"])),
        }
        if self.encode_inputs is None:
            return parts | {"inputs": None}
        return dict.fromkeys(parts) | {"inputs": joined(**parts, columns=self.columns)}

    def forward(self, records: Tensor, index: Tensor, state: Tensor | None = None) -> Output:
        """Computes the outputs for ``records[index]``.

        Args:
            records: [rows, bytes] uint8, observation records.
            index: [P, B] int64: the rows of each population.
            state: [P, B, hidden] float32, the recurrent state of a recurrent policy.
        """
        views = self.header_fields(records, index)
        hidden, entities, state, weights = self._looked(records, index, state, views)
        return self.decide(views, hidden, entities, state, weights)

    def _looked(
        self, records: Tensor, index: Tensor, state: Tensor | None, views: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor | None, Weights]:
        """Returns (hidden, entities, new recurrent state, weights) of ``records[index]``: everything before
        the heads."""
        weights = self.weights()
        hidden, entities = self.encode(records, index, views, weights)
        if self.config.recurrent:
            if state is None:
                raise UsageError("state is missing: pass initial_state(), or the state of the last Output.")
            hidden = state = self.gru_step(hidden, state, weights)
        return hidden, entities, state, weights

    def _fields_for_encode(self, records: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Returns ``header_fields``, or nothing if ``encode`` reads the records itself."""
        needed = self.encode_inputs is None or system_features_width(self.layout)
        if needed or type(self).encode is not Policy.encode:
            return self.header_fields(records, index)
        return {}

    def forward_sequence(self, records: Tensor, slots: Tensor, state: Tensor, survived: Tensor) -> Output:
        """See ``PolicyBase.forward_sequence``."""
        rows = sequence_rows(slots, survived.shape[1], records.shape[1]).flatten(1)
        views = self.header_fields(records.flatten(0, 1), rows)
        hidden, entities, weights = self._looked_along(records, rows, state, survived, views)
        return self.decide(views, hidden, entities, None, weights)

    def unmasked_sequence(self, records: Tensor, slots: Tensor, state: Tensor, survived: Tensor) -> Tensor:
        """See ``PolicyBase.unmasked_sequence``."""
        rows = sequence_rows(slots, survived.shape[1], records.shape[1]).flatten(1)
        views = self._fields_for_encode(records.flatten(0, 1), rows)
        hidden, entities, weights = self._looked_along(records, rows, state, survived, views)
        return self.logits(hidden, entities, weights)

    def _looked_along(
        self, records: Tensor, rows: Tensor, state: Tensor, survived: Tensor, views: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor, Weights]:
        """Does what ``_looked`` does for all ticks of a rollout: only the GRU runs tick by tick; ``rows`` is
        [P, T * B]."""
        weights = self.weights()
        trunk, entities = self.encode(records.flatten(0, 1), rows, views, weights)
        trunk = trunk.view(*survived.shape[:3], -1)
        hidden = []
        for t in range(survived.shape[1]):
            state = self.gru_step(trunk[:, t], state, weights)
            hidden.append(state)
            state = state * survived[:, t]
        return torch.stack(hidden, 1).flatten(1, 2), entities, weights

    def encode(
        self, records: Tensor, index: Tensor, views: dict[str, Tensor], weights: Weights
    ) -> tuple[Tensor, Tensor]:
        """Returns (trunk output [P, B, hidden], entity rows [P, B, nearest, features] from which targets are
        chosen): everything before the GRU and the heads.

        Args:
            records: [rows, bytes] uint8, observation records.
            index: [P, B] int64: the rows of each population.
            views: ``header_fields`` of these rows; empty if this class needs none of them.
            weights: as returned by ``weights``.
        """
        if self.encode_inputs is None:
            total, entities = self._sum_of_parts(records, index, views, weights)
        else:
            inputs = self.encode_inputs(
                records, index, self.world_config, self.self_scale, self.entity_scale, self.dtype
            )
            total = torch.bmm(inputs, _not_none(weights.inputs))
            entities = self._rows_of(inputs)
        if weights.systems is not None:
            of_systems = torch.bmm(system_features(views, self.layout).to(self.dtype), weights.systems)
            total = total + of_systems.repeat(1, 1, symmetry.TURNS)
        return self.hidden_layers(total, weights.trunk, weights.trunk_bias), entities

    def _sum_of_parts(
        self, records: Tensor, index: Tensor, views: dict[str, Tensor], weights: Weights
    ) -> tuple[Tensor, Tensor]:
        """Returns (sums of the first layer [P, B, hidden], entity rows), with one product per part of the
        inputs."""
        seen = self.window_embedding(records, index, _not_none(weights.window), self.layout)
        own = torch.bmm(own_state(views, self.self_scale).to(self.dtype), _not_none(weights.self_in))
        entities = entity_rows(views, self.entity_scale).to(self.dtype)
        others = torch.bmm(entities.flatten(2), _not_none(weights.entities))
        total = seen + own + others + _not_none(weights.input_bias)
        if weights.attributes is not None:
            attributes, entity_attributes = self.encode_features(
                records, index, views, self.world_config, self.dtype
            )
            encoded = torch.bmm(attributes, weights.attributes)
            total = total + encoded.repeat(1, 1, symmetry.TURNS)
            if self.config.targeting == "learned":
                entities = torch.cat((entities, entity_attributes), -1)
        return total, entities

    def _rows_of(self, inputs: Tensor) -> Tensor:
        """Returns the entity rows [P, B, nearest, features] of the encoded inputs."""
        shape = (self.world_config.nearest, len(DESCRIBED))
        entities: Tensor = torch.unflatten(inputs[..., self.columns.entities], -1, shape)
        if self.described > len(DESCRIBED):
            _, attributes = split(inputs[..., self.columns.attributes], self.world_config)
            entities = torch.cat((entities, attributes), -1)
        return entities

    def gru_step(self, trunk: Tensor, state: Tensor, weights: Weights) -> Tensor:
        """Computes one GRU step; returns the new recurrent state [P, B, hidden] float32, which is also the
        input of the heads."""
        gates = torch.baddbmm(_not_none(weights.gru_bias), trunk, _not_none(weights.gru_input)).float()
        reset_x, update_x, new_x = gates.chunk(3, -1)
        recalled = torch.bmm(state.to(self.dtype), _not_none(weights.gru_hidden)).float()
        reset_h, update_h, new_h = recalled.chunk(3, -1)
        update = torch.sigmoid(update_x + update_h)
        candidate = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return candidate + update * (state - candidate)

    def decide(
        self,
        views: dict[str, Tensor],
        hidden: Tensor,
        entities: Tensor,
        state: Tensor | None,
        weights: Weights,
    ) -> Output:
        """Applies the heads and their masks to ``hidden`` [P, B, hidden]; ``views`` are as for ``encode``."""
        return mask_logits(self.logits(hidden, entities, weights), views, self.config.targeting, state)

    def logits(self, hidden: Tensor, entities: Tensor, weights: Weights) -> Tensor:
        """Returns [P, B, 5 + 3 + targets + more + 1] float32: moves, styles, targets, works, trades, prices,
        tokens, value; not masked."""
        hidden = hidden.to(self.dtype)
        out = torch.baddbmm(weights.action_heads_bias, hidden, weights.action_heads)
        out = out[..., : self.outputs].float()
        if self.config.targeting == "learned":
            query = torch.bmm(hidden, _not_none(weights.query))[..., : self.described]
            rows = (entities * query[:, :, None]).float().sum(-1)
            last = out.shape[-1] - 1 - self.extra_choices
            out = torch.cat((out[..., :last], rows, out[..., last:]), -1)
        return out

    def unmasked(self, records: Tensor, index: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns (``logits``, new recurrent state) of ``records[index]``, for callers that apply the masks
        themselves."""
        views = self._fields_for_encode(records, index)
        hidden, entities, state, weights = self._looked(records, index, state, views)
        return self.logits(hidden, entities, weights), state

    def initial_state(self, agents: int, device: torch.device) -> Tensor | None:
        """Returns [agents, hidden] zeros for a recurrent policy, else None."""
        if not self.config.recurrent:
            return None
        return torch.zeros(agents, self.config.hidden, device=device, dtype=torch.float32)


def _turns() -> dict[str, Tensor]:
    """Returns how own features and those of an entity row rotate, by the name of a buffer of ``Policy``."""
    return {
        "_self_turns": symmetry.turned_features(
            SELF_FEATURES, (("row", "col"), ("heading_row", "heading_col"))
        ),
        "_row_turns": symmetry.turned_features(DESCRIBED, (("row_offset", "col_offset"),)),
    }


def _not_none(tensor: Tensor | None) -> Tensor:
    assert tensor is not None, "made for this kind of policy"
    return tensor
