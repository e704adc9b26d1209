"""Networks that are not subclasses of Policy: what they get, what the trainer makes of what they return, and
which faults are found before the training begins."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from support.world_systems import Everything
from torch import nn
from train.nets import Central, Plain, Recurrent, Separate
from train.small import CPU, FULL, assert_equal_states, lively_env, reloaded, small, state_of
from train.tape import record_iteration
from train.test_value_map import WORLD

from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train import ppo
from nmmo_gpu.train.build_policy import build_policy
from nmmo_gpu.train.module_policy import ModulePolicy
from nmmo_gpu.train.network_spec import LoneObservations, NetworkSpec, Observations
from nmmo_gpu.train.output import policy_heads
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run, train
from nmmo_gpu.train.trinity import God, Sword, Trinity, sword_with
from nmmo_gpu.train.value_map import value_map
from nmmo_gpu.world.network_inputs import InputColumns
from nmmo_gpu.world.observation_layout import SELF_FEATURES, ObservationLayout

KINDS = {"plain": Plain, "recurrent": Recurrent, "central": Central, "separate": Separate}
FULL_GAME = FULL | {"targeting": "learned", "npc_numbers": (3, 2, 1)}


def run_with(network, config):
    """Returns a run with the network."""
    return Run(config, trinity=Trinity(sword=sword_with(network)))


# What a network gets.


def test_the_spec_describes_the_world():
    """Fields, heads and sizes are those of the environment and of the Sword."""
    specs = []

    class Noting(Plain):
        def __init__(self, spec):
            super().__init__(spec)
            specs.append(spec)

    for settings in ({}, {"targeting": "learned"}, FULL_GAME):
        config = small(**settings)
        sword, env = sword_with(Noting)(config, CPU), Env(config.env)
        spec = specs.pop()
        assert isinstance(spec, NetworkSpec) and spec.world == config.env.world and spec.populations == 2
        assert spec.heads == sword.choices() and spec.policy == config.policy
        expected = dict(zip(sword.action_heads, env.action_sizes, strict=True))
        if config.policy.targeting == "auto":
            expected["target"] = 2
        assert spec.heads == expected and spec.choices == sum(expected.values())
        assert {n: (f.shape, f.dtype) for n, f in spec.layout.fields.items()} == {
            n: (f.shape, f.dtype) for n, f in env.layout.fields.items()
        }


@pytest.mark.parametrize("settings", [{}, FULL_GAME], ids=["chaos", "full"])
def test_observations_are_fields_of_the_records(settings):
    """Each field, the agents' places, and everyone of their realms, over several ticks."""
    env = lively_env(realms=2, **settings)
    layout, slots = env.layout, env.config.world.slots
    records = layout.allocate(3, 2, slots, device="cpu")
    for t in range(3):
        env.step(torch.zeros(2, slots, len(env.action_sizes), dtype=torch.int64), out=records[t])
    flat = records.view(-1, layout.bytes)
    rows = torch.randint(len(flat), (3, 5), generator=torch.Generator().manual_seed(1))
    obs = Observations(flat, rows, layout, slots, lambda *given: given)
    views = layout.views(records)
    assert list(obs) == list(views) and len(obs) == len(views) and "no such field" not in obs
    for name, field in views.items():
        assert obs[name].dtype == field.dtype and torch.equal(obs[name], field.flatten(0, 2)[rows])
        everyone = obs.everyone(name)
        assert torch.equal(everyone, field.flatten(0, 1))
        assert everyone.data_ptr() == field.data_ptr(), "not a copy"
        assert torch.equal(everyone[obs.realm, obs.slot], obs[name])
    assert obs["self"] is obs["self"], "copied once"
    assert obs.population.tolist() == [[0] * 5, [1] * 5, [2] * 5]
    assert torch.equal(obs.rows, rows) and obs.encoded()[1] is rows
    with pytest.raises(KeyError):
        obs["no such field"]


