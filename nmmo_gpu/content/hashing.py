"""Hashes that are computed once per object."""

from __future__ import annotations

from typing import Any, TypeVar

Class = TypeVar("Class")
KEY = "_hash"


def hash_once(cls: type[Class]) -> type[Class]:
    """Class decorator for a frozen dataclass: computes the hash of an object once.

    A config is a key of caches that each tick reads, and hashing one takes some ten microseconds. The hash is
    not pickled, since that of a string differs between processes."""
    changed: Any = cls
    compute = changed.__hash__

    def __hash__(self: Any) -> int:
        try:
            known: int = self.__dict__[KEY]
        except KeyError:
            known = self.__dict__[KEY] = compute(self)
        return known

    def __getstate__(self: Any) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != KEY}

    changed.__hash__, changed.__getstate__ = __hash__, __getstate__
    return cls
