"""Compilation with numba."""

import sys

import pytest
from numba.core.dispatcher import Dispatcher

from nmmo_gpu import make
from nmmo_gpu.cpu import compile as compiling
from nmmo_gpu.cpu.observation import _write_full_records
from nmmo_gpu.env import random_actions


def test_closures_are_refused():
    factor = 3

    def scaled(x):
        return factor * x

    with pytest.raises(TypeError, match=r"scaled must not be a closure; pass factor as arguments"):
        compiling.compiled(scaled)


def test_a_second_config_compiles_nothing():
    """Not even the loops of observation, although the layout of records depends on the config."""

    def compiled_loops(**settings):
        env = make("full", realms=1, height=48, width=48, backend="numba", **settings)
        env.reset()
        env.step(random_actions(env))
        modules = [module for name, module in sys.modules.items() if name.startswith("nmmo_gpu.cpu.")]
        loops = [loop for module in modules for loop in vars(module).values() if isinstance(loop, Dispatcher)]
        return {loop.py_func: list(loop.signatures) for loop in loops}

    first = compiled_loops(vision=5, nearest=3, immune_ticks=1)
    assert len(first[_write_full_records.py_func]) == 1
    assert compiled_loops(vision=7, nearest=8, max_food=40, npcs=False) == first
