"""The policy network: P populations as a leading dimension of every weight."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.train.config import PolicyConfig
from nmmo_gpu.train.window import CODES, window_embedding
from nmmo_gpu.world.layout import ENTITY_FEATURES, FRIEND, SELF_FEATURES, STRANGER, STYLES, ObservationLayout
from nmmo_gpu.world.movement import MOVES

AUTO_TARGETS = 2
"""Choices of the target head under auto-targeting: leave it, or attack."""


MASKED = -1e9
"""Logit of what is impossible: its probability is exactly 0, and no infinity enters a gradient."""


class Output(NamedTuple):
    """What the network says about a batch of agents."""

    move: Tensor
    """[P, B, 5] logits; impossible moves hold MASKED."""
    style: Tensor
    """[P, B, 3] logits; impossible styles hold MASKED."""
    target: Tensor
    """[P, B, targets] logits, before the chosen style's mask."""
    target_mask: Tensor
    """[P, B, 3, targets] bool: targets possible under each style."""
    value: Tensor
    """[P, B] expected discounted reward, in units of 1 / (1 - gamma)."""
    state: Tensor | None
    """[P, B, hidden] memory to hand in at the agents' next step; None without recurrence."""


class Policy(nn.Module):
    """Window, entity table and own state, each through a linear layer, summed; a trunk; linear heads.

    After v1's network, with one difference: v1 encoded every entity alike and took the maximum, while here
    the table's rows, which are sorted by distance, have weights of their own.
    """

    def __init__(self, rules: WorldConfig, config: PolicyConfig, generator: torch.Generator) -> None:
        """Fresh weights, drawn from the (CPU) generator."""
        super().__init__()
        self.rules, self.config = rules, config
        self.layout = ObservationLayout(rules)
        self.targets = AUTO_TARGETS if config.targeting == "auto" else rules.nearest + 1
        populations, hidden = rules.populations, config.hidden
        cells = rules.window**2

        def weight(*shape: int, fan_in: int, gain: float = 1.0) -> nn.Parameter:
            scale = gain / math.sqrt(fan_in)
            return nn.Parameter(torch.randn(populations, *shape, generator=generator) * scale)

        def bias(width: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(populations, 1, width))

        self.window = weight(cells, CODES, hidden, fan_in=cells)
        self.self_weight = weight(len(SELF_FEATURES), hidden, fan_in=len(SELF_FEATURES))
        described = len(ENTITY_FEATURES) + 2
        self.entity_weight = weight(rules.nearest * described, hidden, fan_in=rules.nearest * described)
        self.input_bias = bias(hidden)
        self.trunk_weight = weight(hidden, hidden, fan_in=hidden, gain=math.sqrt(2))
        self.trunk_bias = bias(hidden)
        if config.recurrent:
            # Reset, update and candidate of a GRU (Cho et al. 2014), side by side.
            self.gru_input = weight(hidden, 3 * hidden, fan_in=hidden)
            self.gru_memory = weight(hidden, 3 * hidden, fan_in=hidden)
            self.gru_input_bias, self.gru_memory_bias = bias(3 * hidden), bias(3 * hidden)
        fixed = len(MOVES) + len(STYLES) + (AUTO_TARGETS if config.targeting == "auto" else 1)
        # Nearly uniform at first, so that every action is tried.
        self.head_weight = weight(hidden, fixed, fan_in=hidden, gain=0.01)
        self.head_bias = bias(fixed)
        self.value_weight = weight(hidden, 1, fan_in=hidden)
        self.value_bias = bias(1)
        if config.targeting == "learned":
            self.query_weight = weight(hidden, described, fan_in=hidden, gain=0.01)
        self.self_scale: Tensor
        self.entity_scale: Tensor
        self.register_buffer("self_scale", _self_scale(rules), persistent=False)
        self.register_buffer("entity_scale", _entity_scale(rules), persistent=False)

    def forward(self, records: Tensor, index: Tensor, state: Tensor | None = None) -> Output:
        """Looks at ``records[index]``.

        Args:
            records: [rows, bytes] uint8, observation records.
            index: [P, B] int64: the rows that each population looks at.
            state: [P, B, hidden] memory, for a recurrent policy.
        """
        views = self.heads(records, index)
        hidden, entities = self.encode(records, index, views)
        if self.config.recurrent:
            assert state is not None, "a recurrent policy needs its memory"
            hidden = state = self.remember(hidden, state)
        return self.decide(views, hidden, entities, state)

    def heads(self, records: Tensor, index: Tensor) -> dict[str, Tensor]:
        """The fields before the windows, ``name -> [P, B, ...]``, of ``records[index]``."""
        picked = records[:, : self.layout.head].index_select(0, index.reshape(-1))
        return self.layout.views(picked.view(*index.shape, -1))

    def encode(self, records: Tensor, index: Tensor, views: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(trunk [P, B, hidden], entity rows [P, B, nearest, features]): all before memory and heads.

        ``views`` are the fields of the records' heads, [P, B, ...]."""
        seen = window_embedding(records, index, self.window, self.layout)
        own = views["self"].float() * self.self_scale[0] - self.self_scale[1]
        own = torch.bmm(own.clamp(max=1.0), self.self_weight)  # age grows without bound

        # Rows that do not exist are zero, and stay so; the two kinds' columns act as their bias.
        kind = views["entity_kind"]
        kinds = torch.stack((kind == FRIEND, kind == STRANGER), -1)
        entities = torch.cat((views["entities"] * self.entity_scale, kinds), -1)
        others = torch.bmm(entities.flatten(2), self.entity_weight)

        trunk = torch.relu(seen + own + others + self.input_bias)
        return torch.relu(torch.baddbmm(self.trunk_bias, trunk, self.trunk_weight)), entities

    def remember(self, trunk: Tensor, state: Tensor) -> Tensor:
        """One GRU step: [P, B, hidden] new memory, which is also what the heads see."""
        reset_x, update_x, new_x = torch.baddbmm(self.gru_input_bias, trunk, self.gru_input).chunk(3, -1)
        reset_h, update_h, new_h = torch.baddbmm(self.gru_memory_bias, state, self.gru_memory).chunk(3, -1)
        update = torch.sigmoid(update_x + update_h)
        candidate = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
        return candidate + update * (state - candidate)

    def decide(
        self, views: dict[str, Tensor], hidden: Tensor, entities: Tensor, state: Tensor | None
    ) -> Output:
        """The heads, on [P, B, hidden]; ``views`` as for ``encode``."""
        logits = torch.baddbmm(self.head_bias, hidden, self.head_weight)
        sizes = [len(MOVES), len(STYLES), logits.shape[-1] - len(MOVES) - len(STYLES)]
        move, style, target = torch.split(logits, sizes, -1)
        style_mask, target_mask = views["style_mask"], views["target_mask"]
        if self.config.targeting == "learned":
            query = torch.bmm(hidden, self.query_weight)
            target = torch.cat((target, (entities * query[:, :, None]).sum(-1)), -1)
        else:
            strangers = (views["entity_kind"] == STRANGER)[..., None, :]
            possible = (target_mask[..., 1:] & strangers).any(-1)
            target_mask = torch.stack((torch.ones_like(possible), possible), -1)
            style_mask = torch.cat((style_mask[..., :1], possible[..., 1:]), -1)
        value = torch.baddbmm(self.value_bias, hidden, self.value_weight).squeeze(-1)
        return Output(
            move.masked_fill(~views["move_mask"], MASKED),
            style.masked_fill(~style_mask, MASKED),
            target,
            target_mask,
            value,
            state,
        )

    def initial_state(self, agents: int, device: torch.device) -> Tensor | None:
        """[agents, hidden] zeros for a recurrent policy, else None."""
        return torch.zeros(agents, self.config.hidden, device=device) if self.config.recurrent else None

    def auto_target(self, views: dict[str, Tensor], style: Tensor) -> Tensor:
        """The row (counted from 1) of the nearest stranger in reach of the style; 0 if there is none.

        Args:
            views: an observation's fields, [..., ...]. style: [...] int64."""
        reach = of_style(views["target_mask"], style)[..., 1:]
        wanted = reach & (views["entity_kind"] == STRANGER)
        first = wanted.to(torch.uint8).argmax(-1) + 1
        return torch.where(wanted.any(-1), first, 0)


def of_style(mask: Tensor, style: Tensor) -> Tensor:
    """[..., n]: the rows of [..., styles, n] for [...] styles."""
    where = style[..., None, None].expand(*style.shape, 1, mask.shape[-1])
    return mask.gather(-2, where).squeeze(-2)


def _self_scale(rules: WorldConfig) -> Tensor:
    """[2, features]: factor and offset that bring own features to about -0.5 ... 0.5."""
    largest = {
        "age": 200, "health": rules.max_health, "food": rules.max_food, "water": rules.max_water,
        "row": rules.height, "col": rules.width, "freeze": rules.freeze_ticks, "damage": rules.max_health,
        "immune": 1, "population": rules.populations, "heading_row": 1, "heading_col": 1,
    }  # fmt: skip
    return _centred([largest[name] for name in SELF_FEATURES])


def _entity_scale(rules: WorldConfig) -> Tensor:
    """[features]: factor that brings the entity table to about -1 ... 1."""
    largest = {
        "age": 127, "health": rules.max_health, "food": rules.max_food, "water": rules.max_water,
        "freeze": rules.freeze_ticks, "damage": rules.max_health,
    }  # fmt: skip
    return torch.tensor([1.0 / largest.get(name, rules.vision) for name in ENTITY_FEATURES])


def _centred(largest: list[int]) -> Tensor:
    return torch.tensor([[1.0 / value for value in largest], [0.5] * len(largest)])
