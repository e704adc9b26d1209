"""Observations of the full game and heads with arbitrary logits, for tests of sampling."""

from __future__ import annotations

from typing import Any

import torch
from support.helpers import ODD
from torch import Tensor
from train.small import seen_in_a_random_world

from nmmo_gpu.config import preset
from nmmo_gpu.train.config import PolicyConfig
from nmmo_gpu.train.output import MASKED, Output, mask_logits
from nmmo_gpu.train.sampling import head_distributions, uniforms
from nmmo_gpu.world.actions import action_heads, row_of, side_of
from nmmo_gpu.world.random import draw

SLOTS, POPULATIONS, REALMS = 21, 3, 3
ALONE: dict[str, Any] = {
    "skills": False,
    "works": (),
    "rolls": False,
    "npcs": False,
    "exchange": False,
    "tokens": 0,
}
CROWDS: dict[str, tuple[str, dict[str, Any]]] = {
    "auto": ("auto", {}),
    "learned": ("learned", {}),
    "talk alone": ("auto", {**ALONE, "tokens": 3}),
    "work alone": ("learned", {**ALONE, "works": ("eat", "fish", "mine")}),
    "exchange alone": ("auto", {**ALONE, "exchange": True}),
}
"""Targeting, and the settings that differ from preset full."""


class Crowd:
    """Observations of 63 slots in a random world, some of them empty."""

    def __init__(self, name: str) -> None:
        targeting, settings = CROWDS[name]
        crowd = {"slots": SLOTS, "populations": POPULATIONS, "nearest": 5, "npc_numbers": (20, 20, 9)}
        config = preset("full", **{**ODD, **crowd, **settings})
        self.layout, self.records, self.world = seen_in_a_random_world(config, 6, REALMS)
        self.auto, self.config = targeting == "auto", PolicyConfig(targeting=targeting)
        self.sizes = action_heads(config) | ({"target": 2} if self.auto else {})
        self.width = sum(self.sizes.values()) + 1
        self.alive = self.world.agents(self.world.alive).reshape(-1)
        rows = torch.arange(REALMS * SLOTS)
        self.everybody = rows.view(REALMS, POPULATIONS, -1).transpose(0, 1).reshape(POPULATIONS, -1)
        assert 10 < int(self.alive.sum()) < 60

    def logits(self, index: Tensor, seed: int, spread: float = 2.0) -> Tensor:
        """Returns random logits [P, B, width], some of them extreme."""
        random = torch.Generator().manual_seed(seed)
        logits = torch.randn(*index.shape, self.width, generator=random) * spread
        return torch.where(torch.rand(logits.shape, generator=random) < 0.03, logits * 10, logits)

    def output(self, index: Tensor, logits: Tensor) -> Output:
        """Returns the heads that ``mask_logits`` makes of these logits."""
        return mask_logits(logits, self.layout.views(self.records[index]), self.config.targeting)

    def uniform(self, index: Tensor) -> Tensor:
        """Returns the draws [heads, P, B] of each agent's realm and slot."""
        return uniforms(draw, self.world, list(self.sizes), index // SLOTS, index % SLOTS)

    def column(self, name: str) -> int:
        """Returns a head's column in an action."""
        return list(self.sizes).index(name)

    def distributions(self, output: Output, choices: Tensor) -> tuple[Tensor, ...]:
        """Returns the log-probabilities of all heads, given the choices [P, B, heads]."""
        trade = choices[..., self.column("trade")] if "trade" in self.sizes else None
        return head_distributions(output, choices[..., 1], trade)

    def near_a_border(self, output: Output, choices: Tensor, uniform: Tensor) -> Tensor:
        """Returns [P, B] bool: a draw is within 1e-5 of a border between choices, where rounding may
        decide."""
        near = torch.zeros(uniform.shape[1:], dtype=torch.bool)
        for log, drawn in zip(self.distributions(output, choices), uniform, strict=True):
            near |= ((log.exp().double().cumsum(-1) - drawn[..., None]).abs() < 1e-5).any(-1)
        return near

    def masks(self, output: Output, choices: Tensor) -> list[Tensor]:
        """Returns the masks of each head, [P, B, n] bool: what the observation allows, given the choices [P,
        B, heads]."""
        masks = []
        for column, name in enumerate(self.sizes):
            if name == "target":
                masks.append(row_of(output.target_mask, choices[..., 1]))
            elif name == "price":
                assert output.price_mask is not None
                side = side_of(choices[..., column - 1], self.sizes["trade"])
                masks.append(row_of(output.price_mask, side))
            else:
                masks.append(getattr(output, name) > MASKED)
        return masks

    def possible(self, output: Output, choices: Tensor) -> Tensor:
        """Returns [P, B] bool: the observation allows every head's choice."""
        masks = zip(self.masks(output, choices), choices.unbind(-1), strict=True)
        return torch.stack([mask.gather(-1, c[..., None]).squeeze(-1) for mask, c in masks]).all(0)
