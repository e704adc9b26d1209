"""NumPy's and torch's numbers in place of Python's, and values of wrong types, in all configs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import numpy as np
import pytest
import torch
from train.small import small

from nmmo_gpu import make, preset
from nmmo_gpu.benchmarks.bench import BenchConfig
from nmmo_gpu.cli.evaluate import EvalConfig
from nmmo_gpu.cli.main import ResumeConfig, ViewConfig
from nmmo_gpu.cli.replay import ExportConfig, PlayConfig
from nmmo_gpu.config import EnvConfig, WorldConfig
from nmmo_gpu.config.bounds import _annotations
from nmmo_gpu.config.serialize import from_plain, to_plain
from nmmo_gpu.content import STANDARD, Content
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.compile import CompileConfig
from nmmo_gpu.train.config import PolicyConfig, PPOConfig, TrainConfig
from nmmo_gpu.train.run import Run

CONFIGS = (
    BenchConfig, CompileConfig, EnvConfig, EvalConfig, ExportConfig, PlayConfig, PolicyConfig, PPOConfig,
    ResumeConfig, TrainConfig, ViewConfig, WorldConfig,
)  # fmt: skip
SMALL = small()
REQUIRED: dict[type, dict[str, Any]] = {
    BenchConfig: {"env": SMALL.env, "policy": SMALL.policy, "ppo": SMALL.ppo},
    EvalConfig: {"run": "x"}, ExportConfig: {"run": "x"}, ResumeConfig: {"resume": "x"},
    ViewConfig: {"run": "x"},
}  # fmt: skip


class Strange:
    """Fits no field."""

    def __repr__(self) -> str:
        return "<strange>"


def fields_of(kinds: tuple[type, ...]) -> list[tuple[type, str]]:
    return [(kind, field.name) for kind in kinds for field in dataclasses.fields(kind)]


def base_of(annotation: Any) -> Any:
    """The type of an annotation without its bounds and without None."""
    if get_origin(annotation) is Annotated:
        return base_of(get_args(annotation)[0])
    alternatives = [kind for kind in get_args(annotation) if kind is not type(None)]
    return base_of(alternatives[0]) if type(None) in get_args(annotation) else annotation


@pytest.mark.parametrize("kind,name", fields_of(CONFIGS))
def test_every_field_refuses_a_value_of_a_wrong_type(kind, name):
    with pytest.raises(
        ConfigError, match=re.escape(f"{name}") + r" = <strange> .*(choose|give)|content: <strange>"
    ):
        kind(**REQUIRED.get(kind, {}) | {name: Strange()})


NUMBERS = [
    (kind, name)
    for kind, name in fields_of(CONFIGS)
    if base_of(_annotations(kind)[name]) in (int, float, bool)
    and getattr(kind(**REQUIRED.get(kind, {})), name) is not None
]


@pytest.mark.parametrize("kind,name", NUMBERS)
def test_every_field_takes_its_own_value_as_one_of_numpy_or_torch(kind, name):
    config = kind(**REQUIRED.get(kind, {}))
    value = getattr(config, name)
    for number in (np.array(value)[()], np.array(value), torch.tensor(value)):
        taken = getattr(dataclasses.replace(config, **{name: number}), name)
        assert type(taken) is type(value) and taken == pytest.approx(value)


def test_numbers_of_numpy_make_the_same_config():
    given = EnvConfig(
        world=WorldConfig(slots=np.int32(64), reach=[np.int64(1), 2, np.uint8(3)], regrowth=np.float64(0.5)),
        realms=np.int64(2), seed=np.uint64(7), shared_map=np.bool_(True), maps=[Path("a.tmx")],
    )  # fmt: skip
    plain = EnvConfig(
        world=WorldConfig(slots=64, reach=(1, 2, 3), regrowth=0.5),
        realms=2,
        seed=7,
        shared_map=True,
        maps=("a.tmx",),
    )
    assert given == plain and hash(given) == hash(plain)
    assert repr(given) == repr(plain)
    assert from_plain(EnvConfig, json.loads(json.dumps(to_plain(given)))) == plain


def test_numbers_of_numpy_in_content_make_the_same_content():
    def converted(row: Any) -> Any:
        if dataclasses.is_dataclass(row):
            values = {field.name: converted(getattr(row, field.name)) for field in dataclasses.fields(row)}
            return type(row)(**values)
        if isinstance(row, tuple):
            return tuple(map(converted, row))
        return np.int64(row) if type(row) is int else np.float64(row) if type(row) is float else row

    given: Content = converted(STANDARD)
    assert given == STANDARD and hash(given) == hash(STANDARD)
    assert json.dumps(to_plain(given)) == json.dumps(to_plain(STANDARD))
    assert dataclasses.replace(preset("full"), content=given) == preset("full")


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (PPOConfig, {"epochs": 1.0}, "epochs = 1.0 is not an integer; choose an integer of at least 1."),
        (PPOConfig, {"epochs": np.float64(1)}, "epochs = 1.0 is not an integer"),
        (PPOConfig, {"epochs": True}, "epochs = True is not an integer"),
        (PPOConfig, {"epochs": np.array([1])}, "epochs = array([1]) is not an integer"),
        (PPOConfig, {"gamma": np.float32("nan")}, "gamma = nan is not a finite number"),
        (PolicyConfig, {"recurrent": 1}, "recurrent = 1 is not True or False"),
        (TrainConfig, {"ppo": PolicyConfig()}, "is not a PPOConfig; choose a PPOConfig."),
        (TrainConfig, {"env": "chaos"}, "env = 'chaos' is not an EnvConfig; choose an EnvConfig."),
        (ResumeConfig, {"resume": "x", "minutes": "5"}, "minutes = '5' is not a finite number"),
        (WorldConfig, {"reach": np.array([1, 2, 3])}, "is not a tuple"),
        (EnvConfig, {"seed": 1 << 63}, f"seed = {1 << 63} is out of range"),
        (EnvConfig, {"seed": torch.tensor([1, 2])}, "is not an integer"),
    ],
)  # fmt: skip
def test_what_is_not_such_a_number_is_refused(kind, values, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        kind(**values)


def test_a_run_with_numbers_of_numpy_trains_and_is_saved(tmp_path):
    config = small(
        tmp_path, seed=np.int64(3), horizon=np.int64(8), epochs=np.uint8(1), learning_rate=np.float32(1e-3),
        iterations=np.int32(1), recurrent=np.bool_(False), hidden=np.int16(8),
    )  # fmt: skip
    run = Run(config)
    run.iterate()
    run.save()
    assert json.dumps(to_plain(config))


def test_make_takes_numbers_of_numpy():
    env = make("chaos", realms=np.int64(1), seed=np.random.default_rng(0).integers(1 << 31), device="cpu",
               slots=np.int64(8), height=np.int64(40), width=40, populations=2)  # fmt: skip
    assert env.reset()["alive"].shape == (1, 8)
