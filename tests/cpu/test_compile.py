"""Compilation with numba, and its cache on disk."""

import numba
import pytest

from nmmo_gpu.cpu import compile as compiling


def test_numba_settings_are_unchanged():
    before = numba.config.CACHE_DIR

    @compiling.compiled
    def double(x):
        return 2 * x

    assert double(21) == 42
    assert before == numba.config.CACHE_DIR


def test_the_cache_folder_follows_numba_cache_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert tmp_path in compiling._folder.__wrapped__().parents


def test_only_closures_that_numba_finds_again_are_stored(tmp_path, monkeypatch):
    """One that calls another compiled closure has a new key in every process."""
    monkeypatch.setattr(compiling, "_folder", lambda: tmp_path)
    factor = 3

    @compiling.compiled
    def inner(x):
        return factor * x

    @compiling.compiled
    def outer(x):
        return inner(x) + factor

    assert outer(5) == 18
    assert inner.stats.cache_path is not None and outer.stats.cache_path is None
    stored = {path.name.split("-")[0] for path in tmp_path.rglob("*.nbi")}
    assert len(stored) == 1 and "inner" in stored.pop()


def test_functions_compile_without_a_cache(monkeypatch):
    def refuse(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function")
        return real(*args, **options)

    real = numba.njit
    monkeypatch.setattr(numba, "njit", refuse)
    triple = compiling.compiled(lambda x: 3 * x)
    assert triple(5) == 15
    with pytest.raises(RuntimeError):
        numba.njit(cache=True)
