"""Checks a config's fields against their annotations.

The annotation of a field declares its bounds: ``slots: Annotated[int, Bounds(ge=1, le=127)]``."""

from __future__ import annotations

import dataclasses
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from nmmo_gpu.content.numbers import python_number
from nmmo_gpu.errors import ConfigError

NAMES = {
    int: "an integer",
    float: "a finite number",
    bool: "True or False",
    str: "a string",
    NoneType: "None",
}


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The permitted range of a number; the names are those of annotated-types and Pydantic."""

    ge: float | None = None
    """Minimum."""
    gt: float | None = None
    """The number must be above this."""
    le: float | None = None
    """Maximum."""
    lt: float | None = None
    """The number must be below this."""
    or_zero: bool = False
    """0 is permitted as well."""

    def __contains__(self, value: float) -> bool:
        return (self.or_zero and value == 0) or (
            (self.ge is None or value >= self.ge)
            and (self.gt is None or value > self.gt)
            and (self.le is None or value <= self.le)
            and (self.lt is None or value < self.lt)
        )

    def __str__(self) -> str:
        if self.ge is not None and self.le is not None:
            return f"from {self.ge} to {self.le}"
        limits = {"of at least": self.ge, "above": self.gt, "of at most": self.le, "below": self.lt}
        return " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None)


Port = Annotated[int, Bounds(ge=0, le=65535)]
"""A TCP port; with 0, the operating system chooses a free one."""


def check_fields(config: object) -> None:
    """Raises ConfigError for the first field of a dataclass whose value does not fit its annotation.

    Numbers of NumPy and torch become Python's, lists become tuples, and paths become strings where those are
    due, so that equal configs are equal, hashable and the same in JSON."""
    for name, annotation in _annotations(type(config)).items():  # type: ignore[arg-type]  # types are hashable
        value = getattr(config, name)
        converted = _converted(value, annotation)
        if converted is not value:
            object.__setattr__(config, name, converted)
        problem = _problem(converted, annotation)
        if problem is not None:
            refuse(config, name, problem, f"choose {_permitted(annotation)}")


def checked(name: str, value: Any, annotation: Any) -> Any:
    """Returns the value of a function's argument, converted as by ``check_fields``.

    Raises ConfigError if it does not fit the annotation."""
    converted = _converted(value, annotation)
    problem = _problem(converted, annotation)
    if problem is not None:
        raise ConfigError(f"{name} = {value!r} {problem}; choose {_permitted(annotation)}.")
    return converted


def refuse(config: object, name: str, problem: str, remedy: str) -> NoReturn:
    """Raises ConfigError about a field, such as "slots = 0 is out of range; choose at least 1."."""
    raise ConfigError(f"{name} = {getattr(config, name)!r} {problem}; {remedy}.")


@cache
def _annotations(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def _converted(value: Any, annotation: Any) -> Any:
    """A value as Python's own type, where the annotation asks for one; other values unchanged."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _converted(value, arguments[0])
    if origin in (Union, UnionType):
        for alternative in arguments:
            converted = _converted(value, alternative)
            if _problem(converted, alternative) is None:
                return converted
        return value
    if origin is tuple:
        if not isinstance(value, (tuple, list)):
            return value
        kinds = arguments[:1] * len(value) if arguments[-1] is ... else arguments
        if len(kinds) != len(value):
            return tuple(value)
        converted = tuple(map(_converted, value, kinds))
        same = type(value) is tuple and all(a is b for a, b in zip(converted, value, strict=True))
        return value if same else converted
    if isinstance(value, os.PathLike) and annotation is str:
        return os.fspath(value)
    if isinstance(value, str) and annotation is Path:
        return Path(value)
    return python_number(value) if annotation in (int, float, bool, str) or origin is Literal else value


def _problem(value: Any, annotation: Any) -> str | None:
    """What is wrong with a value, as the predicate of a sentence; None if it fits."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        problem = _problem(value, arguments[0])
        if problem is None and any(value not in bounds for bounds in _bounds(annotation)):
            problem = "is out of range"
        return problem
    if origin in (Union, UnionType):
        problems = [_problem(value, alternative) for alternative in arguments]
        return None if None in problems else problems[0]
    if origin is Literal:
        return None if isinstance(value, str) and value in arguments else "is unknown"
    if origin is tuple:
        return _problem_of_tuple(value, arguments)
    if annotation is float:
        # The comparison is false for NaN, and exact for integers that no float can represent.
        fits = (
            type(value) is not bool and isinstance(value, (int, float)) and abs(value) <= sys.float_info.max
        )
    else:
        fits = isinstance(value, annotation) and (annotation is bool or type(value) is not bool)
    return None if fits else f"is not {_permitted(annotation)}"


def _problem_of_tuple(value: Any, arguments: tuple[Any, ...]) -> str | None:
    if not isinstance(value, tuple):
        return "is not a tuple"
    if arguments[-1] is ...:
        arguments = arguments[:1] * len(value)
    if len(value) != len(arguments):
        return f"has {len(value)} elements"
    for element, annotation in zip(value, arguments, strict=True):
        problem = _problem(element, annotation)
        if problem is not None:
            return f"holds {element!r}, which {problem}"
    return None


def _permitted(annotation: Any) -> str:
    """The permitted values, as the object of a sentence."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        words = "a number" if arguments[0] is float and _bounds(annotation) else _permitted(arguments[0])
        for bounds in _bounds(annotation):
            words = f"{'0, or ' if bounds.or_zero else ''}{words} {bounds}"
        return words
    if origin in (Union, UnionType):
        return ", or ".join(map(_permitted, arguments))
    if origin is Literal:
        *others, last = (f'"{choice}"' for choice in arguments)
        return f"{', '.join(others)} or {last}"
    if origin is tuple:
        count = ", each element" if arguments[-1] is ... else f" of {len(arguments)} elements, each"
        return f"a tuple{count} {_permitted(arguments[0])}"
    article = "an" if annotation.__name__[0] in "AEIOU" else "a"
    return NAMES.get(annotation, f"{article} {annotation.__name__}")


def _bounds(annotation: Any) -> list[Bounds]:
    return [extra for extra in annotation.__metadata__ if isinstance(extra, Bounds)]
