"""Compilation of loops with numba, once per machine and version of the sources."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.dispatcher import Dispatcher


def compiled(function: Callable[..., Any] | None = None, *, inline: str = "never") -> Any:
    """``numba.njit`` without the GIL, and with an on-disk cache that detects every change.

    numba's own cache checks only the file in which a function is defined. It would miss changes to constants
    and inlined functions in other files, and use outdated code. Therefore the cache folder's name is a hash
    of all sources.

    A closure that calls other compiled closures is not stored: numba identifies those by numbers that differ
    in every process, so it would never find the closure again, and store one more copy each time."""
    if function is None:
        return lambda f: compiled(f, inline=inline)
    settings: Any = numba.config
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(_folder())
    options: dict[str, Any] = {"nogil": True, "inline": inline}
    cells = function.__closure__ or ()
    stored = not any(isinstance(cell.cell_contents, Dispatcher) for cell in cells)
    try:
        return numba.njit(cache=stored, **options)(function)
    except RuntimeError:  # no writable folder: compile in each process
        return numba.njit(**options)(function)
    finally:
        settings.CACHE_DIR = before


@cache
def _folder() -> Path:
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    patterns = ("*.py", *(f"{folder}/**/*.py" for folder in ("config", "content", "world", "cpu")))
    for file in sorted(file for pattern in patterns for file in package.glob(pattern)):
        digest.update(file.read_bytes())
    parent = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(parent).expanduser() / "nmmo-gpu" / digest.hexdigest()[:16]
