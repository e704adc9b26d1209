#!/usr/bin/env python
"""A network from scratch: a multilayer perceptron that all populations share, which are one of its inputs.

examples/networks/shared_mlp.py [options of nmmo-gpu train chaos]
"""

from torch import Tensor, nn

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train.network_spec import NetworkSpec, Observations
from nmmo_gpu.train.run import train


class SharedMLP(nn.Module):
    """``policy.layers`` hidden layers of ``policy.hidden`` units after the first one."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        hidden = spec.policy.hidden
        self.first = nn.Linear(spec.encoded_size, hidden)
        self.population = nn.Embedding(spec.populations, hidden)  # the same as a one-hot input
        layers = [nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU()) for _ in range(spec.policy.layers)]
        self.hidden = nn.Sequential(nn.ReLU(), *layers)
        self.logits = nn.Linear(hidden, spec.choices)
        self.value = nn.Linear(hidden, 1)
        nn.init.orthogonal_(self.logits.weight, 0.01)  # nearly uniform, so that every action is tried

    def forward(self, obs: Observations) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(self.first(obs.encoded()) + self.population(obs.population))
        return self.logits(hidden), self.value(hidden).squeeze(-1)


if __name__ == "__main__":
    train(train_options("chaos"), network=SharedMLP)
