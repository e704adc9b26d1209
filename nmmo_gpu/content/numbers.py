"""Numbers of NumPy and torch where Python's are meant."""

from __future__ import annotations

import dataclasses
from typing import Any


def python_number(value: Any) -> Any:
    """Returns the Python number or string in a NumPy scalar, or in an array or tensor without dimensions;
    every other value unchanged.

    Sweeps and random generators give such numbers. They would make equal configs unequal in JSON, and wrap
    where Python's numbers do not."""
    if type(value) in (int, float, bool, str) or value is None:
        return value
    scalar = getattr(value, "shape", None) == () and hasattr(value, "item")
    if not scalar or getattr(value, "is_meta", False):
        return value
    item = value.item()
    return item if type(item) in (int, float, bool, str) else value


def convert_numbers(row: Any) -> None:
    """Applies ``python_number`` to the fields of a frozen dataclass, and to the elements of its tuples."""
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        converted = tuple(map(python_number, value)) if type(value) is tuple else python_number(value)
        object.__setattr__(row, field.name, converted)
