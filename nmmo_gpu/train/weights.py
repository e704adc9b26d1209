"""The policy network's matrices, as the matrix products use them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nmmo_gpu.content import Material
from nmmo_gpu.train import symmetry
from nmmo_gpu.world.network_inputs import InputColumns


class Weights(NamedTuple):
    """The network's matrices [P, in, out] and biases [P, 1, out], in the form used by the matrix products."""

    window: Tensor
    self_in: Tensor
    entities: Tensor
    attributes: Tensor | None
    """[P, own attributes + entity attributes, hidden / 4]: the same for the four directions."""
    systems: Tensor | None
    """[P, columns of ``nmmo_gpu.train.features.system_features``, hidden / 4]: likewise."""
    input_bias: Tensor
    trunk: tuple[Tensor, ...]
    trunk_bias: tuple[Tensor, ...]
    gru_input: Tensor | None
    gru_hidden: Tensor | None
    gru_bias: Tensor | None
    action_heads: Tensor
    action_heads_bias: Tensor
    query: Tensor | None
    inputs: Tensor | None
    """[P, columns, hidden]: window, own state, entities, attributes and bias as one matrix, in the order of
    ``InputColumns``; None if each is multiplied separately."""

    def joined(self, columns: InputColumns) -> Weights:
        """Returns the same matrices with ``inputs``, assembled from the others."""
        # Grass has no column: the bias includes its contribution.
        coded = torch.cat((self.window[:, :, : Material.GRASS], self.window[:, :, Material.GRASS + 1 :]), 2)
        parts = [
            coded.flatten(1, 2), self._zeros(columns.one - columns.window.stop), self.input_bias,
            self.self_in, self.entities,
        ]  # fmt: skip
        end = columns.entities.stop
        if self.attributes is not None:
            parts += [self._zeros(columns.attributes.start - end), symmetry.repeat(self.attributes)]
            end = columns.attributes.stop
        return self._replace(inputs=torch.cat((*parts, self._zeros(columns.width - end)), 1))

    def _zeros(self, rows: int) -> Tensor:
        populations, _, hidden = self.input_bias.shape
        return self.input_bias.new_zeros(populations, rows, hidden)
