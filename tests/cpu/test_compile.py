"""Compiled code is kept on the disk, under a name that changes with the sources."""

import os
import subprocess
import sys

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


def test_the_folder_follows_the_users_choice(tmp_path):
    code = "from nmmo_gpu.cpu.compile import _folder; print(_folder())"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(str(tmp_path))


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
