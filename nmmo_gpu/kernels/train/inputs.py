"""Encoding of all inputs of the network as one matrix; twin of ``nmmo_gpu.train.inputs``."""

from __future__ import annotations

from collections import namedtuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.config import WorldConfig
from nmmo_gpu.content import Material
from nmmo_gpu.kernels.launch import INTERPRETED, fields_of, launch
from nmmo_gpu.kernels.train.features import encode_features
from nmmo_gpu.world import network_inputs, observation_layout
from nmmo_gpu.world.network_inputs import PADDING, InputColumns, codes
from nmmo_gpu.world.observation_layout import ENTITY_FEATURES, SELF_FEATURES, ObservationLayout

_WindowLayout = namedtuple("_WindowLayout", "bytes material occupant")
_HeaderLayout = namedtuple("_HeaderLayout", "bytes self entities entity_kind")
"""The length of a record, and offsets of fields in it."""
_Records = namedtuple("_Records", "bytes shorts")
"""The same records as uint8 and as int16."""
_Scales = namedtuple("_Scales", "own entity")
_Window = namedtuple("_Window", "side pitch codes width stride")
"""Cells of a row, bytes from one row to the next, codes of a cell, columns to write, and columns of the
matrix."""
_Header = namedtuple("_Header", "nearest first columns tail stride")
"""Rows of the entity table; first column; numbers of columns, of unused columns at the end, and of columns of
the matrix."""

GRASS = tl.constexpr(int(Material.GRASS))
MATERIAL_CODES = tl.constexpr(len(Material) - 1)
OWN, FEATURES = tl.constexpr(len(SELF_FEATURES)), tl.constexpr(len(ENTITY_FEATURES))
DESCRIBED = tl.constexpr(len(network_inputs.DESCRIBED))
FRIEND, STRANGER = tl.constexpr(observation_layout.FRIEND), tl.constexpr(observation_layout.STRANGER)
COLUMNS = 2048
"""Columns of the window that a program writes at a time: a whole window of the default size."""
RECORDS = 64 if INTERPRETED else 1
"""Records that a program processes at a time."""
STEPS = 2 if INTERPRETED else 4
"""Number of times that a program processes ``RECORDS`` records."""
HEADER = 1 << 15 if INTERPRETED else 2048
"""Elements outside the windows that a program writes."""


