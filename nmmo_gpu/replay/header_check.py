"""Checks the header of a recording, which is untrusted, against docs/replay-format.md."""

from __future__ import annotations

import math
from typing import Any

from nmmo_gpu.replay import format as fmt
from nmmo_gpu.replay.columns import TYPES, Column
from nmmo_gpu.replay.header import FORMAT

MAX_POPULATIONS = 256
MAX_LISTED = 4096
MAX_TEXT = 4096
MAX_DIMENSIONS = 16
LARGEST = (1 << 31) - 1


def check_header(value: Any) -> tuple[Column, ...]:
    """Returns the columns of a header; ValueError, which names the field, if it is foreign or invalid."""
    header = _record(value, "the header")
    if _field(header, "format") != FORMAT or _field(header, "version") != fmt.VERSION:
        raise ValueError("it is not that of a recording")
    for name in ("software", "title"):
        _text(_field(header, name), name)
    entities = _whole(_field(header, "entities"), "entities", 1, fmt.MAX_ENTITIES)
    for name, least, most in (
        ("height", 1, fmt.MAX_SIDE), ("width", 1, fmt.MAX_SIDE), ("border", 0, fmt.MAX_SIDE),
        ("agents", 1, entities), ("populations", 1, MAX_POPULATIONS), ("realm", 0, LARGEST),
        ("vision", 1, 64), ("nearest", 1, (2 * 64 + 1) ** 2), ("immune_ticks", 0, LARGEST),
        ("words", 0, fmt.MAX_WIDTH),
    ):  # fmt: skip
        _whole(_field(header, name), name, least, most)
    _check_tables(header)
    listed = _list(_field(header, "columns"), "columns", fmt.MAX_COLUMNS)
    columns = tuple(map(_column, listed))
    by_name = {column.name: column for column in columns}
    if len(by_name) < len(columns):
        raise ValueError("columns: two have the same name")
    # Recordings of earlier versions have no systems.
    for system in _list(header.get("systems", []), "systems", MAX_LISTED):
        _check_system(_record(system, "systems"), by_name)
    return columns


def _check_tables(header: dict[str, Any]) -> None:
    materials = _list(_field(header, "materials"), "materials", 256)
    if not materials:
        raise ValueError("materials: there are none")
    for row in map(_record, materials, ["materials"] * len(materials)):
        _text(_field(row, "name", "materials"), "materials")
        color = _list(_field(row, "color", "materials"), "materials", 3)
        if [_whole(part, "materials", 0, 255) for part in color] != color or len(color) != 3:
            raise ValueError("materials: a color is not three numbers")
        if type(_field(row, "walkable", "materials")) is not bool:
            raise ValueError("materials: walkable is not true or false")
    for material in _list(_field(header, "used_up"), "used_up", 256):
        _whole(material, "used_up", 0, len(materials) - 1)
    for name in ("causes", "styles", "skills", "works"):
        for text in _list(_field(header, name), name, MAX_LISTED):
            _text(text, name)
    for name, most in (("reach", fmt.MAX_SIDE), ("prices", LARGEST)):
        for number in _list(_field(header, name), name, MAX_LISTED):
            _whole(number, name, 0, most)
    for move in _list(_field(header, "moves"), "moves", MAX_LISTED):
        for part in _list(move, "moves", 2):
            _whole(part, "moves", -fmt.MAX_SIDE, fmt.MAX_SIDE)
    for item in _list(_field(header, "items"), "items", MAX_LISTED):
        for name in ("name", "gear"):
            _text(_field(_record(item, "items"), name, "items"), "items")
    for ranks in _record(_field(header, "gear"), "gear").values():
        for item in _list(ranks, "gear", MAX_LISTED):
            _whole(item, "gear", 0, MAX_LISTED)
    for row in _list(_field(header, "npcs"), "npcs", MAX_LISTED):
        kind = _record(row, "npcs")
        for name in ("name", "hunts"):
            _text(_field(kind, name, "npcs"), "npcs")
        for name in ("health", "level", "first", "count"):
            _whole(_field(kind, name, "npcs"), "npcs", 0, LARGEST)
    for choices in _record(_field(header, "heads"), "heads").values():
        _whole(choices, "heads", 1, fmt.MAX_WIDTH)
    maxima = _record(_field(header, "maxima"), "maxima")
    for name in ("health", "food", "water"):
        most = _field(maxima, name, "maxima")
        if name != "health" or most is not None:
            _whole(most, "maxima", 1, LARGEST)


def _check_system(system: dict[str, Any], columns: dict[str, Column]) -> None:
    for name in ("name", "class"):
        _text(_field(system, name, "systems"), "systems")
    _record(_field(system, "settings", "systems"), "systems")
    if type(_field(system, "edits", "systems")) is not bool:
        raise ValueError("systems: edits is not true or false")
    for value in _list(_field(system, "fields", "systems"), "systems", fmt.MAX_COLUMNS):
        field = _record(value, "systems")
        for name in ("name", "about"):
            _text(_field(field, name, "systems"), "systems")
        low = _whole(_field(field, "low", "systems"), "systems", -LARGEST, LARGEST)
        _whole(_field(field, "high", "systems"), "systems", low + 1, LARGEST)
        if type(_field(field, "light", "systems")) is not bool:
            raise ValueError("systems: light is not true or false")
        shape = _list(_field(field, "shape", "systems"), "systems", MAX_DIMENSIONS)
        width = math.prod(_whole(size, "systems", 1, fmt.MAX_WIDTH) for size in shape)
        column = columns.get(f"{system['name']}.{field['name']}")
        if column is None or column.of != "agents" or column.width != width:
            raise ValueError("systems: a field has no column, or one of another shape")


def _column(value: Any) -> Column:
    fields = _record(value, "columns")
    if set(fields) != set(Column.__dataclass_fields__):
        raise ValueError("columns: one has other fields than name, type, of, width, delta and scale")
    column = Column(**fields)
    _text(column.name, "columns")
    _whole(column.width, "columns", 1, fmt.MAX_WIDTH)
    known = isinstance(column.type, str) and column.type in TYPES
    scaled = type(column.scale) in (int, float) and math.isfinite(column.scale)
    if not known or column.of not in ("entities", "agents", "realm") or type(column.delta) is not bool:
        raise ValueError(f"columns: the type of {column.name!r}, or what it is of, is unknown")
    if not scaled:
        raise ValueError(f"columns: the scale of {column.name!r} is not a number")
    return column


def _field(record: dict[str, Any], name: str, table: str = "") -> Any:
    if name not in record:
        raise ValueError(f"{table}: {name} is missing" if table else f"{name} is missing")
    return record[name]


def _record(value: Any, field: str) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > MAX_LISTED:
        raise ValueError(f"{field}: it has no fields, or too many")
    return value


def _list(value: Any, field: str, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"{field}: it is not a list of at most {most} entries")
    return value


def _text(value: Any, field: str) -> None:
    # Half of a surrogate pair cannot be sent or printed.
    if not isinstance(value, str) or len(value) > MAX_TEXT or any("\ud800" <= c <= "\udfff" for c in value):
        raise ValueError(f"{field}: it is not a text of at most {MAX_TEXT} characters")


def _whole(value: Any, field: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{field}: it is not a whole number from {least} to {most}")
    return value
