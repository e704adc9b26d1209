"""The TorchRL environment returns the native environment's data unchanged and never overwrites it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from support.helpers import ODD

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.env import make, random_actions
from nmmo_gpu.errors import ActionError, ConfigError, UsageError

pytest.importorskip("torchrl")

from torchrl.collectors import Collector
from torchrl.envs import ActionMask, RewardSum, SerialEnv, TransformedEnv
from torchrl.envs.utils import check_env_specs

from nmmo_gpu.adapters.torchrl import TorchRLEnv, key

SMALL = {**ODD, "slots": 14, "populations": 7, "realms": 3, "device": "cpu", "seed": 4, "backend": "torch"}


def adapted(name="chaos", **settings):
    return TorchRLEnv(name, **{**SMALL, **settings})


def native(name="chaos", **settings):
    return make(name, **{**SMALL, **settings})


def at_random(env):
    """A policy: the native random actions, which depend on the world's seed and tick only."""
    return lambda tensordict: tensordict.set("action", random_actions(env.native))


def shown(env, obs):
    """Returns what a tensordict must show of a native environment."""
    world = env.world
    about = {
        "entity": world.agents(world.entity),
        "lifetime": world.agents(world.age),
        "explored": world.explored,
        "cause": world.agents(world.cause),
    }
    return {name: view.clone() for name, view in {**{key(n): v for n, v in obs.items()}, **about}.items()}


def assert_shows(tensordict, expected):
    assert set(tensordict.keys()) >= set(expected)
    for name, tensor in expected.items():
        assert tensordict[name].dtype == tensor.dtype and torch.equal(tensordict[name], tensor), name


@pytest.mark.parametrize("name", ["chaos", "full"])
@pytest.mark.parametrize("masked", [False, True])
def test_torchrl_accepts_the_specs(name, masked):
    """TorchRL's own check: a short random rollout matches the specs, whether it stops at a death or not."""
    env = adapted(name, births=-1)
    if masked:
        env = TransformedEnv(env, ActionMask())
    check_env_specs(env, break_when_any_done="both")
    check_env_specs(env, return_contiguous=False, break_when_any_done=False)


def test_the_specs_match_the_layout():
    env = adapted("full")
    assert env.batch_size == (3, 14) and env.device == torch.device("cpu")
    for name, field in env.native.layout.fields.items():
        spec = env.observation_spec[key(name)]
        assert spec.shape == (3, 14, *field.shape) and spec.dtype == field.dtype, name
    assert set(env.observation_spec.keys()) == {key(name) for name in env.native.layout.fields} | {
        "entity", "lifetime", "explored", "cause", "action_mask",
    }  # fmt: skip
    assert env.action_spec.shape == (3, 14, 7) and env.action_spec.dtype == torch.int64
    assert tuple(env.action_spec.nvec[0, 0].tolist()) == env.native.action_sizes
    assert env.reward_spec.shape == (3, 14, 1) and env.reward_spec.dtype == torch.float32
    assert set(env.done_keys) == {"done", "terminated", "truncated"}


@pytest.mark.parametrize("name", ["chaos", "full"])
@pytest.mark.parametrize("contiguous", [False, True])
def test_a_rollout_equals_stepping_the_native_environment(name, contiguous):
    """Seven steps are more than the native environment has buffers, so an overwritten one would show."""
    env, hand = adapted(name, births=-1), native(name, births=-1)
    played = env.rollout(7, at_random(env), break_when_any_done=False, return_contiguous=contiguous)
    assert played.shape == (3, 14, 7)
    now = shown(hand, hand.reset())
    deaths = 0
    for t in range(7):
        step = played[..., t]
        assert_shows(step, now)
        actions = random_actions(hand)
        assert torch.equal(step["action"], actions)
        obs, reward, terminated, *_ = hand.step(actions)
        now = shown(hand, obs)
        assert_shows(step["next"], now)
        assert torch.equal(step["next", "reward"], reward[..., None])
        assert torch.equal(step["next", "terminated"], terminated[..., None])
        assert torch.equal(step["next", "done"], terminated[..., None])
        assert not step["next", "truncated"].any() and not step["done"].any()
        deaths += int(terminated.sum())
    assert deaths > 3 and env.native.world.digest() == hand.world.digest()


