"""The observation record: the position of every field, without overlaps."""

from __future__ import annotations

import pytest
import torch
from support.helpers import ODD

from nmmo_gpu.config import preset
from nmmo_gpu.world.observation_layout import ALIGNMENT, ObservationLayout

CONFIGS = [
    {},
    {"vision": 1, "nearest": 1, "reach": (1, 1, 1)},
    {"nearest": 3},
    {"border": 15, "height": 64, "width": 64, "vision": 15, "nearest": 40},
]


@pytest.fixture(params=CONFIGS, ids=str)
def layout(request):
    return ObservationLayout(preset("chaos", **{**ODD, "slots": 7, "populations": 7, **request.param}))


def test_fields_are_aligned_disjoint_and_fill_the_record_up_to_padding(layout):
    end = 0
    for field in layout.fields.values():
        assert field.offset == end and field.offset % field.dtype.itemsize == 0
        end += field.bytes
    assert end <= layout.bytes < end + ALIGNMENT and layout.bytes % ALIGNMENT == 0


def test_views_have_the_documented_shapes_and_share_memory(layout):
    records = layout.allocate(3, 7, device="cpu")
    assert records.shape == (3, 7, layout.bytes) and records.dtype == torch.uint8 and not records.any()
    views = layout.views(records)
    assert set(views) == set(layout.fields)
    for name, field in layout.fields.items():
        assert views[name].shape == (3, 7, *field.shape) and views[name].dtype == field.dtype
        records.zero_()
        views[name].fill_(1)
        first, last = field.offset, field.offset + field.bytes
        assert records[..., first:last].any() and not records[..., :first].any()
        assert not records[..., last:].any()


def test_the_header_has_all_fields_but_the_windows(layout):
    records = layout.allocate(5, device="cpu")
    head = layout.views(records[:, : layout.header_bytes])
    assert set(layout.fields) - set(head) == {"material", "occupant"}
    assert all(head[name].data_ptr() == view.data_ptr() for name, view in layout.views(records).items()
               if name in head)  # fmt: skip


def test_the_default_record_is_as_small_as_its_fields():
    """Two 15 x 15 windows of one byte per tile, and a header of under 150 bytes."""
    layout = ObservationLayout(preset("chaos"))
    assert layout.header_bytes < 150
    assert 450 + layout.header_bytes <= layout.bytes < 450 + layout.header_bytes + ALIGNMENT
    assert {name: field.shape for name, field in layout.fields.items()} == {
        "self": (12,), "entities": (8, 8), "entity_kind": (8,), "move_mask": (5,), "style_mask": (3,),
        "target_mask": (3, 9), "alive": (), "material": (15, 15), "occupant": (15, 15),
    }  # fmt: skip