@pytest.mark.parametrize("settings", [{}, FULL_GAME], ids=["chaos", "full"])
def test_encoded_observations_are_the_inputs_of_the_default_network(settings):
    """They have the documented size."""
    config = small(**settings)
    policy = sword_with(Plain)(config, CPU).policy
    stock = Sword(config, CPU).policy
    records = torch.randint(0, 3, (32, policy.layout.bytes), dtype=torch.uint8)
    index = torch.arange(8).view(2, 4)
    encoded = policy.observations(records, index).encoded()
    spec = NetworkSpec(policy.layout, {}, config.env.world, config.policy)
    assert encoded.shape == (2, 4, spec.encoded_size) and encoded.dtype == torch.float32
    from nmmo_gpu.train.inputs import encode_inputs

    scales = stock.self_scale, stock.entity_scale
    expected = encode_inputs(records, index, config.env.world, *scales, torch.float32)
    assert torch.equal(encoded, expected) and encoded.any()


@pytest.mark.parametrize("backend", ["torch", "numba", "triton"])
def test_systems_are_inputs_and_heads(backend):
    """Fields of systems are the last encoded columns, their heads the last logits, and both are trained, also
    with static shapes."""
    if backend != "torch":
        pytest.importorskip(backend)
    config = small(**(STATIC | {"backend": backend}), systems=(Everything(),))
    run = run_with(Plain, config)
    policy, layout = run.sword.policy, run.god.env.layout
    spec = NetworkSpec(layout, run.sword.choices(), config.env.world, config.policy)
    assert list(spec.heads)[-2:] == ["shout", "nod"] and spec.choices == 10 + 4 + 2
    run.god.collect()
    rows = run.god.env.world.agents(run.god.env.world.alive).view(2, -1).to(torch.uint8).argmax(1)
    rows = (rows + torch.arange(2) * 6)[:, None]
    obs = policy.observations(run.god.env.records.view(12, -1), rows)
    encoded = obs.encoded()
    fields = [obs[name].float().view(2, 1, -1) / spec.high for name, spec in layout.system_fields.items()]
    of_systems = torch.cat(fields, -1)
    assert of_systems.shape[-1] == 3 + 1 + 1 and of_systems.any()
    torch.testing.assert_close(encoded[..., -5:], of_systems)
    assert encoded.shape[-1] == spec.encoded_size == InputColumns.of(config.env.world).width + 5
    before = policy.network.heads.weight.detach().clone()
    for _ in range(2):
        (stats,) = run.iterate()
    assert stats.finite
    changed = (policy.network.heads.weight != before).all(-1)
    assert changed[10 : spec.choices].all()


def test_agents_of_each_population_are_in_its_row():
    """In rollouts and updates, on samples of living agents and on all."""
    seen = []

    class Looking(Plain):
        def forward(self, obs):
            seen.append((obs["self"][..., SELF_FEATURES.index("population")], obs.population, obs["alive"]))
            return super().forward(obs)

    for settings in ({}, {"births": -1, "populations": 4}):
        run_with(Looking, small(**settings)).iterate()
    living = 0
    for population, number, alive in seen:
        assert torch.equal(population[alive], number[alive].to(population.dtype))
        living += int(alive.sum())
    assert living > 500


# Training with it.


@pytest.mark.parametrize("backend", ["torch", "numba"])
@pytest.mark.parametrize("game", ["chaos", "full"])
@pytest.mark.parametrize("kind", KINDS)
def test_training_with_any_network(kind, game, backend):
    """The weights change, and the outputs of updates are those of the rollout."""
    if backend != "torch":
        pytest.importorskip(backend)
    run = run_with(KINDS[kind], small(backend=backend, births=-1, **(FULL_GAME if game == "full" else {})))
    policy = run.sword.policy
    before = [p.detach().clone() for p in policy.parameters()]
    for _ in range(2):
        (stats,) = run.iterate()
    assert stats.finite and not any(map(torch.equal, before, policy.parameters()))
    rollout = run.god.collect()
    batches_of = ppo.SequenceBatches if policy.recurrent else ppo.SampleBatches
    batches = batches_of(policy, rollout, run.sword.training_backend)
    with torch.no_grad():
        evaluation, rows, valid = batches.evaluate_actions(torch.arange(batches.columns))
    for found, recorded in (
        (evaluation.log_probability, rollout.log_probability), (evaluation.value, rollout.value[:-1]),
    ):  # fmt: skip
        expected = recorded.reshape(-1)[rows][valid]
        torch.testing.assert_close(found[valid], expected, rtol=0, atol=1e-5)
    assert int(valid.sum()) == int(rollout.alive.sum()) > 100


