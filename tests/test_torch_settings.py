"""torch's global settings and modes belong to the user: they change no bit of a world or of training."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor
from train.small import FULL, assert_equal_states, small, state_of

from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.errors import ActionError
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trained_policy import TrainedPolicy
from nmmo_gpu.world.state import World

GAMES: dict[str, dict[str, Any]] = {
    "chaos": {"births": -1, "immune_ticks": 2, "reward_tile": 0.3, "reward_death": -0.7},
    "full": {
        **FULL, "births": -1, "reward_experience": 0.3, "reward_gold": 0.1, "recurrent": True,
        "targeting": "learned",
    },
}  # fmt: skip
BACKENDS = ("torch", "numba")
WORLDS = list(itertools.product(GAMES, BACKENDS))

Mode = Callable[[], AbstractContextManager[Any]]


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


SETTINGS: dict[str, Mode] = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "float16": lambda: default_dtype(torch.float16),
    "meta": lambda: default_device("meta"),
    "deterministic": deterministic,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
}


def play(env: Env, ticks: int) -> list[Tensor]:
    """Returns copies of all rewards and deaths of some ticks of random actions."""
    seen = []
    for _ in range(ticks):
        _, reward, died, _, info = env.step(random_actions(env))
        seen += [reward.clone(), died.clone(), *(value.clone() for value in info.values())]
    return seen


def state_of_env(env: Env, seen: list[Tensor]) -> dict[str, Tensor]:
    numbered = {f"seen {i}": tensor for i, tensor in enumerate(seen)}
    return dict(env.world.tensors()) | {"records": env.records} | numbered


def played(game: str, backend: str, first: Mode, second: Mode) -> dict[str, Tensor]:
    """Plays a world that is made and reset under ``first``, in turn under ``second`` and ``first``."""
    with first():
        env = Env(small(**GAMES[game], backend=backend).env)
        env.reset()
        seen = play(env, 2)
    with second():
        seen += play(env, 2)
    with first():
        seen += play(env, 2)
    return state_of_env(env, seen)


def trained(game: str, backend: str, first: Mode, second: Mode) -> dict[str, Tensor]:
    """Trains a run made under ``first``, for an iteration under ``second`` and one under ``first``."""
    with first():
        run = Run(small(**GAMES[game], backend=backend))
    with second():
        (earlier,) = run.iterate()
    with first():
        (later,) = run.iterate()
    rollout = {"reward": run.god.rollout.reward, "value": run.god.rollout.value}
    return (
        state_of(run) | rollout | earlier.statistics | {f"later {k}": v for k, v in later.statistics.items()}
    )


@cache
def usual(what: Callable[..., dict[str, Tensor]], game: str, backend: str) -> dict[str, Tensor]:
    """The result without any of the settings."""
    return what(game, backend, nullcontext, nullcontext)


@pytest.mark.parametrize("what", [played, trained])
@pytest.mark.parametrize("game,backend", WORLDS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_changes_no_bit(what, game, backend, setting):
    mode = SETTINGS[setting]
    assert_equal_states(usual(what, game, backend), what(game, backend, mode, mode))


@pytest.mark.parametrize("what", [played, trained])
@pytest.mark.parametrize("game,backend", WORLDS)
@pytest.mark.parametrize("first,second", list(itertools.permutations(["usual", "inference_mode"])))
def test_inference_mode_can_begin_and_end_at_any_time(what, game, backend, first, second):
    modes = SETTINGS | {"usual": nullcontext}
    assert_equal_states(usual(what, game, backend), what(game, backend, modes[first], modes[second]))


@pytest.mark.parametrize("setting", ["float64", "bfloat16", "meta", "inference_mode", "autocast"])
def test_a_policy_plays_alike_under_a_setting(setting):
    config = small(**GAMES["full"])
    stored = Run(config).checkpoint()

    def actions(first: Mode, second: Mode) -> list[Tensor]:
        with first():
            env = Env(config.env)
            env.reset()
            act = TrainedPolicy(stored)
            act.sword(env)  # made in this mode
        chosen = []
        for _ in range(3):
            with second():
                chosen.append(act(env).clone())
                env.step(chosen[-1])
        return chosen

    expected, mode = actions(nullcontext, nullcontext), SETTINGS[setting]
    for first, second in ((mode, mode), (mode, nullcontext), (nullcontext, mode)):
        assert all(map(torch.equal, expected, actions(first, second)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_world_that_was_copied_in_inference_mode_continues_outside(backend):
    config = small(**GAMES["full"], backend=backend).env
    env = Env(config)
    env.reset()
    with torch.inference_mode():
        tensors = {name: tensor.clone() for name, tensor in env.world.tensors()}
        assert tensors["age"].is_inference()
        copied = World(config=config.world, **tensors)
    other = Env(config, copied)
    assert_equal_states(state_of_env(env, play(env, 3)), state_of_env(other, play(other, 3)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_out_of_inference_mode_is_refused_outside_before_the_world_changes(backend):
    env = Env(small(backend=backend).env)
    env.reset()
    with torch.inference_mode():
        out = torch.empty_like(env.records)
        env.step(random_actions(env), out=out)
    before = env.world.clone()
    with pytest.raises(ActionError, match="inference mode"):
        env.step(random_actions(env), out=out)
    assert_equal_states(dict(before.tensors()), dict(env.world.tensors()))
