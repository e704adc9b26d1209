"""Trained policies in environments: memory, greedy choices, rules, populations and several environments."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import weakref

import pytest
import torch
from train.small import CPU, FULL, KINDS, reloaded, shout, small

import nmmo_gpu
from nmmo_gpu.adapters.gymnasium import SingleAgentEnv
from nmmo_gpu.config import preset
from nmmo_gpu.env import Env
from nmmo_gpu.errors import CheckpointError, ConfigError, UsageError
from nmmo_gpu.train import checkpoint as checkpoints
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.run import Run
from nmmo_gpu.train.trained_policy import TrainedPolicy
from nmmo_gpu.train.trinity import God, Sword, Trinity, sword_with


def begun(config, **changes):
    """Returns an environment after its reset."""
    env = Env(dataclasses.replace(config, **changes))
    env.reset()
    return env


def played(policy, env, ticks=20):
    """Returns the actions of some ticks, [ticks, R, A, heads]."""
    actions = []
    for _ in range(ticks):
        actions.append(policy(env))
        env.step(actions[-1])
    return torch.stack(actions)


@pytest.fixture(
    scope="module",
    params=[*KINDS, "full"],
    ids=lambda kind: "-".join(map(str, kind)) if kind != "full" else kind,
)
def folder(request, tmp_path_factory):
    """Returns the folder of a run of every kind of policy, with scaled-up heads."""
    if request.param == "full":
        settings = {**FULL, "recurrent": True, "targeting": "learned"}
    else:
        settings = dict(zip(("recurrent", "targeting"), request.param, strict=True))
    path = tmp_path_factory.mktemp("run")
    run = Run(small(path, births=-1, immune_ticks=2, **settings))
    run.iterate()
    shout(run.sword.policy)
    checkpoints.save(path / checkpoints.FILE, run.checkpoint())
    return path


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory):
    """Returns the checkpoint of a recurrent policy with scaled-up heads."""
    run = Run(small(recurrent=True, targeting="learned", births=-1, immune_ticks=2))
    run.iterate()
    shout(run.sword.policy)
    return reloaded(run, tmp_path_factory.mktemp("run") / checkpoints.FILE)


def test_a_loaded_policy_plays_worlds_of_the_same_rules(folder):
    """Other realms, seed and births; the same actions for the folder and the file, again in a world of the
    same seed, and others in a world of another. Actions have the shape and dtype that ``step`` takes."""
    policy = nmmo_gpu.load_policy(folder)
    config = policy.config.env
    other = dataclasses.replace(config, realms=3, seed=8, world=dataclasses.replace(config.world, births=2))
    actions = played(policy, begun(other))
    assert actions.dtype == torch.int64 and actions.shape[1:3] == (3, 16) and actions.any()
    again = nmmo_gpu.load_policy(str(folder / checkpoints.FILE))
    assert torch.equal(actions, played(again, begun(other)))
    assert torch.equal(actions, played(policy, begun(other))), "a new world has a new memory"
    assert not torch.equal(actions, played(policy, begun(other, seed=9)))


def test_a_loaded_policy_has_the_bits_of_its_training(folder):
    """It continues the world of the checkpoint as the run does without learning."""
    stored = checkpoints.load(folder, CPU)
    run = Run(dataclasses.replace(stored.config, run="unused"), checkpoints.load(folder, CPU))
    policy = nmmo_gpu.load_policy(folder)
    env = Env(stored.config.env, checkpoints.load_world(stored, CPU))
    if run.god.recurrent_state is not None:
        policy.reset(env, run.god.recurrent_state.clone())
    actions = played(policy, env, 8)
    rollout = run.god.collect()
    alive = rollout.alive
    style = rollout.choices.view(*actions.shape)[..., 1]
    assert torch.equal(actions[..., 1].view(8, -1)[alive], style.view(8, -1)[alive].long())
    assert env.world.digest() == run.god.env.world.digest()


def test_nothing_global_changes(folder):
    """Torch's generator has the same state, and actions are the same in inference mode and after it."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    expected = played(nmmo_gpu.load_policy(folder), begun(_env(folder)))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.inference_mode():
        policy = nmmo_gpu.load_policy(folder)
        env = begun(_env(folder))
        first = played(policy, env, 10)
    assert torch.equal(torch.cat((first, played(policy, env, 10))), expected)