def test_a_collector_keeps_every_step_of_every_batch():
    """Consecutive batches of five ticks equal one native run, including deaths and births."""
    env, hand = adapted(births=-1), native(births=-1)
    collector = Collector(env, at_random(env), frames_per_batch=5 * 42, total_frames=3 * 5 * 42)
    now = shown(hand, hand.reset())
    ticks = 0
    for batch in collector:
        for t in range(5):
            assert_shows(batch[..., t], now)
            obs, reward, *_ = hand.step(random_actions(hand))
            now = shown(hand, obs)
            assert_shows(batch[..., t]["next"], now)
            assert torch.equal(batch[..., t]["next", "reward"], reward[..., None])
            ticks += 1
    assert ticks == 15 and int(hand.world.deaths.sum()) > 10
    collector.shutdown()


def test_observations_are_views_of_the_records():
    env = adapted(births=-1)
    tensordict = env.reset()
    for _ in range(3):
        storage = env.native.records.untyped_storage().data_ptr()
        for name, field in env.native.layout.fields.items():
            view = tensordict[key(name)]
            assert view.untyped_storage().data_ptr() == storage
            assert view.data_ptr() == env.native.records.data_ptr() + field.offset
        tensordict = env.step(at_random(env)(tensordict))["next"]


def test_a_partial_reset_returns_the_slots_next_agent_without_a_step():
    """The first observations are zeros, because no agent is born in the tick of a death; then a newborn with
    another id follows."""
    env = adapted(births=-1)
    step = env.reset()
    while not (died := (step := env.step(at_random(env)(step)))["next", "done"]).any():
        step = step["next"].exclude("reward")
    died = died.squeeze(-1)
    digest, before = env.native.world.digest(), step["next", "entity"].clone()
    after = env.reset(step["next"].exclude("reward").set("_reset", died[..., None].clone()))
    assert env.native.world.digest() == digest
    assert not after["done"].any() and not after["terminated"].any() and not after["alive"][died].any()
    assert not any(after[key(name)][died].any() for name in env.native.layout.fields)
    assert_shows(after, shown(env.native, env.native.layout.views(env.native.records)))
    later = env.step(at_random(env)(after))["next"]
    born = later["alive"] & died
    assert born.any() and (later["entity"] > before)[born].all() and (later["lifetime"][born] == 1).all()
    assert step["next", "terminated"].squeeze(-1).equal(died), "past flags are unchanged"


def test_full_resets_begin_worlds_with_consecutive_seeds():
    """They follow the seed of ``set_seed`` if it was called. Each world is the one that its seed gives by
    itself."""
    env = adapted(births=-1)
    digests = {}
    for expected in (4, 5, 6, 90, 91, 4):
        if expected in (90, 4) and digests:
            env.set_seed(expected)
        env.reset()
        hand = native(births=-1, seed=expected)
        hand.reset()
        assert env.native.config.seed == expected and env.native.world.digest() == hand.world.digest()
        digests[expected] = hand.world.digest()
    assert len(set(digests.values())) == 5
    env.set_seed(None)
    env.reset()
    assert env.native.config.seed == 5


def test_a_seed_set_before_the_first_reset_is_used():
    env = adapted()
    assert env.set_seed(17) != 17
    env.reset()
    assert env.native.config.seed == 17
    assert torch.equal(env.native.world.base, native(seed=17).world.base)


