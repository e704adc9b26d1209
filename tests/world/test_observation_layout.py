"""The observation record: the position of every field, without overlaps."""

from __future__ import annotations

import math

import pytest
import torch
from support.helpers import ODD

from nmmo_gpu.config import preset
from nmmo_gpu.world.observation_layout import ALIGNMENT, ObservationLayout, row_pitch

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
    for name, field in layout.fields.items():
        if field.pitch:
            end = -(-end // ALIGNMENT) * ALIGNMENT
            assert field.pitch >= field.shape[1] and field.pitch % min(field.pitch, ALIGNMENT) == 0
        assert field.offset == end and field.offset % field.dtype.itemsize == 0, name
        end += field.bytes
    assert end <= layout.bytes < end + ALIGNMENT and layout.bytes % ALIGNMENT == 0


@pytest.mark.parametrize("window, pitch", [(3, 4), (5, 8), (7, 8), (9, 16), (15, 16), (17, 32), (31, 32)])
def test_rows_of_windows_start_at_words(window, pitch):
    assert row_pitch(window) == pitch


def test_padding_belongs_to_no_field(layout):
    """Clearing it leaves all fields, and nothing else, as they were."""
    records = torch.ones(2, layout.bytes, dtype=torch.uint8)
    layout.clear_padding(records)
    for view in layout.views(records).values():
        assert view.contiguous().view(-1).view(torch.uint8).all()
    fields = sum(math.prod(field.shape) * field.dtype.itemsize for field in layout.fields.values())
    assert int(records.sum()) == 2 * fields and layout.bytes > fields


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
    """Two windows of 15 rows of 16 bytes, one byte per tile, and a header of under 150 bytes."""
    layout = ObservationLayout(preset("chaos"))
    assert layout.header_bytes < 150
    assert layout.bytes == layout.header_bytes + 2 * 15 * 16
    assert {name: field.shape for name, field in layout.fields.items()} == {
        "self": (12,), "entities": (8, 8), "entity_kind": (8,), "move_mask": (5,), "style_mask": (3,),
        "target_mask": (3, 9), "alive": (), "material": (15, 15), "occupant": (15, 15),
    }  # fmt: skip
