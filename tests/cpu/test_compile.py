"""Compiled code is kept on the disk, under a name that changes with the sources."""

import numba
import pytest

from nmmo_gpu.cpu import compile as compiling


def test_numbas_own_settings_are_left_alone():
    before = numba.config.CACHE_DIR

    @compiling.compiled
    def double(x):
        return 2 * x

    assert double(21) == 42
    assert before == numba.config.CACHE_DIR


def test_the_folder_follows_the_users_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert tmp_path in compiling._folder.__wrapped__().parents


def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(monkeypatch):
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