def test_a_network_of_separate_populations_learns_as_the_default_one_does():
    """A population learns the same with another one beside it that is given no gradient."""
    config = small(minibatches=1, births=-1)
    runs = [run_with(Separate, config) for _ in range(2)]
    rollouts = [run.god.collect() for run in runs]
    rollouts[1].alive.view(8, 2, 2, 8)[:, :, 1] = False
    statistics = [run.pantheon.learn(rollout, 0.0) for run, rollout in zip(runs, rollouts, strict=True)]
    weights = [run.sword.policy.network.weight for run in runs]
    torch.testing.assert_close(weights[0][0], weights[1][0], rtol=1e-5, atol=1e-7)
    assert not torch.equal(weights[0][1], weights[1][1])
    assert statistics[0]["grad_norm"][0] != statistics[0]["grad_norm"][1]


def test_shared_weights_follow_the_mean_over_populations():
    """The gradient is that of the mean of the populations' losses, its norm is one, and it is clipped as a
    whole."""
    run = run_with(Plain, small(minibatches=1, births=-1, max_grad_norm=0.05))
    rollout, policy = run.god.collect(), run.sword.policy
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    statistics = run.pantheon.learn(rollout, 0.0)
    grads = {name: p.grad.clone() for name, p in policy.named_parameters()}
    norm = math.sqrt(sum(float(g.square().sum()) for g in grads.values()))
    assert norm == pytest.approx(0.05, rel=1e-3)
    assert len(statistics["grad_norm"].unique()) == 1 and statistics["grad_norm"][0] > 0.05
    with torch.no_grad():
        for name, parameter in policy.named_parameters():
            parameter.copy_(before[name])
    # The same by hand, population by population.
    config = dataclasses.replace(run.config.ppo, max_grad_norm=1e9)
    sums = {name: torch.zeros_like(p) for name, p in policy.named_parameters()}
    for population in range(2):
        part = dataclasses.replace(rollout, alive=rollout.alive.clone())
        part.alive.view(8, 2, 2, 8)[:, :, 1 - population] = False
        ppo.update(
            policy, torch.optim.SGD(policy.parameters(), lr=0.0), part, config, run.sword.training_backend
        )
        for name, parameter in policy.named_parameters():
            sums[name] += parameter.grad
    scale = 0.05 / float(statistics["grad_norm"][0])
    for name, gradient in grads.items():
        torch.testing.assert_close(gradient, sums[name] * scale, rtol=1e-3, atol=1e-6)


class Idle(Plain):
    """Has a parameter that the loss does not depend on, one that is not trained, and a buffer."""

    def __init__(self, spec):
        super().__init__(spec)
        self.unused = nn.Parameter(torch.ones(3))
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.register_buffer("counts", torch.arange(5))


@pytest.mark.parametrize("network", [*KINDS.values(), Idle])
def test_runs_resume_bit_for_bit(network, tmp_path):
    """All parameters and buffers are in the checkpoint, with Adam's state of those that are trained."""
    config = small(births=-1)
    whole, first = (run_with(network, config) for _ in range(2))
    for _ in range(3):
        whole.iterate()
    first.iterate()
    stored = reloaded(first, tmp_path / checkpoints.FILE)
    assert stored.classes.network == f"{network.__module__}:{network.__qualname__}"
    second = Run(config, stored, Trinity(sword=sword_with(network)))
    assert_equal_states(state_of(first), state_of(second))
    for _ in range(2):
        second.iterate()
    assert_equal_states(state_of(whole), state_of(second))
    names = {name for name, _ in first.sword.policy.named_parameters()}
    adam = {n.removeprefix("optimizer.").rpartition(".")[0] for n in stored.tensors if "exp_avg_sq" in n}
    assert adam == {name for name in names if "frozen" not in name}
    if network is Idle:
        assert "policy.network.counts" in stored.tensors
        assert torch.equal(whole.sword.policy.network.unused, torch.ones(3))


