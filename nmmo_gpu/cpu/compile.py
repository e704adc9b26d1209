"""Compiling loops, once per machine and version of the sources."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba


def compiled(function: Callable[..., Any] | None = None, *, inline: str = "never") -> Any:
    """``numba.njit`` without the GIL, and with a cache on the disk that notices every change.

    numba's own cache looks only at the file in which a function stands. Constants and inlined functions
    from other files would go unnoticed, and the loops would go on with yesterday's rules. So compiled code
    is kept in a folder that is named after all sources."""
    if function is None:
        return lambda f: compiled(f, inline=inline)
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(_folder())
    options: dict[str, Any] = {"nogil": True, "inline": inline}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder can be written: compile anew in each process
        return numba.njit(**options)(function)
    finally:
        settings.CACHE_DIR = before


@cache
def _folder() -> Path:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    patterns = ("*.py", "world/*.py", "cpu/*.py")
    for file in sorted(file for pattern in patterns for file in package.glob(pattern)):
        digest.update(file.read_bytes())
    parent = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(parent).expanduser() / "nmmo-gpu" / digest.hexdigest()[:16]
