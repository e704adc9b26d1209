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

    window: Tensor | None
    """This and the next three are None if ``inputs`` holds them."""
    self_in: Tensor | None
    entities: Tensor | None
    input_bias: Tensor | None
    attributes: Tensor | None
    """[P, own attributes + entity attributes, hidden / 4]: the same for the four directions."""
    systems: Tensor | None
    """[P, columns of ``nmmo_gpu.train.features.system_features``, hidden / 4]: likewise."""
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


def joined(
    window: Tensor, self_in: Tensor, entities: Tensor, input_bias: Tensor, attributes: Tensor | None,
    columns: InputColumns,
) -> Tensor:  # fmt: skip
    """Returns ``Weights.inputs``, assembled from the other matrices of ``Weights``."""
    populations, _, hidden = input_bias.shape

    def zeros(rows: int) -> Tensor:
        return input_bias.new_zeros(populations, rows, hidden)

    # Grass has no column: the bias includes its contribution.
    coded = torch.cat((window[:, :, : Material.GRASS], window[:, :, Material.GRASS + 1 :]), 2)
    parts = [coded.flatten(1, 2), zeros(columns.one - columns.window.stop), input_bias, self_in, entities]
    end = columns.entities.stop
    if attributes is not None:
        parts += [zeros(columns.attributes.start - end), symmetry.repeat(attributes)]
        end = columns.attributes.stop
    return torch.cat((*parts, zeros(columns.width - end)), 1)
