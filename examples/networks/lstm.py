#!/usr/bin/env python
"""A recurrent network: an LSTM cell (Hochreiter and Schmidhuber 1997) between a linear layer and the heads.

examples/networks/lstm.py [options of nmmo-gpu train chaos]
"""

import torch
from torch import Tensor, nn

from nmmo_gpu.cli.options import train_options
from nmmo_gpu.train.network_spec import NetworkSpec, Observations
from nmmo_gpu.train.run import train


class LSTM(nn.Module):
    """``state_size`` makes it recurrent. The trainer keeps the state of every agent, sets it to zero at
    birth, and calls ``forward`` tick by tick when it learns."""

    def __init__(self, spec: NetworkSpec) -> None:
        super().__init__()
        hidden = spec.policy.hidden
        self.state_size = 2 * hidden  # output and cell
        self.encoder = nn.Sequential(nn.Linear(spec.encoded_size, hidden), nn.ReLU())
        self.cell = nn.LSTMCell(hidden, hidden)
        self.logits = nn.Linear(hidden, spec.choices)
        self.value = nn.Linear(hidden, 1)

    def forward(self, obs: Observations, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoded = self.encoder(obs.encoded())
        output, cell = state.flatten(0, 1).chunk(2, -1)
        output, cell = self.cell(encoded.flatten(0, 1), (output, cell))
        state = torch.cat((output, cell), -1).view(state.shape)
        hidden = output.view(encoded.shape)
        return self.logits(hidden), self.value(hidden).squeeze(-1), state


if __name__ == "__main__":
    train(train_options("chaos"), network=LSTM)
