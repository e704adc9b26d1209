"""Sword, God and Pantheon: their decisions and rollouts, and the use of subclasses."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from train.small import CPU, FULL, KINDS, NETWORKS, shout, small

from nmmo_gpu.env import Env
from nmmo_gpu.errors import ConfigError, UsageError
from nmmo_gpu.train.run import Run, Trinity, train
from nmmo_gpu.train.sampling import sample
from nmmo_gpu.train.trinity import God, Pantheon, Sword
from nmmo_gpu.world.random import Stream, draw, unit


def server(**settings):
    """Returns a God with scaled-up heads."""
    config = small(**settings)
    god = God(config, Sword(config, CPU))
    shout(god.sword.policy)
    return god


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_a_realm_does_not_depend_on_the_other_realms(recurrent, targeting):
    """The same realm alone and with two others has the same choices and the same history in every tick."""
    worlds = []
    for realms in (1, 3):
        config = small(realms=realms, shared_map=True, recurrent=recurrent, targeting=targeting)
        sword = Sword(config, CPU)
        shout(sword.policy)
        env = Env(config.env)
        env.reset()
        worlds.append((env, sword, sword.policy.initial_state(realms * 16, CPU)))
    acted = 0
    for _ in range(40):
        actions = []
        for i, (env, sword, state) in enumerate(worlds):
            decision = sword.decide(env.records, env.world, state)
            _, _, died, _, _ = env.step(decision.actions)
            if decision.state is not None:
                state = decision.state * (~died).view(-1, 1)
            worlds[i] = env, sword, state
            actions.append(decision.actions)
        assert torch.equal(actions[0][0], actions[1][0])
        acted += int(actions[0].any(-1).sum())
        one, many = (env.world for env, _, _ in worlds)
        for (name, alone), (_, beside) in zip(one.tensors(), many.tensors(), strict=True):
            assert torch.equal(alone[0], beside[0]), name
        assert not torch.equal(many.row[0], many.row[1])
    assert acted > 100


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_decisions_are_valid(recurrent, targeting):
    """Choices become valid actions: moves are possible, and under auto-targeting targets are strangers. Empty
    slots have no choices, values or recurrent state."""
    god = server(recurrent=recurrent, targeting=targeting, slots=32, births=-1, immune_ticks=2, realms=3)
    attacks = 0
    for _ in range(6):
        god.collect()
        env, world = god.env, god.env.world
        decision = god.sword.decide(env.records, world, god.recurrent_state)
        dead, alive = ~world.alive, world.alive
        views = env.layout.views(env.records)
        assert decision.actions.shape == (3, 32, 3) and decision.actions.dtype == torch.int64
        assert decision.choices.shape == (96, 3) and decision.choices.dtype == torch.int16
        for part in (
            decision.actions.view(96, -1),
            decision.choices,
            decision.value,
            decision.log_probability,
        ):
            assert not part[dead.view(-1)].any() and part[alive.view(-1)].any()
        move, style, target = decision.actions.unbind(-1)
        assert views["move_mask"].gather(-1, move[..., None]).squeeze(-1)[alive].all()
        for realm, slot in (target > 0).nonzero().tolist():
            row = int(target[realm, slot])
            assert views["target_mask"][realm, slot, style[realm, slot], row]
            if targeting == "auto":
                assert views["entity_kind"][realm, slot, row - 1] == 2
            attacks += 1
        if targeting == "auto":
            wanted = decision.choices.view(3, 32, 3)[..., 2].bool()
            assert torch.equal(wanted, target > 0), "a chosen attack has a target"
        else:
            assert torch.equal(decision.choices.view(3, 32, 3).long(), decision.actions)
        if recurrent:
            assert decision.state.shape == (96, 8)
            assert not decision.state[dead.view(-1)].any() and decision.state[alive.view(-1)].any()
        else:
            assert decision.state is None
    assert attacks > 10


@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_draws_depend_on_realm_and_slot(targeting):
    """Each agent's choice follows from the counter-based draws of its (seed, tick, realm, slot)."""
    god = server(targeting=targeting, realms=3, births=-1)
    god.collect()
    world, policy = god.env.world, god.sword.policy
    choices = god.sword.decide(god.env.records, world, None).choices.view(3, 16, 3)
    index = torch.arange(48).view(3, 2, 8).transpose(0, 1).reshape(2, 24)
    with torch.no_grad():
        output = policy(god.env.records.view(48, -1), index)
    realm, slot = index // 16, index % 16
    words = draw(world.seed, world.tick, Stream.POLICY, realm, slot)
    expected, _ = sample(output, torch.stack([unit(word) for word in words[:3]]))
    alive = world.alive[realm, slot]
    assert torch.equal(expected[alive], choices[realm, slot][alive].long()) and alive.sum() > 10


