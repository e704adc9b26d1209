#!/usr/bin/env python
"""A different network in Sword: attention over the entities in view, on top of the stock network's trunk.

examples/trinity_network.py [options of nmmo-gpu train chaos]
"""

import torch
from torch import Tensor, nn

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train.policy import Policy, Weights
from nmmo_gpu.train.run import train
from nmmo_gpu.train.trinity import Sword, Trinity


class Attentive(Policy):
    """Asks the entity table by what the trunk made of everything, and adds what it answers."""

    def __init__(self, world_config, config, generator, *parts):  # type: ignore[no-untyped-def]
        super().__init__(world_config, config, generator, *parts)
        seen = (world_config.populations, config.hidden, self.described)
        self.ask = nn.Parameter(torch.randn(*seen, generator=generator) / config.hidden**0.5)
        self.answer = nn.Parameter(torch.zeros(seen[0], seen[2], seen[1]))

    def encode(
        self, records: Tensor, index: Tensor, views: dict[str, Tensor], weights: Weights
    ) -> tuple[Tensor, Tensor]:
        hidden, entities = super().encode(records, index, views, weights)  # [P, B, hidden], [P, B, rows, F]
        fit = (entities * torch.bmm(hidden, self.ask.to(hidden.dtype))[:, :, None]).sum(-1)
        fit = fit.masked_fill(views["entity_kind"] == 0, -1e4)
        seen = (fit.softmax(-1)[..., None] * entities).sum(-2)
        return hidden + torch.bmm(seen, self.answer.to(hidden.dtype)), entities


class Attending(Sword):
    network = Attentive


if __name__ == "__main__":
    train(train_options("chaos"), trinity=Trinity(sword=Attending))
