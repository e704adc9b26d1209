#!/usr/bin/env python
"""Attention over the agent and the entities it sees: one token each (Vaswani et al. 2017, arXiv 1706.03762).

examples/networks/transformer.py [options of nmmo-gpu train chaos]
"""

import torch
from torch import Tensor, nn

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train.network_spec import NetworkSpec, Observations
from nmmo_gpu.train.run import train
from nmmo_gpu.world.observation_layout import NPC


def symlog(numbers: Tensor) -> Tensor:
    """Scales numbers of any size, keeping their signs."""
    numbers = numbers.float()
    return numbers.sign() * numbers.abs().log1p()


class Transformer(nn.Module):
    """Own state and window are the first token, each row of the entity table is one more."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        width, fields = spec.policy.hidden, spec.layout.fields
        self.own = nn.Linear(spec.encoded_size, width)
        self.entity = nn.Linear(fields["entities"].shape[-1], width)
        self.kind = nn.Embedding(NPC + len(spec.world.content.npcs), width)
        self.attention = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True),
            spec.policy.layers,
            enable_nested_tensor=False,
        )
        # Learned targets are rows of the entity table, so each token gives a logit; the first is "none".
        self.pointed = {"target"} if spec.policy.targeting == "learned" else set()
        sizes = {name: 1 if name in self.pointed else size for name, size in spec.heads.items()}
        self.heads = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})
        self.value = nn.Linear(width, 1)

    def forward(self, obs: Observations) -> tuple[Tensor, Tensor]:
        kind = obs["entity_kind"].long()  # [P, B, rows], 0 for an empty row
        entities = self.entity(symlog(obs["entities"])) + self.kind(kind)
        tokens = torch.cat((self.own(obs.encoded())[..., None, :], entities), -2)
        empty = nn.functional.pad(kind == 0, (1, 0), value=False)  # the agent itself is always there
        tokens = self.attention(tokens.flatten(0, 1), src_key_padding_mask=empty.flatten(0, 1))
        tokens = tokens.view(*empty.shape, -1)
        own = tokens[..., 0, :]
        parts = [
            head(tokens).squeeze(-1) if name in self.pointed else head(own)
            for name, head in self.heads.items()
        ]
        return torch.cat(parts, -1), self.value(own).squeeze(-1)


if __name__ == "__main__":
    train(train_options("chaos"), network=Transformer)
