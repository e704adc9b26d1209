"""Lets test processes compile each loop once: one compiles, and the others wait for its file.

They begin at the same time, with the same loops to compile, and would otherwise all do the same work."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

LIMIT = 60.0
"""Seconds to wait for another process before compiling after all."""


def install() -> None:
    """Replaces methods of ``CompilationCache`` in this process; does nothing without numba or ``flock``."""
    try:
        import fcntl

        from nmmo_gpu.cpu.compilation_cache import CompilationCache
    except ImportError:
        return
    load, save = CompilationCache.load_overload, CompilationCache.save_overload
    held: dict[Any, int] = {}
    folder = Path(tempfile.gettempdir()) / f"nmmo-gpu-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)

    def load_or_wait(self: CompilationCache, sig: Any, target_context: Any) -> Any:
        found = load(self, sig, target_context)
        if found is not None or self._folder is None:
            return found
        file = self._folder / self._file_name(self._key(sig, target_context.codegen()))
        lock = os.open(folder / hashlib.sha256(str(file).encode()).hexdigest(), os.O_CREAT | os.O_RDWR)
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.05)
        found = load(self, sig, target_context)
        if found is None:
            held[self, sig] = lock
        else:
            os.close(lock)
        return found

    def save_and_release(self: CompilationCache, sig: Any, data: Any) -> None:
        try:
            save(self, sig, data)
        finally:
            if (self, sig) in held:
                os.close(held.pop((self, sig)))

    CompilationCache.load_overload, CompilationCache.save_overload = load_or_wait, save_and_release