def _env(folder):
    """Returns the environment's config of a run."""
    return checkpoints.load(folder, CPU, policy_only=True).config.env


def test_environments_in_turn_do_not_interfere(folder):
    """Each has the actions that it has alone, however the calls are interleaved."""
    config = _env(folder)
    alone = [played(nmmo_gpu.load_policy(folder), begun(config, seed=seed)) for seed in (1, 2)]
    policy = nmmo_gpu.load_policy(folder)
    envs, actions = [begun(config, seed=seed) for seed in (1, 2)], [[], []]
    for tick in range(20):
        for which in (0, 1) if tick % 3 else (1, 0):
            actions[which].append(policy(envs[which]))
            envs[which].step(actions[which][-1])
    assert all(torch.equal(torch.stack(part), whole) for part, whole in zip(actions, alone, strict=True))


def test_a_second_call_in_a_tick_changes_nothing(recurrent):
    """Neither its actions nor the later ones, and so a policy may play in two mixes."""
    config = recurrent.config.env
    expected = played(TrainedPolicy(recurrent), begun(config))
    policy = TrainedPolicy(recurrent)

    def twice(env):
        first = policy(env)
        assert torch.equal(policy(env), first)
        return first

    assert torch.equal(played(twice, begun(config)), expected)


def test_memory_is_of_agents_and_not_of_slots(recurrent):
    """The state of an agent that is called again after some ticks stays; that of one which died in the
    meantime, and whose slot another has, becomes zero."""
    policy, env = TrainedPolicy(recurrent), begun(recurrent.config.env)
    played(policy, env, 5)
    player = policy._player(env)
    before, ids = player._after.clone(), env.world.agents(env.world.entity).clone()
    for _ in range(12):
        env.step(nmmo_gpu.random_actions(env))
    policy(env)
    same = (ids == env.world.agents(env.world.entity)).view(-1)
    assert same.any() and not same.all() and before[same].any()
    assert torch.equal(player._before[same], before[same]) and not player._before[~same].any()


def test_reset_forgets(recurrent):
    """One environment, or all; a state can be given instead. Without memory, the actions are those of a new
    policy."""
    env, other = (begun(recurrent.config.env, seed=seed) for seed in (1, 2))
    policy = TrainedPolicy(recurrent)
    for world in (env, other):
        played(policy, world, 10)
    kept, remembered = policy._player(env)._after.clone(), policy(other)
    new = TrainedPolicy(recurrent)
    assert not torch.equal(policy(env), new(env))
    policy.reset(env)
    assert torch.equal(policy(env), new(env)) and torch.equal(policy(other), remembered)
    policy.reset(env, kept)
    assert not torch.equal(policy(env), new(env))
    policy.reset()
    assert torch.equal(policy(env), new(env)) and torch.equal(policy(other), new(other))
    with pytest.raises(UsageError, match="needs the environment"):
        policy.reset(state=kept)


def test_an_environment_is_not_kept_alive(recurrent):
    """Its player ends with it."""
    policy, env = TrainedPolicy(recurrent), begun(recurrent.config.env)
    played(policy, env, 2)
    gone = weakref.ref(env)
    del env
    gc.collect()
    assert gone() is None and not policy._players


