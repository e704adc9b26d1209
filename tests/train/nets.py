"""Small networks for tests of ``nmmo_gpu.train.network_spec``."""

from __future__ import annotations

import torch
from torch import nn


class Plain(nn.Module):
    """One hidden layer, shared by all populations."""

    def __init__(self, spec):
        super().__init__()
        self.first = nn.Linear(spec.encoded_size, 8)
        self.heads = nn.Linear(8, spec.choices + 1)

    def forward(self, obs):
        out = self.heads(torch.tanh(self.first(obs.encoded())))
        return out[..., :-1], out[..., -1]


class Recurrent(Plain):
    """With a GRU cell."""

    state_size = 8

    def __init__(self, spec):
        super().__init__(spec)
        self.cell = nn.GRUCell(8, 8)

    def forward(self, obs, state):
        encoded = torch.tanh(self.first(obs.encoded()))
        state = self.cell(encoded.flatten(0, 1), state.flatten(0, 1)).view(state.shape)
        out = self.heads(state)
        return out[..., :-1], out[..., -1], state


class Central(Plain):
    """The value also depends on the number of living agents of the realm and on their summed health."""

    def __init__(self, spec):
        super().__init__(spec)
        self.realm = nn.Linear(2, 1)

    def forward(self, obs):
        logits, value = super().forward(obs)
        alive = obs.everyone("alive")
        health = (obs.everyone("self")[..., 1] * alive).sum(1)
        realms = torch.stack((alive.sum(1), health), -1).float() / 100
        return logits, value + self.realm(realms)[obs.realm].squeeze(-1)


class Separate(nn.Module):
    """Weights of each population."""

    per_population = True

    def __init__(self, spec):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(spec.populations, spec.encoded_size, spec.choices + 1) * 0.01)

    def forward(self, obs):
        out = torch.bmm(obs.encoded(), self.weight)
        return out[..., :-1], out[..., -1]
