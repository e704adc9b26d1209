"""Settings of training: invalid ones are refused with the field and the value."""

from __future__ import annotations

import dataclasses

import pytest
from train.small import small

from nmmo_gpu.errors import ConfigError
from nmmo_gpu.train.config import TrainConfig
from nmmo_gpu.train.presets import train_preset
from nmmo_gpu.train.run import Run, train

IMPOSSIBLE = [
    ("hidden", 0), ("targeting", "best"), ("horizon", 0), ("epochs", -1), ("minibatches", 0),
    ("gamma", 1.0), ("gamma", -0.1), ("gamma", float("nan")), ("gae_lambda", 1.5), ("gae_lambda", -1e-9),
    ("learning_rate", 0.0), ("learning_rate", float("nan")), ("final_learning_rate", -1.0), ("clip", 0.0),
    ("max_grad_norm", 0.0), ("minutes", 0.0), ("minutes", -1.0), ("minutes", float("nan")),
    ("iterations", 0), ("checkpoint_minutes", -0.5), ("log_every", 0), ("run", ""),
    ("hidden", 6), ("hidden", 64.0), ("layers", 0), ("precision", "fp16"), ("recurrent", 1), ("horizon", 5.0),
    ("horizon", True), ("epochs", "2"), ("learning_rate", "0.1"), ("learning_rate", True), ("clip", None),
    ("entropy_weight", float("nan")), ("minutes", True), ("iterations", 1.5), ("record", "0"),
    ("record", (-1,)), ("record", (0, 0)), ("record", (0.0,)), ("record_megabytes", 0),
    ("graphs", "no"),
]  # fmt: skip
POSSIBLE = [
    ("gamma", 0.0), ("gae_lambda", 0.0), ("gae_lambda", 1.0), ("minutes", 1e-9), ("iterations", 1),
    ("checkpoint_minutes", 0.0), ("log_every", 1), ("horizon", 1), ("minibatches", 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), IMPOSSIBLE)
def test_impossible_values_are_refused(name, value):
    """ConfigError has the field, its value and what to choose instead."""
    with pytest.raises(ConfigError, match=rf"^{name} = .*(choose|give|name)"):
        small(**{name: value})


@pytest.mark.parametrize(("recurrent", "samples"), [(True, 2 * 8), (False, 2 * 8 * 5)])
def test_more_minibatches_than_samples_are_refused(recurrent, samples):
    """2 realms of 8 slots per population, 5 ticks: a recurrent policy splits by slots, another one by single
    samples."""
    Run(small(recurrent=recurrent, horizon=5, minibatches=samples))
    config = small(recurrent=recurrent, horizon=5, minibatches=samples + 1)
    wrong = f"minibatches = {samples + 1}, .* only {samples} samples.* choose"
    with pytest.raises(ConfigError, match=wrong):
        Run(config)
    with pytest.raises(ConfigError, match=wrong):
        train(config)
    assert dataclasses.replace(config, policy=small().policy) == small(horizon=5, minibatches=samples + 1)


def test_a_process_needs_samples_and_a_run_the_recorded_realm():
    """Minibatches are split from the realms of a process, and realms are recorded by their number in the
    whole run."""
    config = small(realms=4, horizon=5, minibatches=41, record=(3,))
    config.check_training()
    config.check_training(realms=2)
    with pytest.raises(ConfigError, match="only 40 samples in 1 realms"):
        config.check_training(realms=1)


def test_a_realm_outside_the_run_is_not_recorded():
    """The config is valid, for playing in fewer realms, but no run starts with it."""
    config = small(record=(0, 2))
    for start in (Run, train):
        with pytest.raises(ConfigError, match=r"^record = \(0, 2\) holds 2.* choose from 0 to 1"):
            start(config)


@pytest.mark.parametrize(("name", "value"), POSSIBLE)
def test_extreme_values_are_allowed(name, value):
    config = small(**{name: value})
    assert name in {**vars(config), **vars(config.policy), **vars(config.ppo)}


@pytest.mark.parametrize("name", ["law", "chaos"])
def test_presets(name):
    """They have their rules, a folder of their own, and no limit."""
    config = train_preset(name)
    assert isinstance(config, TrainConfig) and config.run == f"runs/{name}"
    assert (config.env.world.damage == (0, 0, 0)) == (name == "law")
    assert config.minutes is None and config.iterations is None


def test_an_unknown_preset_is_refused():
    """The error lists the presets."""
    with pytest.raises(ConfigError, match=r"preset = 'anarchy' is unknown; choose one of law, chaos"):
        train_preset("anarchy")