@triton.jit
def _encode_window(
    records, index, out, rows, layout: tl.constexpr, window: tl.constexpr, COLUMNS: tl.constexpr,
    RECORDS: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    """One-hot codes of the cells.

    Order-free: each number is written by one program."""
    PARTS: tl.constexpr = (window.width + COLUMNS - 1) // COLUMNS
    program = tl.program_id(0)
    column = (program % PARTS) * COLUMNS + tl.arange(0, COLUMNS)
    cell, code = column // window.codes, column % window.codes
    occupied = code >= MATERIAL_CODES
    byte = cell // window.side * window.pitch + cell % window.side
    at = byte + tl.where(occupied, layout.occupant, layout.material)
    ground = tl.where(code < GRASS, code, code + 1)  # grass has no code
    wanted = tl.where(occupied, code - MATERIAL_CODES + 1, ground)
    known = column < window.side * window.side * window.codes
    for step in range(STEPS):
        place = ((program // PARTS).to(tl.int64) * STEPS + step) * RECORDS + tl.arange(0, RECORDS)
        here = place < rows
        line = tl.load(index + place, mask=here, other=0)
        named = here[:, None] & known[None, :]
        value = tl.load(records + line[:, None] * layout.bytes + at[None, :], mask=named, other=255)
        hit = tl.where(value.to(tl.int32) == wanted[None, :], 1.0, 0.0).to(out.dtype.element_ty)
        into = out + place[:, None] * window.stride + column[None, :]
        tl.store(into, hit, mask=here[:, None] & (column < window.width)[None, :])


@triton.jit
def _encode_header(
    records, scales, index, out, rows, layout: tl.constexpr, header: tl.constexpr, COLUMNS: tl.constexpr,
    PADDING: tl.constexpr, RECORDS: tl.constexpr,
):  # fmt: skip
    """Own state and entity table, the column of ones, and zeros in unused columns.

    Order-free: each number is written by one program."""
    place = tl.program_id(0).to(tl.int64) * RECORDS + tl.arange(0, RECORDS)
    here = (place < rows)[:, None]
    line = tl.load(index + place, mask=place < rows, other=0)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]

    own = here & (column >= 1) & (column <= OWN)
    shorts = records.shorts + line * (layout.bytes // 2) + layout.self // 2
    value = tl.load(shorts + column - 1, mask=own, other=0).to(tl.float32)
    known = (column >= 1) & (column <= OWN)
    factor = tl.load(scales.own + column - 1, mask=known, other=0.0)
    center = tl.load(scales.own + OWN + column - 1, mask=known, other=0.0)
    numbers = tl.minimum((value - center) * factor, 1.0)

    entry = column - 1 - OWN
    entity, feature = entry // DESCRIBED, entry % DESCRIBED
    table = (entry >= 0) & (entity < header.nearest)
    counted = table & (feature < FEATURES)
    at = layout.entities + entity * FEATURES + feature
    record = records.bytes + line * layout.bytes
    value = tl.load(record + at, mask=here & counted, other=0).to(tl.int8, bitcast=True)
    factor = tl.load(scales.entity + feature, mask=counted, other=0.0)
    numbers = tl.where(counted, value.to(tl.float32) * factor, numbers)
    kind = tl.load(record + layout.entity_kind + entity, mask=here & table, other=0).to(tl.int32)
    is_kind = kind == tl.where(feature == FEATURES, FRIEND, STRANGER)
    numbers = tl.where(table & (feature >= FEATURES), is_kind.to(tl.float32), numbers)
    numbers = tl.where(column == 0, 1.0, numbers)

    into = out + place[:, None] * header.stride
    written = here & (column < header.columns)
    tl.store(into + header.first + column, numbers.to(out.dtype.element_ty), mask=written)
    if header.tail > 0:
        column = tl.arange(0, PADDING)[None, :]
        zeros = tl.zeros([RECORDS, PADDING], out.dtype.element_ty)
        tl.store(into + header.stride - header.tail + column, zeros, mask=here & (column < header.tail))


def encode_inputs(
    records: Tensor,
    index: Tensor,
    config: WorldConfig,
    own_scale: Tensor,
    entity_scale: Tensor,
    dtype: torch.dtype,
) -> Tensor:
    """See ``nmmo_gpu.train.inputs.encode_inputs``."""
    layout = ObservationLayout(config)
    at = {name: field.offset for name, field in layout.fields.items()}
    columns, index = InputColumns.of(config), index.contiguous()
    out = torch.empty(*index.shape, columns.width, dtype=dtype, device=records.device)
    rows = index.numel()
    launch(
        _encode_window, triton.cdiv(rows, RECORDS * STEPS) * triton.cdiv(columns.one, COLUMNS), records,
        index, out, rows, layout=fields_of(_WindowLayout, layout, **at),
        window=_Window(layout.window, layout.pitch, codes(config) - 1, columns.one, columns.width),
        COLUMNS=COLUMNS, RECORDS=RECORDS, STEPS=STEPS,
    )  # fmt: skip
    extended = config.extended
    header = _Header(
        nearest=config.nearest, first=columns.one,
        columns=(columns.attributes.start if extended else columns.width) - columns.one,
        tail=columns.width - columns.attributes.stop if extended else 0, stride=columns.width,
    )  # fmt: skip
    padded = triton.next_power_of_2(header.columns)
    tall = max(1, HEADER // padded)
    launch(
        _encode_header, triton.cdiv(rows, tall), _Records(records, records.view(torch.int16)),
        _Scales(own_scale, entity_scale), index, out, rows, layout=fields_of(_HeaderLayout, layout, **at),
        header=header, COLUMNS=padded, PADDING=PADDING, RECORDS=tall,
    )  # fmt: skip
    if extended:
        encode_features(records, index, config, out[..., columns.attributes])
    return out