@pytest.mark.parametrize("name", ["chaos", "full"])
def test_the_action_mask_is_the_heads_masks_concatenated(name):
    """If a head's mask depends on another head's choice, an action is allowed if any of those choices allows
    it. Empty slots may do nothing."""
    env = adapted(name, births=5)
    tensordict = env.rollout(9, at_random(env), break_when_any_done=False)
    living = tensordict["alive"]
    assert living.any() and not living.all()
    parts = dict(
        zip(
            env.native.action_heads, tensordict["action_mask"].split(env.native.action_sizes, -1), strict=True
        )
    )
    for head, mask in parts.items():
        field = tensordict[f"{head}_mask"]
        if head in ("target", "price"):
            field = field[..., 0, :] | field[..., 1, :] | field[..., 2, :]
        assert torch.equal(mask[living], field[living]), head
        assert mask[~living][:, 0].all() and not mask[~living][:, 1:].any(), head


@pytest.mark.parametrize("name", ["chaos", "full"])
def test_masked_random_actions_are_possible(name):
    plain, masked = adapted(name, births=-1), TransformedEnv(adapted(name, births=-1), ActionMask())
    forbidden = []
    for env in (plain, masked):
        tensordict = env.rollout(8, break_when_any_done=False)
        masks = tensordict["action_mask"].split(env.native.action_sizes, -1)
        chosen = tensordict["action"].split(1, -1)
        forbidden.append(
            sum(int((~mask.gather(-1, one)).sum()) for mask, one in zip(masks, chosen, strict=True))
        )
    assert forbidden[0] > 50 and forbidden[1] == 0


def test_torchrl_transforms_see_one_life_at_a_time():
    """The rewards of a life add up to its lifetime minus the tick of its death."""
    env = TransformedEnv(adapted(births=-1), RewardSum())
    tensordict = env.rollout(25, at_random(env), break_when_any_done=False)["next"]
    died = tensordict["terminated"].squeeze(-1)
    assert died.sum() > 30
    assert torch.equal(tensordict["episode_reward"].squeeze(-1)[died], tensordict["lifetime"][died] - 1.0)


def test_torchrl_can_batch_environments():
    """Each environment of the batch plays as it does alone."""

    def east(tensordict):
        return tensordict.set("action", torch.tensor([1, 0, 0]).expand(*tensordict.shape, 3))

    both = SerialEnv(2, [lambda: adapted(births=-1, seed=1), lambda: adapted(births=-1, seed=2)])
    batched = both.rollout(6, east, break_when_any_done=False)
    assert batched["next", "done"].any()
    for i in range(2):
        alone = adapted(births=-1, seed=1 + i).rollout(6, east, break_when_any_done=False)
        for name in alone.keys(True, True):
            assert torch.equal(batched[i][name], alone[name]), name


def test_a_config_can_replace_the_preset():
    config = EnvConfig(world=preset("law", **ODD, slots=14, populations=7), realms=2, device="cpu")
    env = TorchRLEnv(config, backend="torch", seed=8)
    assert env.batch_size == (2, 14) and env.native.config.seed == 8
    assert env.native.config.world is config.world


def test_impossible_arguments_are_refused():
    with pytest.raises(ConfigError, match="preset = 'peace' is unknown"):
        TorchRLEnv("peace")
    with pytest.raises(ConfigError, match="slots = 5: EnvConfig has no such field"):
        TorchRLEnv(EnvConfig(device="cpu"), slots=5)
    env = adapted()
    assert env.to("cpu") is env
    with pytest.raises(
        UsageError, match=r'cannot move to meta; make it there: TorchRLEnv\(..., device="meta"'
    ):
        env.to("meta")
    tensordict = env.reset()
    with pytest.raises(ActionError, match=r"actions\[0, 0, 0\] \(move\) = 9 is out of range"):
        env.step(tensordict.set("action", torch.full((3, 14, 3), 9)))


def test_without_torchrl_the_error_names_the_extra():
    """Runs in a process of its own in which TorchRL cannot be imported; the package itself does not need
    it."""
    code = (
        "import sys; sys.modules['torchrl'] = sys.modules['tensordict'] = None\n"
        "import nmmo_gpu\n"
        "try:\n    import nmmo_gpu.adapters.torchrl\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "nmmo-gpu[adapters]"' in done.stdout
