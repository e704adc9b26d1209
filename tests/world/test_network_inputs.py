"""The layout of the network's inputs."""

from __future__ import annotations

import pytest
import torch

from nmmo_gpu.config import preset
from nmmo_gpu.world.network_inputs import (
    ALIGNMENT,
    PADDING,
    InputColumns,
    attributes_width,
    codes,
    entity_attributes_width,
    self_attributes_width,
    split,
)  # fmt: skip


@pytest.mark.parametrize("name", ["chaos", "full"])
def test_columns_do_not_overlap(name):
    """All parts are in order, each column belongs to at most one part, parts start aligned, and there is no
    more padding than that needs."""
    config = preset(name)
    columns = InputColumns.of(config)
    window, own, entities, attributes = columns.window, columns.own, columns.entities, columns.attributes
    assert (window.start, window.stop) == (0, 225 * (codes(config) - 1))
    assert 0 <= columns.one - window.stop < ALIGNMENT and columns.one % ALIGNMENT == 0
    assert (own.start, own.stop) == (columns.one + 1, columns.one + 13)
    assert (entities.start, entities.stop) == (own.stop, own.stop + 8 * 10)
    assert 0 <= attributes.start - entities.stop < ALIGNMENT and attributes.start % ALIGNMENT == 0
    assert (attributes.stop > attributes.start) == (name == "full")
    assert 0 <= columns.width - attributes.stop < PADDING and columns.width % PADDING == 0


def test_attributes_are_grouped_by_row():
    """Own attributes come first, then those of each row of the entity table in turn; all stay in place."""
    config = preset("full", nearest=3)
    own, row = self_attributes_width(config), entity_attributes_width(config)
    assert attributes_width(config) == own + 3 * row
    numbers = torch.arange(2.0 * attributes_width(config)).view(2, -1)
    about_all, about_others = split(numbers, config)
    assert torch.equal(about_all, numbers) and about_others.shape == (2, 3, row)
    assert about_others[1, 2, 0] == numbers[1, own + 2 * row] and about_others[0, 0, 0] == own