def test_weights_depend_on_the_seed_alone():
    """Not on torch's generator, default dtype or default device; and the generator is left as it was."""
    expected = sword_with(Plain)(small(), CPU).policy.state_dict()
    torch.manual_seed(99)
    before = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        found = sword_with(Plain)(small(), CPU).policy.state_dict()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert torch.equal(torch.get_rng_state(), before)
    for name, tensor in expected.items():
        assert tensor.dtype == found[name].dtype == torch.float32 and torch.equal(tensor, found[name])
    other = sword_with(Plain)(small(seed=8), CPU).policy.state_dict()
    assert not any(torch.equal(expected[name], other[name]) for name in expected)


def test_lazy_layers_are_initialized_from_the_seed():
    """They get their sizes in the first call."""

    class Lazy(Plain):
        def __init__(self, spec):
            super().__init__(spec)
            self.first = nn.LazyLinear(8)

    first, second = (sword_with(Lazy)(small(), CPU).policy for _ in range(2))
    assert first.network.first.weight.shape[0] == 8
    assert all(map(torch.equal, first.parameters(), second.parameters()))


def test_bf16_runs_under_autocast():
    """The products are in bf16, weights and outputs in float32, and training works."""
    dtypes = set()

    class Noting(Plain):
        def forward(self, obs):
            hidden = self.first(obs.encoded())
            dtypes.add(hidden.dtype)
            out = self.heads(torch.tanh(hidden))
            return out[..., :-1], out[..., -1]

    run = run_with(Noting, small(precision="bf16", births=-1))
    (stats,) = run.iterate()
    assert dtypes == {torch.bfloat16} and stats.finite
    assert {p.dtype for p in run.sword.policy.parameters()} == {torch.float32}
    logits, _ = run.sword.policy.unmasked(run.god.env.records.view(32, -1), torch.arange(4).view(2, 2), None)
    assert logits.dtype == torch.float32


def test_too_few_sequences_are_refused():
    """A recurrent network needs a slot for each minibatch, whatever the config says of recurrence."""
    with pytest.raises(ConfigError, match="minibatches = 20, but a population gives only 16 samples"):
        run_with(Recurrent, small(minibatches=20))
    run_with(Plain, small(minibatches=20))


def test_nonfinite_weights_of_all_populations(tmp_path):
    """The error does not blame a population."""
    from nmmo_gpu.errors import NonFiniteError

    class Exploding(Plain):
        def forward(self, obs):
            logits, value = super().forward(obs)
            return logits, value + torch.where(obs["alive"], (self.heads.weight.sum() - 1e30) * 1e30, 0.0)

    with pytest.raises(NonFiniteError, match="NaN or infinite, of all populations; not finite"):
        train(small(tmp_path / "run", iterations=3), trinity=Trinity(sword=sword_with(Exploding)))


# Recordings, value maps, evaluation.


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_hold_probabilities_and_values(kind, tmp_path):
    """Probabilities of each head sum to 1, or to 0 in empty slots."""
    config = small(tmp_path / "run", iterations=1, record=(0,), births=2)
    run = train(config, trinity=Trinity(sword=sword_with(KINDS[kind])))
    env, sword = run.god.env, run.sword
    decision = sword.decide(env.records, env.world, run.god.recurrent_state)
    trace = sword.policy_trace(env.records, env.world, decision, torch.tensor([1]))
    alive = env.world.alive[1]
    assert trace.probability.shape == (1, 16, sum(sword.choices().values()))
    sums = [part.sum(-1) for part in trace.probability[0].split(list(sword.choices().values()), -1)]
    for total in sums:
        torch.testing.assert_close(total, alive.float())
    assert torch.equal(trace.value[0][alive], decision.value.view(2, 16)[1][alive]) and alive.any()
    (path,) = (tmp_path / "run").rglob("*.replay")
    with Replay(path) as replay:
        columns = [column for frames in replay for column in frames.columns["probability"]]
    assert len(columns) == config.ppo.horizon and all(column.any() for column in columns)