def test_copies_begin_without_memory(recurrent):
    """By ``copy`` and ``pickle``, and the original keeps its own."""
    policy, env = TrainedPolicy(recurrent), begun(recurrent.config.env)
    played(policy, env, 10)
    expected, new = policy(env), TrainedPolicy(recurrent)(env)
    assert not torch.equal(expected, new)
    for copied in (copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))):
        assert torch.equal(copied(env), new)
    assert torch.equal(policy(env), expected)


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_greedy_policies_choose_the_most_likely(folder, backend):
    """Of every head the likeliest choice that is possible, given the style or trade chosen; an attack under
    auto-targeting has the target that the policy would attack."""
    if backend == "numba":
        pytest.importorskip("numba")
    env = begun(_env(folder), backend=backend)
    policy, sampling = nmmo_gpu.load_policy(folder, greedy=True), nmmo_gpu.load_policy(folder)
    views, attacks, differing = {}, 0, 0
    for _ in range(15):
        actions = policy(env)
        differing += int((actions != sampling(env)).sum())
        trace = policy.policy_trace(env, torch.arange(2))
        views = env.layout.views(env.records)
        alive = views["alive"]
        start = 0
        for column, (name, size) in enumerate(policy.heads.items()):
            best = trace.probability[..., start : start + size].argmax(-1)
            start += size
            chosen = actions[..., column]
            if name == "target" and policy.config.policy.targeting == "auto":
                assert torch.equal((chosen > 0)[alive], (best > 0)[alive])
                attacks += int((chosen > 0).sum())
                style = actions[..., 1, None, None].expand(-1, -1, 1, views["target_mask"].shape[-1])
                reach = views["target_mask"].gather(2, style).squeeze(2)
                assert reach.gather(-1, chosen[..., None]).squeeze(-1)[alive & (chosen > 0)].all()
                continue
            assert torch.equal(chosen[alive], best[alive]), name
        env.step(actions)
    assert differing > 0 and (attacks > 0 or policy.config.policy.targeting == "learned")


class Peaceful(Sword):
    """Decides as usual, but never attacks."""

    def decide(self, records, world, state):
        decision = super().decide(records, world, state)
        decision.actions[..., 2] = 0
        return decision


class Alone(Sword):
    """Decides without the stock Sword."""

    def decide(self, records, world, state):
        greedy, self.training_backend = self.training_backend, Sword(self.config, CPU).training_backend
        decision = super().decide(records, world, state)
        self.training_backend = greedy
        return decision


def test_greedy_swords_of_your_own():
    """What a Sword changes of a decision stays. One that samples in another way is refused."""
    stored = Run(small(births=-1), trinity=Trinity(sword=Peaceful)).checkpoint()
    env = begun(stored.config.env)
    for greedy in (False, True):
        actions = played(TrainedPolicy(stored, Peaceful, greedy), begun(stored.config.env))
        assert actions[..., :2].any() and not actions[..., 2].any()
    stored = Run(small(births=-1), trinity=Trinity(sword=Alone)).checkpoint()
    assert TrainedPolicy(stored, Alone)(env).any()
    with pytest.raises(UsageError, match=r"greedy = True has no effect on Alone\.decide\(\)"):
        TrainedPolicy(stored, Alone, greedy=True)(env)


class Other(Policy):
    """The stock network with another name."""


class Watching(God):
    """The stock God with another name."""


def test_only_the_classes_that_choose_actions_matter(tmp_path):
    """A run with a custom God is played without it; Sword and network are needed, together or as a
    Trinity."""
    run = Run(small(tmp_path), trinity=Trinity(god=Watching))
    run.save()
    assert nmmo_gpu.load_policy(tmp_path).config == run.config
    trinity = Trinity(sword=sword_with(Other, Peaceful), god=Watching)
    Run(small(tmp_path), trinity=trinity).save()
    env = begun(run.config.env)
    for given in (trinity, sword_with(Other, Peaceful), (Peaceful, Other), [Other, Peaceful, Watching]):
        assert nmmo_gpu.load_policy(tmp_path, given)(env).any()
    for given, part in (
        (None, "network.*sword"),
        (Other, "sword"),
        (Peaceful, "network"),
        (God, "network.*sword"),
    ):
        with pytest.raises(
            CheckpointError, match=rf"its {part} is .*--trinity {__name__}:Other {__name__}:Peace"
        ):
            nmmo_gpu.load_policy(tmp_path, given)
    with pytest.raises(ConfigError, match="neither a Trinity nor a subclass"):
        nmmo_gpu.load_policy(tmp_path, "Peaceful")


def test_wrong_tensors_are_refused_when_a_policy_is_loaded(tmp_path):
    """One missing, one more and one of another shape, by name."""
    run = Run(small(tmp_path))
    whole = run.checkpoint()
    for name, change, message in (
        ("value_bias", None, "value_bias is missing"),
        ("more", torch.zeros(2), "unexpected tensors policy.more"),
        ("value", torch.zeros(2, 3, 1), "value is .*expected"),
    ):
        tensors = whole.tensors | {f"policy.{name}": change}
        tensors = {key: tensor for key, tensor in tensors.items() if tensor is not None}
        with pytest.raises(CheckpointError, match=message):
            TrainedPolicy(dataclasses.replace(whole, tensors=tensors))