def test_only_living_agents_have_a_recurrent_state():
    """Whatever state is passed in, decisions return zeros for the others."""
    god = server(recurrent=True)
    god.collect()
    alive = god.env.world.alive.view(-1)
    state = god.sword.decide(god.env.records, god.env.world, torch.ones_like(god.recurrent_state)).state
    assert not alive.all() and not state[~alive].any() and state[alive].any(-1).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_deciding_changes_nothing(network):
    """Deciding twice in one tick gives the same decision and changes neither recurrent state nor world."""
    god = server(recurrent=NETWORKS[network])
    god.collect()
    digest = god.env.world.digest()
    before = None if god.recurrent_state is None else god.recurrent_state.clone()
    one, same = (god.sword.decide(god.env.records, god.env.world, god.recurrent_state) for _ in range(2))
    for name in ("actions", "choices", "log_probability", "value", "state"):
        a, b = getattr(one, name), getattr(same, name)
        assert a is b is None or torch.equal(a, b), name
    assert god.env.world.digest() == digest
    assert before is None or torch.equal(god.recurrent_state, before)


@pytest.mark.parametrize("network", NETWORKS)
def test_collect_writes_every_row(network):
    """Rollouts written over garbage equal those written over zeros."""
    clean, dirty = (server(recurrent=NETWORKS[network]) for _ in range(2))
    for turn in range(3):
        for name, tensor in vars(dirty.rollout).items():
            if tensor is None:
                continue
            if name == "records":
                tensor[:-1].fill_(0xAB)  # the last row is where the next rollout begins
            else:
                tensor.fill_(True if tensor.dtype == torch.bool else 77)
        one, other = clean.collect(), dirty.collect()
        for name, tensor in vars(one).items():
            assert tensor is vars(other)[name] is None or torch.equal(tensor, vars(other)[name]), (turn, name)
        assert one.died.any() and not one.alive.all()


@pytest.mark.parametrize("reward", ["alive", "death"])
def test_a_rollout_matches_the_world(reward):
    """Observations follow each other within and across rollouts. Living agents, deaths and rewards are the
    world's; rewards are in units of 1 / (1 - gamma)."""
    god = server(reward=reward, gamma=0.9, realms=3)
    first = god.collect()
    last = first.records[-1].clone()
    world = god.env.world
    acted, deaths = int(world.acted.sum()), int(world.deaths.sum())
    rollout = god.collect()
    assert torch.equal(rollout.records[0], last) and torch.equal(rollout.records[-1], god.env.records)
    alive = god.env.layout.views(rollout.records)["alive"].view(9, -1)
    assert torch.equal(rollout.alive, alive[:-1]) and torch.equal(alive[-1], world.alive.view(-1))
    assert int(rollout.alive.sum()) == int(world.acted.sum()) - acted
    assert int(rollout.died.sum()) == int(world.deaths.sum()) - deaths > 0
    assert not (rollout.died & ~rollout.alive).any()
    assert not (rollout.died[:-1] & rollout.alive[1:]).any(), "a slot is filled in the tick after a death"
    paid = (rollout.alive & ~rollout.died).float() if reward == "alive" else -rollout.died.float()
    torch.testing.assert_close(rollout.reward, paid * 0.1)
    assert (rollout.log_probability[rollout.alive] < 0).all()
    for empty in (rollout.log_probability, rollout.value[:-1]):
        assert not empty[~rollout.alive].any()
    assert not rollout.value[-1][~world.alive.view(-1)].any() and rollout.value[-1].any()


def test_the_recurrent_state_continues_across_rollouts():
    """A rollout starts with the state that the previous one ended with, and newborns start with zeros."""
    god = server(recurrent=True)
    assert not god.collect().state.any()
    left = god.recurrent_state.clone()
    rollout = god.collect()
    assert torch.equal(rollout.state, left) and left.any()
    gone = rollout.died[-1] | ~rollout.alive[-1]
    assert not god.recurrent_state[gone].any() and god.recurrent_state[~gone].any(-1).all()


def test_visits_count_the_agents_tiles():
    """One sample per rollout, over all realms."""
    god = server(realms=3)
    total = 0
    for _ in range(4):
        god.collect()
        total += int(god.env.world.alive.sum())
    assert int(god.visits.sum()) == total > 0
    standing = god.env.world.occupant.count_nonzero(0)
    assert (god.visits >= standing).all()
    assert god.visits.shape == (40, 40) and not god.visits[:9].any()


