"""Compiled loops on disk. A file that is damaged is compiled again, and a folder that cannot be used costs
time, not the run.

numba's own cache raises an error for a file that is cut off, runs one whose bits have changed, needs a folder
that is writable, and lets two processes that compile at once take each other's files for their own. Here each
file holds one compiled loop, its key and a checksum, and is replaced in one step.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from nmmo_gpu.files import clear_parts, replace_bytes

MAX_BYTES = 64 << 20
"""Maximum size of a file that is read; a loop takes less than 1 MB."""

_DIGEST = hashlib.sha256().digest_size


class CompilationCache(FunctionCache):
    """The cache of one function. It takes the place of numba's and uses none of its files."""

    def __init__(self, function: Callable[..., Any], folder: Path | None) -> None:
        """Reads and writes nothing yet.

        Args:
            folder: of the files; None to compile in each process."""
        self._py_func, self._folder = function, folder

    @property
    def cache_path(self) -> str:
        """The folder, as text."""
        return str(self._folder or "")

    def enable(self) -> None:
        """Nothing: it is always enabled."""

    def disable(self) -> None:
        """Nothing: it is always enabled."""

    def flush(self) -> None:
        """Nothing: a file of other sources is in another folder."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Returns the compiled loop for a signature, or None if its file is missing or damaged."""
        target_context.refresh()
        if self._folder is None:
            return None
        key = self._key(sig, target_context.codegen())
        try:
            data = _read(self._folder / self._file_name(key))
            if data is None:
                return None
            found, parts = pickle.loads(data)
            return CompileResult._rebuild(target_context, *parts) if found == key else None
        except Exception:  # the checksum fits, so the file is of another version of a library
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Writes the compiled loop, or warns once that this is not possible."""
        if self._folder is None or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        try:
            _write(self._folder / self._file_name(key), dumps((key, data._reduce())))
        except OSError as error:
            _warn(f"{self._folder} cannot be written ({error.strerror})")

    def _key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """What the machine code depends on, except for the sources, on which the folder depends."""
        function = self._py_func
        code = function.__code__
        where = (function.__module__, function.__qualname__, code.co_firstlineno)
        versions = (numba.__version__, sys.implementation.cache_tag, getattr(sys, "abiflags", ""))
        return (where, versions, sig, codegen.magic_tuple(), hashlib.sha256(code.co_code).hexdigest())

    def _file_name(self, key: tuple[Any, ...]) -> str:
        function = self._py_func
        name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
        plain = "".join(c if c.isalnum() or c in "._" else "-" for c in name)
        return f"{plain[:100]}-{hashlib.sha256(str(key).encode()).hexdigest()[:16]}.nbc"


def _read(path: Path) -> bytes | None:
    """The content of a file, without its checksum; None if there is none, or if it is damaged."""
    try:
        # Not a pipe, which would wait for a writer.
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or not _DIGEST < status.st_size <= MAX_BYTES:
            return None
        content = path.read_bytes()
    except OSError:
        return None
    intact = hashlib.sha256(content[_DIGEST:]).digest() == content[:_DIGEST]
    return content[_DIGEST:] if intact else None


def _write(path: Path, data: bytes) -> None:
    """Writes a file with its checksum in one step, so that no process reads half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_bytes(path, hashlib.sha256(data).digest() + data)


@cache
def folder() -> Path | None:
    """The folder for these sources: the first of NUMBA_CACHE_DIR, XDG_CACHE_HOME, ~/.cache and a folder of
    this user's in the one for temporary files that exists or can be made; None if there is none."""
    for parent in (*_chosen(), _temporary()):
        path = parent and parent / "nmmo-gpu" / _sources()
        if path and _usable(path):
            with contextlib.suppress(OSError):  # the folder may be read-only
                clear_parts(path)
            return path
    _warn("no folder for them can be created")
    return None


def _chosen() -> list[Path]:
    found = []
    for text in (os.environ.get("NUMBA_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME"), "~/.cache"):
        with contextlib.suppress(RuntimeError):  # the home directory is unknown
            found += [Path(text).expanduser().absolute()] if text else []
    return found


def _usable(path: Path) -> bool:
    """Whether there is such a folder, or it has been made; loops can be read from one that is read-only."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        return os.access(path, os.R_OK | os.W_OK | os.X_OK) or any(path.iterdir())
    except OSError:
        return False


def _temporary() -> Path | None:
    """This user's own folder for temporary files; None if another user could write into it, because what is
    in it will be run."""
    if not hasattr(os, "getuid"):
        return Path(tempfile.gettempdir())  # Windows has one for each user
    path = Path(tempfile.gettempdir()) / f"nmmo-gpu-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError:
        return None
    own = stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()
    return path if own and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None


def _sources() -> str:
    """A hash of all sources of which a loop may use a constant or an inlined function."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    patterns = ("*.py", *(f"{folder}/**/*.py" for folder in ("config", "content", "world", "cpu")))
    for file in sorted(file for pattern in patterns for file in package.glob(pattern)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _warned() -> list[str]:
    return []


def _warn(problem: str) -> None:
    """Warns once per process."""
    if not _warned():
        _warned().append(problem)
        warnings.warn(
            f"Compiled loops are not stored, because {problem}: each process compiles them, which takes up "
            "to a minute. Set NUMBA_CACHE_DIR to a folder that is writable.",
            RuntimeWarning,
            stacklevel=2,
        )