@pytest.mark.parametrize("kind", KINDS)
def test_value_maps(kind, tmp_path):
    """A newborn alone in the realm of an ordinary world has the map's value, also from a central critic."""
    run = run_with(KINDS[kind], small(tmp_path, **WORLD))
    stored = reloaded(run, tmp_path / checkpoints.FILE)
    base, sword = run.god.env.world.base[0], sword_with(KINDS[kind])
    world = dataclasses.replace(stored.config.env.world, spawn="anywhere", births=1)
    env = Env(dataclasses.replace(stored.config.env, world=world, realms=60))
    env.reset()
    playing = sword(dataclasses.replace(stored.config, env=env.config), CPU)
    playing.policy.load_state_dict(run.sword.policy.state_dict())
    state = playing.policy.initial_state(60 * world.slots, CPU)
    value = playing.decide(env.records, env.world, state).value.view(60, -1)
    alive = env.world.agents(env.world.alive)
    assert (alive.sum(1) <= 1).all() and alive.sum() > 10
    tiles = env.world.agents(env.world.row * world.width + env.world.col)[alive].long()
    populations = alive.nonzero()[:, 1] // world.population_size
    maps = [value_map(stored, base.numpy(), None, p, sword=sword) for p in range(3)]
    found = torch.tensor(np.stack(maps)).flatten(1)[populations, tiles]
    torch.testing.assert_close(found, value[alive], rtol=0, atol=1e-5)
    assert len(value[alive].unique()) > 5
    mean = value_map(stored, base.numpy(), None, -1, sword=sword)
    np.testing.assert_allclose(mean, np.stack(maps).mean(0), atol=1e-5)


def test_lone_observations_are_of_one_agent_in_each_realm(monkeypatch):
    """Everyone is zero but the agent, in the first slot of its population; the parts do not matter."""
    env = lively_env(realms=1)
    alive = env.world.alive.view(-1).nonzero().view(-1)[::5]
    records, size = env.records.view(60, -1)[alive], 20
    rows = torch.arange(len(alive)).expand(3, -1)
    obs = LoneObservations(records, rows, env.layout, 60, lambda *given: given)
    population = alive // size
    assert torch.equal(obs.slot, (population * size)[rows]) and torch.equal(obs.realm, rows)
    for name in env.layout.fields:
        everyone = obs.everyone(name)
        assert everyone.shape[:2] == (len(alive), 60)
        assert torch.equal(everyone[obs.realm, obs.slot], obs[name])
    assert obs.everyone("alive").sum(1).tolist() == [1] * len(alive)

    policy = sword_with(Central)(small(slots=60, populations=3, nearest=7), CPU).policy
    with torch.no_grad():
        whole = policy.newborn_values(records, rows)
        monkeypatch.setattr("nmmo_gpu.train.module_policy.LONE_SLOTS", 60 * 3 * 2)
        parts = policy.newborn_values(records, rows)
    assert whole.shape == rows.shape
    torch.testing.assert_close(whole, parts)


# Static shapes.


