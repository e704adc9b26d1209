#!/usr/bin/env python
"""A different network in Sword: attention over the entities in view, on top of the default network's trunk.

examples/trinity_network.py [options of nmmo-gpu train chaos]
"""

import torch
from torch import Tensor, nn

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import train
from nmmo_gpu.train.trinity import Sword, Trinity
from nmmo_gpu.train.weights import Weights


class Attentive(Policy):
    """Adds attention over the rows of the entity table, with the trunk's output as the query."""

    def __init__(self, world_config, config, generator, *parts):  # type: ignore[no-untyped-def]
        super().__init__(world_config, config, generator, *parts)
        seen = (world_config.populations, config.hidden, self.described)
        self.ask = nn.Parameter(torch.randn(*seen, generator=generator) / config.hidden**0.5)
        self.answer = nn.Parameter(torch.zeros(seen[0], seen[2], seen[1]))

    def encode(
        self, records: Tensor, index: Tensor, views: dict[str, Tensor], weights: Weights
    ) -> tuple[Tensor, Tensor]:
        hidden, entities = super().encode(records, index, views, weights)  # [P, B, hidden], [P, B, rows, F]
        score = (entities * torch.bmm(hidden, self.ask.to(hidden.dtype))[:, :, None]).sum(-1)
        score = score.masked_fill(views["entity_kind"] == 0, -1e4)
        attended = (score.softmax(-1)[..., None] * entities).sum(-2)
        return hidden + torch.bmm(attended, self.answer.to(hidden.dtype)), entities


class Attending(Sword):
    network = Attentive


if __name__ == "__main__":
    train(train_options("chaos"), trinity=Trinity(sword=Attending))