def test_a_rollout_can_store_every_choice():
    """Every target that the heads can choose fits the rollout's dtype, or the config is refused."""
    try:
        god = server(targeting="learned", nearest=200)
    except ConfigError as error:
        assert "nearest" in str(error)
    else:
        largest = torch.tensor(god.env.action_sizes) - 1
        assert torch.equal(largest.to(god.rollout.choices.dtype).long(), largest)


class Hermits(Sword):
    """Agents stay and attack no one."""

    def decide(self, records, world, state):
        decision = super().decide(records, world, state)
        return decision._replace(actions=torch.zeros_like(decision.actions))


class Doubtful(Sword):
    """Decides, evaluates something else, and returns its first decision."""

    def decide(self, records, world, state):
        decision = super().decide(records, world, state)
        super().decide(records.roll(1, 1), world, state)
        return decision._replace(actions=decision.actions.clone())


@pytest.mark.parametrize("settings", [{}, FULL], ids=["chaos", "full"])
@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_recorded_outputs_belong_to_the_decision(backend, settings):
    """The trace is that of the decision, whatever the policy evaluates afterwards, and however often."""
    if backend != "torch":
        pytest.importorskip(backend)
    god = server(backend=backend, births=-1, **settings)
    god.collect()
    records, world, realms = god.env.records, god.env.world, torch.arange(2)
    doubtful = Doubtful(god.config, CPU)
    doubtful.policy.load_state_dict(god.sword.policy.state_dict())
    expected = god.sword.policy_trace(records, world, god.sword.decide(records, world, None), realms)
    decision = doubtful.decide(records, world, None)
    found = doubtful.policy_trace(records, world, decision, realms)
    assert torch.equal(found.probability, expected.probability) and torch.equal(found.value, expected.value)
    other = god.sword.decide(records.roll(1, 1), world, None)
    assert not torch.equal(god.sword.policy_trace(records, world, other, realms).value, expected.value)


class Silent(Sword):
    """Decides without returning the policies' outputs."""

    def decide(self, records, world, state):
        return super().decide(records, world, state)._replace(decided_by=None)


def test_a_decision_without_outputs_cannot_be_recorded(tmp_path):
    """When it should be recorded, the error names the class and both remedies. Without recording it plays."""
    silent = Trinity(sword=Silent)
    with pytest.raises(UsageError, match=r"Silent\.decide\(\).*decision\._replace.*--no-record-policy"):
        train(small(tmp_path / "recorded", iterations=1, record=(0,)), trinity=silent)
    run = train(small(tmp_path / "run", iterations=1, record=(0,), record_policy=False), trinity=silent)
    assert run.iteration == 1


class Watching(God):
    """A God that counts its rollouts."""

    rollouts = 0

    def collect(self):
        self.rollouts += 1
        return super().collect()


class Lazy(Pantheon):
    """A Pantheon that learns nothing and stores its arguments."""

    def learn(self, rollout, progress):
        self.progress_values = [*getattr(self, "progress_values", []), progress]
        statistics = super().learn(rollout, progress)
        with torch.no_grad():
            for parameter in self.sword.policy.parameters():
                parameter.zero_()
        return statistics


def test_subclasses_are_used(tmp_path):
    """Run and train use each of the three, alone and together."""
    run = Run(small(), trinity=Trinity(sword=Hermits))
    start = run.god.env.world.row.clone(), run.god.env.world.entity.clone()
    run.iterate()
    same = run.god.env.world.entity == start[1]
    assert same.any() and torch.equal(run.god.env.world.row[same], start[0][same])
    assert type(run.god) is God and type(run.pantheon) is Pantheon

    run = train(
        small(tmp_path / "run", iterations=2), trinity=Trinity(god=Watching, sword=Hermits, pantheon=Lazy)
    )
    assert type(run.sword) is Hermits and run.god.sword is run.pantheon.sword is run.sword
    assert run.god.rollouts == 2 and run.pantheon.progress_values == [0.0, 0.5]
    assert not any(parameter.any() for parameter in run.sword.policy.parameters())


def test_the_stock_classes_are_the_default():
    """Without subclasses a run uses the three stock classes."""
    assert dataclasses.astuple(Trinity()) == (Pantheon, God, Sword)
    run = Run(small())
    assert (type(run.pantheon), type(run.god), type(run.sword)) == (Pantheon, God, Sword)