def test_other_rules_are_refused(folder):
    """The error lists what differs, and nothing is kept of the environment."""
    policy = nmmo_gpu.load_policy(folder)
    config = policy.config.env
    world = dataclasses.replace(config.world, forage=6, immune_ticks=9)
    with pytest.raises(ConfigError, match=r"rules other than .*immune_ticks = 2, here 9.*choose the preset"):
        policy(begun(config, world=world))
    with pytest.raises(ConfigError, match=r"\(.*forage = \d+, here 6"):
        policy.sword(begun(config, world=world))
    assert not policy._players
    with pytest.raises(UsageError, match=r"before env.reset\(\)"):
        policy(Env(config))
    with pytest.raises(UsageError, match="no actions of this environment"):
        policy.policy_trace(begun(config), torch.arange(1))


def test_a_policy_of_one_device():
    """An environment elsewhere is refused, and so is a device that does not exist."""
    stored = Run(small()).checkpoint()
    assert TrainedPolicy(stored, device="cpu")(begun(stored.config.env)).device == CPU
    elsewhere = TrainedPolicy(stored)
    elsewhere.device = torch.device("cuda")
    with pytest.raises(ConfigError, match="device = 'cuda', but the environment is on cpu; load the policy"):
        elsewhere(begun(stored.config.env))
    with pytest.raises(ConfigError, match="device = 'abacus'"):
        TrainedPolicy(stored, device="abacus")


def test_a_population_can_play_another(recurrent):
    """All populations have the weights of one, which are the first dimension; the policy itself keeps its
    own."""
    policy = TrainedPolicy(recurrent)
    second = policy.as_population(1)
    env = begun(recurrent.config.env)
    for name, weight in second.sword(env).policy.named_parameters():
        own = dict(policy.sword(env).policy.named_parameters())[name]
        assert torch.equal(weight[0], own[1]) and torch.equal(weight[1], own[1]), name
    window = policy.sword(env).policy.window
    assert not torch.equal(window[0], window[1])
    expected = policy(env)
    assert torch.equal(second(env)[:, 8:], expected[:, 8:])
    assert not torch.equal(second(env)[:, :8], expected[:, :8])
    for source in (-1, 2):
        with pytest.raises(ConfigError, match=f"source = {source} is not a population; choose from 0 to 1"):
            policy.as_population(source)


def test_two_trained_policies_in_one_world(recurrent):
    """In a mix, each plays its population with a memory of its own, as it would with other companions."""
    config = recurrent.config.env
    one, two = (TrainedPolicy(recurrent).as_population(p) for p in (0, 1))
    mixed = nmmo_gpu.Mixed({0: one, 1: two})
    assert torch.equal(played(mixed, begun(config)), played(TrainedPolicy(recurrent), begun(config)))


def test_a_policy_plays_the_others_of_an_adapter():
    """``SingleAgentEnv`` takes it as the function that plays the other slots."""
    stored = Run(small(realms=1, births=-1)).checkpoint()
    env = SingleAgentEnv(stored.config.env, others=TrainedPolicy(stored))
    env.action_space.seed(1)
    env.reset()
    for _ in range(10):
        _, _, dead, _, _ = env.step(env.action_space.sample())
        if dead:
            env.reset()
    assert env.others._players[env.native].decided is not None


def test_the_example_of_the_docstring(tmp_path):
    """A run of a preset is played in an environment that ``make`` makes."""
    config = dataclasses.replace(small(tmp_path), env=dataclasses.replace(small().env, world=preset("chaos")))
    Run(config).save()
    policy = nmmo_gpu.load_policy(tmp_path)
    env = nmmo_gpu.make("chaos", realms=1, device="cpu")
    env.reset()
    for _ in range(2):
        env.step(policy(env))
    assert isinstance(policy, nmmo_gpu.TrainedPolicy) and policy.config == config