STATIC = {
    "realms": 1, "slots": 12, "populations": 2, "height": 32, "width": 33, "horizon": 2, "births": -1,
    "backend": "triton", "check_actions": False,
}  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests/train/test_residency.py captures")
@pytest.mark.parametrize("kind", KINDS)
def test_rollout_and_update_can_be_captured(kind, monkeypatch):
    """As in test_capture.py: replayed as operations on fixed tensors they give the same bits, and the host
    never waits."""
    pytest.importorskip("triton")
    monkeypatch.setattr(ppo, "SHARES", 1)
    called, replayed = (run_with(KINDS[kind], small(**STATIC)) for _ in range(2))
    for _ in range(3):
        called.iterate()
    replayed.iterate()
    collect, learn = record_iteration(replayed)
    collect.replay()
    learn.replay()
    first, second = state_of(replayed), state_of(called)
    for state in (first, second):
        del state["counters"]
    assert_equal_states(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_the_memory_is_estimated_and_kernels_are_listed(kind):
    """Without the network's class, the estimate is that of the default network."""
    pytest.importorskip("triton")
    from nmmo_gpu.train.compile import forms_of
    from nmmo_gpu.train.memory_estimate import training_parts

    config, sword = small(**STATIC), sword_with(KINDS[kind])
    parts = {part.name: part.bytes for part in training_parts(config, sword)}
    policy = sword(
        dataclasses.replace(config, env=dataclasses.replace(config.env, backend="torch")), CPU
    ).policy
    weights = sum(p.nbytes for p in policy.parameters())
    assert parts["weights and Adam's moments"] >= 3 * weights
    stock = {part.name: part.bytes for part in training_parts(config)}
    assert list(parts) == list(stock) and parts != stock
    names, usual = ({form.kernel for form in forms_of(config, s)} for s in (sword, Sword))
    assert names < usual, "all but those of the default network's hidden layers"
    assert any("choose" in name or "sample" in name for name in names)


def test_networks_that_read_values_are_trained_without_an_estimate(recwarn):
    """The world's memory is still known; the warning has the network and the cause. Compiling ahead names
    it, too."""
    pytest.importorskip("triton")
    from nmmo_gpu.train.compile import forms_of
    from nmmo_gpu.train.memory_estimate import training_parts

    class Reading(Plain):
        def forward(self, obs):
            assert int(obs["self"].max()) < 1 << 15
            return super().forward(obs)

    parts = training_parts(small(**STATIC), sword_with(Reading))
    assert parts and not any("rollout" in part.name for part in parts)
    (warning,) = [w for w in recwarn if issubclass(w.category, RuntimeWarning)]
    assert "Reading cannot be estimated" in str(warning.message)
    with pytest.raises(RuntimeError) as error:
        forms_of(small(**STATIC), sword_with(Reading))
    notes = "".join(error.value.__notes__)
    assert "Reading.forward" in notes and "without values" in notes
    run_with(Reading, small()).iterate()


# Faults.


def faulty(**attributes):
    """Returns Plain with other attributes."""
    return type("Net", (Plain,), attributes)


def _with(**more):
    """Returns a constructor that sets more attributes."""

    def init(self, spec):
        Plain.__init__(self, spec)
        for name, value in more.items():
            setattr(
                self, name, value(spec) if callable(value) and not isinstance(value, nn.Module) else value
            )

    return init


def outputs(change):
    """Returns a forward whose outputs are changed."""
    return lambda self, obs: change(*Plain.forward(self, obs))


def _buffered(self, spec):
    Plain.__init__(self, spec)
    self.register_buffer("mask", torch.full((3,), -math.inf))


def _tied(self, spec):
    Plain.__init__(self, spec)
    self.again = nn.Linear(8, spec.choices + 1)
    self.again.weight = self.heads.weight


def _counting(self, obs):
    self.calls += 1
    return Plain.forward(self, obs)


def _counter(self, spec):
    Plain.__init__(self, spec)
    self.register_buffer("calls", torch.zeros(1))


def _dropping(self, obs):
    logits, value = Plain.forward(self, obs)
    return nn.functional.dropout(logits, 0.1), value


FAULTS = {
    "an instance": (nn.Linear(1, 1), "not a class of torch.nn.Module; give the class"),
    "not a module": (dict, "dict is not a class of torch.nn.Module"),
    "no forward": (type("Net", (nn.Module,), {}), "Net has no forward; define forward(self, obs)"),
    "another constructor": (
        faulty(__init__=lambda self: nn.Module.__init__(self)), "does not accept __init__(self, spec)"),
    "another forward": (
        faulty(forward=lambda self, records, index: None), "does not accept forward(self, obs)"),
    "no state": (faulty(state_size=4), "does not accept forward(self, obs, state)"),
    "state_size": (faulty(state_size=-1), "has state_size = -1; use an integer"),
    "no parameters": (
        faulty(__init__=lambda self, spec: nn.Module.__init__(self)), "no parameters to train; assign"),
    "frozen": (
        faulty(__init__=_with(first=lambda s: nn.Linear(s.encoded_size, 8).requires_grad_(False),
                              heads=lambda s: nn.Linear(8, s.choices + 1).requires_grad_(False))),
        "no parameters to train"),
    "float64": (
        faulty(__init__=_with(more=nn.Linear(2, 2).double())), "parameter more.weight of torch.float64"),
    "per population": (
        faulty(per_population=True), "first.weight has the shape (8, 1920); make 2, the number of pop"),
    "tied": (faulty(__init__=_tied), "heads.weight and again.weight in the same memory"),
    "infinite buffer": (faulty(__init__=_buffered), "infinite numbers in mask"),
    "dropout": (faulty(forward=_dropping), "draws random numbers in forward"),
    "changed buffer": (faulty(__init__=_counter, forward=_counting), "changes its buffer calls in forward"),
    "one output": (faulty(forward=outputs(lambda logits, value: logits)),
                   "returns a Tensor from forward; return (logits, value)"),
    "three outputs": (faulty(forward=outputs(lambda logits, value: (logits, value, value))),
                      "returns 3 values from forward; return (logits, value); a recurrent network has"),
    "no tensor": (faulty(forward=outputs(lambda logits, value: (logits, 0.0))), "returns a float as value"),
    "logits": (faulty(forward=outputs(lambda logits, value: (logits[..., 1:], value))),
               "shape (2, 2, 9); the shape is (2, 2, 10), [P, B, choices]: move 5, style 3, target 2"),
    "value": (faulty(forward=outputs(lambda logits, value: (logits, value[..., None]))),
              "value of shape (2, 2, 1); the shape is (2, 2), [P, B]"),
    "integers": (faulty(forward=outputs(lambda logits, value: (logits, value.long()))),
                 "returns value of torch.int64; return floating-point"),
    "NaN": (faulty(forward=outputs(lambda logits, value: (logits, value / 0))),
            "value that are NaN or infinite for an empty slot"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found_at_the_start(fault):
    """The ConfigError has the class, the fault and the remedy, and torch's generator is as before."""
    network, message = FAULTS[fault]
    before = torch.get_rng_state()
    with pytest.raises(ConfigError) as error:
        sword_with(network)(small(), CPU)
    assert message in str(error.value) and "nmmo_gpu.train.network_spec" in str(error.value)
    assert torch.equal(torch.get_rng_state(), before)


def test_recurrence_is_up_to_the_network():
    """The config cannot ask for it, and a state of another size is an error."""
    with pytest.raises(ConfigError, match="Plain has no recurrent state, but recurrent = True"):
        sword_with(Plain)(small(recurrent=True), CPU)
    sword_with(Recurrent)(small(recurrent=True), CPU)

    class Wide(Recurrent):
        def forward(self, obs, state):
            logits, value, state = super().forward(obs, state)
            return logits, value, state[..., :3]

    with pytest.raises(ConfigError, match=r"state of shape \(2, 2, 3\); the shape is \(2, 2, 8\)"):
        sword_with(Wide)(small(), CPU)


def test_an_error_of_the_network_is_its_own():
    """It is raised as it is, with a note that says where."""

    class Broken(Plain):
        def forward(self, obs):
            return obs["no such field"]

    with pytest.raises(KeyError, match="no such field") as error:
        sword_with(Broken)(small(), CPU)
    assert "first call of test_an_error_of_the_network_is_its_own.<locals>.Broken.forward" in "".join(
        error.value.__notes__
    )


def test_subclasses_of_policy_are_built_as_before():
    """The stock network and subclasses of it are not wrapped."""
    config = small()
    sword = Sword(config, CPU)
    assert type(sword.policy) is Policy and not sword.policy.shared_weights
    generator = torch.Generator().manual_seed(config.env.seed)
    expected = Policy(config.env.world, config.policy, generator)
    assert all(map(torch.equal, sword.policy.parameters(), expected.parameters()))
    wrapped = build_policy(Plain, config, sword.training_backend, CPU)
    assert type(wrapped) is ModulePolicy and wrapped.shared_weights
    assert policy_heads(config.env.world, "auto")["target"] == 2
    assert ObservationLayout(config.env.world).bytes == wrapped.layout.bytes
    assert God(config, sword).recurrent_state is None
