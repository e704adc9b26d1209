"""The environment: reset once, then step; buffers, rewards, and invalid actions."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.helpers import DATA, GARBAGE, ODD, blank_maps, check_invariants, draw_world, orders

import nmmo_gpu
from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.content import Material
from nmmo_gpu.env import INTEGERS, Env, make, random_actions
from nmmo_gpu.errors import ActionError, ConfigError, MapError, NmmoError, UsageError
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.device import resolve_device
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause
from nmmo_gpu.world.terrain import generate
from nmmo_gpu.world.tiled import load_tmx

V1 = [str(DATA / "v1_maps" / f"map{k}.tmx") for k in range(4)]
SMALL = {**ODD, "slots": 14, "populations": 7, "realms": 3, "device": "cpu", "seed": 4}


@pytest.fixture
def small(backend):
    """Returns a function that makes small environments on one backend."""
    return lambda name="chaos", **settings: make(name, **{**SMALL, "backend": backend.name, **settings})


def stay(env):
    return torch.zeros(*env.world.alive.shape, 3, dtype=torch.int64)


def of(world, backend="torch", **settings):
    """Returns an environment that continues a world drawn by hand."""
    config = EnvConfig(world=world.config, realms=world.realms, device="cpu", backend=backend, **settings)
    return Env(config, world)


# ------------------------------------------------------------------------------------------------------ reset


def test_reset_is_called_once_and_before_step(small):
    env = small()
    with pytest.raises(UsageError, match=r"step\(\) was called before reset\(\); call env\.reset\(\) once"):
        env.step(stay(env))
    assert int(env.world.tick) == 0
    env.reset()
    digest = env.world.digest()
    with pytest.raises(UsageError, match="a second time.*make another environment"):
        env.reset()
    assert env.world.digest() == digest
    env.step(stay(env))
    with pytest.raises(UsageError):
        env.reset()


def test_before_reset_the_world_has_terrain_and_no_agents(small):
    env = small()
    assert not env.world.alive.any() and int(env.world.tick) == 0
    assert torch.equal(env.world.base, generate(4, 3, 33, 47, 7))


def test_reset_observes_the_first_births(small):
    for births, minimum, maximum in ((1, 1, 1), (3, 2, 3), (-1, 9, 14)):
        env = small(births=births)
        obs = env.reset()
        living = env.world.alive.sum(1)
        assert (living >= minimum).all() and (living <= maximum).all()
        assert torch.equal(obs["alive"], env.world.alive) and int(env.world.tick) == 1
        assert set(obs) == set(env.layout.fields)
        assert not env.world.acted.any(), "no agent has acted yet"


def test_a_world_with_agents_is_continued(backend):
    world = draw_world("0.1", slots=2, populations=2)
    env = of(world, backend.name)
    assert env.begun and env.records.any(), "it is observed immediately"
    with pytest.raises(UsageError):
        env.reset()
    env.step(stay(env))
    assert int(world.tick) == 1 and env.world is world


# ------------------------------------------------------------------------------------------- observations


def test_an_observation_is_unchanged_by_the_next_step(small):
    env = small(births=-1)
    previous = env.reset()
    assert env.records.data_ptr() == previous["self"].data_ptr()
    for _ in range(5):
        copies = {name: view.clone() for name, view in previous.items()}
        obs, *_ = env.step(random_actions(env))
        assert all(torch.equal(previous[name], copies[name]) for name in copies)
        assert obs["self"].data_ptr() != previous["self"].data_ptr()
        assert not torch.equal(obs["self"], previous["self"])
        previous = obs


def test_out_is_written_completely(small):
    """Filled with garbage before, it ends up like the environment's own buffer, and nothing else is
    written."""
    given, reference = small(births=-1), small(births=-1)
    expected = reference.reset()
    out = given.layout.allocate(3, 14, device="cpu").fill_(GARBAGE)
    obs = given.reset(out=out)
    assert given.records is out and torch.equal(out, reference.records)
    assert all(view.untyped_storage().data_ptr() == out.untyped_storage().data_ptr() for view in obs.values())
    assert all(torch.equal(obs[name], expected[name]) for name in obs)
    for step in range(4):
        actions = random_actions(given)
        assert torch.equal(actions, random_actions(reference))
        fresh = given.layout.allocate(3, 14, device="cpu").fill_(GARBAGE)
        kept = out.clone()
        given.step(actions, out=fresh if step % 2 else None)
        reference.step(actions)
        assert torch.equal(given.records, reference.records) and torch.equal(out, kept)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: out[:2], lambda out: out.to(torch.int8), lambda out: out[..., :-1],
        lambda out: out.transpose(0, 1).contiguous().transpose(0, 1), lambda out: out.flatten(),
    ],
)  # fmt: skip
def test_an_invalid_out_is_refused_before_anything_changes(small, spoil):
    env = small()
    out = spoil(env.layout.allocate(3, 14, device="cpu"))
    before = env.world.digest()
    with pytest.raises(ActionError, match="out is .*give a contiguous uint8"):
        env.reset(out=out)
    assert env.world.digest() == before and not env.begun
    env.reset()
    before = env.world.digest()
    with pytest.raises(ActionError, match="out is .*give a contiguous uint8"):
        env.step(stay(env), out=out)
    assert env.world.digest() == before


# ------------------------------------------------------------------------------------------------ actions


def test_a_target_is_a_row_of_the_table_or_0_for_none(backend):
    """0 sees 2 nearest, then 1: row 1 is 2."""
    world = draw_world("0.2.1", slots=3, populations=3, reach=(7, 7, 7))
    actions = torch.zeros(1, 3, 3, dtype=torch.int64)
    for row, victim in ((1, 2), (2, 1)):
        after = of(world.clone(), backend.name)
        actions[0, 0] = torch.tensor([0, 1, row])
        after.step(actions)
        assert after.world.damage[0].nonzero().flatten().tolist() == [victim]
    for row in (0, 3, 8):
        after = of(world.clone(), backend.name)
        actions[0, 0] = torch.tensor([0, 1, row])
        after.step(actions)
        assert not after.world.damage.any()


@pytest.mark.parametrize("dtype", sorted(INTEGERS, key=str), ids=str)
def test_every_integer_dtype_is_accepted(small, dtype):
    digests = set()
    for kind in (torch.int64, dtype):
        env = small(births=-1)
        env.reset()
        for _ in range(3):
            env.step(random_actions(env).to(kind))
        digests.add(env.world.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("backend", ["torch", "numba"])
def test_unsigned_actions_of_the_full_game_are_the_same_numbers(backend):
    """Differences of unsigned numbers would wrap around."""
    digests = set()
    for kind in (torch.int64, torch.uint8, torch.uint16, torch.int8):
        env = make("full", realms=1, height=32, width=32, slots=16, npcs=False, device="cpu", backend=backend)
        env.reset()
        for _ in range(4):
            env.step(random_actions(env).to(kind))
        digests.add(env.world.digest())
    assert len(digests) == 1


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint64])
def test_unsigned_actions_out_of_range_are_refused(small, dtype):
    env = small()
    env.reset()
    actions = random_actions(env).to(dtype)
    actions[1, 2, 0] = 255
    with pytest.raises(ActionError, match=r"actions\[1, 2, 0\] \(move\) = 255 is out of range"):
        env.step(actions)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: a[:2], r"actions has shape \(2, 14, 3\); give \(3, 14, 3\): realms, slots, \(move, style"),
        (lambda a: a[..., :2], r"actions has shape \(3, 14, 2\)"),
        (lambda a: a[0, 0], r"actions has shape \(3,\)"),
        (lambda a: a.float(), r"actions has dtype torch\.float32; give integers"),
        (lambda a: a.bool(), r"actions has dtype torch\.bool; give integers"),
        (lambda a: a.to(torch.complex64), r"actions has dtype torch\.complex64; give integers"),
        (lambda a: a.numpy(), r"actions is a ndarray; give a torch\.Tensor"),
        (lambda a: a.tolist(), r"actions is a list; give a torch\.Tensor"),
        (lambda a: None, r"actions is a NoneType; give a torch\.Tensor"),
        (lambda a: a.to("meta"), r"actions is on meta, the world on cpu; make it there"),
    ],
)
def test_invalid_actions_are_refused_and_change_nothing(small, spoil, message):
    env = small(births=-1)
    env.reset()
    digest, records = env.world.digest(), env.records.clone()
    with pytest.raises(ActionError, match=message):
        env.step(spoil(stay(env)))
    assert env.world.digest() == digest and torch.equal(env.records, records)


@pytest.mark.parametrize(("head", "name", "last"), [(0, "move", 4), (1, "style", 2), (2, "target", 8)])
@pytest.mark.parametrize("beyond", [-1, 1, 1 << 40, -(1 << 62)])
def test_actions_out_of_range_are_refused_with_index_name_and_value(small, head, name, last, beyond):
    """Actions of empty slots are checked too."""
    env = small()
    env.reset()
    digest = env.world.digest()
    value = beyond if beyond < 0 else last + beyond
    actions = stay(env)
    actions[2, 13, head] = value
    with pytest.raises(ActionError) as caught:
        env.step(actions)
    text = f"actions[2, 13, {head}] ({name}) = {value} is out of range; choose a value from 0 to {last}."
    assert str(caught.value) == text
    assert env.world.digest() == digest
    actions[2, 13, head] = last
    env.step(actions)


def test_without_checks_only_the_shape_is_checked(small):
    """Valid actions give the same world. Empty slots may have any action except a row beyond the table."""
    checked, unchecked = small(births=-1), small(births=-1, check_actions=False)
    for env in (checked, unchecked):
        env.reset()
    for _ in range(4):
        actions = random_actions(checked)
        checked.step(actions)
        unchecked.step(actions)
        assert checked.world.digest() == unchecked.world.digest()
    with pytest.raises(ActionError, match="shape"):
        unchecked.step(actions[:1])
    realm, slot = (~unchecked.world.alive).nonzero()[0].tolist()
    nonsense = stay(unchecked)
    nonsense[realm, slot, :2] = 99
    checked.step(stay(checked))
    unchecked.step(nonsense)
    assert checked.world.digest() == unchecked.world.digest()


def test_random_actions_are_uniform_over_what_is_in_reach(backend):
    """As in v1: any move, any style, and as target one of those in the style's reach, or none."""
    world = draw_world("0.1\n...\n..2", slots=4, populations=4, realms=400)
    env = of(world, backend.name)
    actions = random_actions(env)
    assert actions.dtype == torch.int64 and actions.shape == (400, 4, 3)
    move, style, target = actions[:, 0].unbind(-1)
    assert set(move.tolist()) == set(range(5)) and set(style.tolist()) == {0, 1, 2}
    for kind, count in ((0, 1), (1, 3), (2, 3)):  # reach of 1, 2 and 3; both others are 2 tiles away
        assert set(target[style == kind].tolist()) == set(range(count))
    assert (actions[:, 3, 2] == 0).all(), "an empty slot has no target"
    assert torch.equal(actions, random_actions(env))
    env.step(actions)
    assert not torch.equal(actions, random_actions(env))


# ------------------------------------------------------------------------------------ rewards and termination


def death_row(backend, **settings):
    """0 will walk into lava, 1 stays on grass, and slot 2 is empty."""
    return of(draw_world("0^#1", slots=3, populations=3), backend, **settings)


@pytest.mark.parametrize(("reward", "paid"), [("alive", [0.0, 1.0, 0.0]), ("death", [-1.0, 0.0, 0.0])])
def test_rewards_of_both_kinds(backend, reward, paid):
    env = death_row(backend.name, reward=reward)
    actions = stay(env)
    actions[0, 0, 0] = 1
    _, got, terminated, truncated, info = env.step(actions)
    assert got.dtype == torch.float32 and got.tolist() == [paid]
    assert terminated.tolist() == [[True, False, False]]
    assert truncated.dtype == torch.bool and not truncated.any()
    assert info["cause"].tolist() == [[Cause.LAVA, 0, 0]]
    _, got, terminated, truncated, info = env.step(stay(env))
    assert got.tolist() == [[0.0, 1.0 if reward == "alive" else 0.0, 0.0]]
    assert not terminated.any() and not truncated.any() and not info["cause"].any()


def test_info_is_that_of_the_slots_agent_dead_or_alive(backend):
    env = death_row(backend.name)
    actions = stay(env)
    actions[0, 0, 0] = 1
    for _ in range(2):
        obs, *_, info = env.step(actions)
        assert info["entity"].tolist() == [[0, 1, -1]]
        assert info["lifetime"][0, 0] == 20 and info["explored"][0, 0] == 1
        assert obs["alive"].tolist() == [[False, True, False]]
    assert set(info) == {"cause", "entity", "lifetime", "explored"}
    assert info["lifetime"].dtype == torch.int32 and info["entity"].dtype == torch.int64


def test_terminated_is_who_acted_and_died_over_a_long_run(small):
    """Each reward is 1 for agents that acted and live, else 0, and truncated is never true."""
    env = small(births=3)
    env.reset()
    lives = {}
    deaths = acted = 0
    for _ in range(150):
        acting, entity = env.world.alive.clone(), env.world.entity.clone()
        obs, reward, terminated, truncated, info = env.step(random_actions(env))
        assert torch.equal(terminated, acting & (info["cause"] != 0)) and not truncated.any()
        assert torch.equal(reward, (acting & ~terminated).float())
        assert not (terminated & obs["alive"]).any()
        assert torch.equal(info["entity"][acting], entity[acting])
        deaths += int(terminated.sum())
        acted += int(acting.sum())
        for realm, slot in acting.nonzero().tolist():
            key = realm, int(entity[realm, slot])
            lives[key] = lives.get(key, 0) + 1
            if terminated[realm, slot]:
                assert int(info["lifetime"][realm, slot]) == lives.pop(key)
        check_invariants(env.world)
    assert deaths == int(env.world.deaths.sum()) > 100
    assert int(env.world.acted.sum()) == acted


def test_step_does_what_tick_does(backend):
    world = draw_world("0.1.2\n..f..", slots=5, populations=5, births=1)
    twin = world.clone()
    env = of(world, backend.name)
    actions = torch.zeros(1, 5, 3, dtype=torch.int64)
    actions[0, :, 0] = torch.tensor([1, 2, 3, 0, 0])
    actions[0, 2] = torch.tensor([3, 2, 1])
    env.step(actions)
    tick.step(twin, resolve(backend.name, torch.device("cpu")), *orders(
        twin, move={0: "east", 1: "south", 2: "west"}, attack={2: ("mage", 1)}
    ))  # fmt: skip
    assert twin.digest() == world.digest()


# ------------------------------------------------------------------------------------------------- making


def test_make_assigns_settings_to_batch_and_rules():
    env = make("law", **{**SMALL, "births": -1, "reward": "death"})
    assert env.config.realms == 3 and env.config.world.births == -1 and env.config.world.damage == (0, 0, 0)
    assert env.action_sizes == (5, 3, 9)
    assert nmmo_gpu.make is make


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("peace", {}, "preset = 'peace' is unknown; choose one of law, chaos"),
        ("law", {"agents": 5}, "agents = 5: WorldConfig has no such field; it has height"),
        ("law", {"world": None}, "world = None: WorldConfig has no such field"),
        ("law", {"realms": 0}, "realms = 0 is out of range; choose"),
        ("law", {"slots": 5, "populations": 2}, "slots = 5 cannot be shared equally"),
        ("law", {"device": "nonsense"}, "device = 'nonsense' is not a device; choose"),
        ("law", {"device": "meta"}, "device = 'meta' is not supported; choose"),
        ("law", {"backend": "jax"}, "backend = 'jax' is unknown; choose"),
        ("law", {"maps": V1, "height": 64, "width": 72}, r"map0\.tmx is 80 x 80 .*64 x 72; set height = 80"),
    ],
)
def test_impossible_arguments_are_refused_by_name(name, settings, message):
    with pytest.raises(ConfigError, match=message):
        make(name, **{"device": "cpu", **settings})


@pytest.mark.parametrize("device", [None, 3, "", "cpu:x"])
def test_a_device_of_the_wrong_type_is_a_config_error(device):
    with pytest.raises(ConfigError, match="device = "):
        resolve_device(device)


def test_devices_by_name():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_a_cuda_device_is_refused_with_the_remedy(device):
    with pytest.raises(ConfigError, match=f"device = '{device}', but torch .* sees no CUDA device.*choose"):
        make("law", device=device)


def test_v1_maps_are_assigned_in_turn_and_played(backend):
    env = make("law", realms=5, maps=V1[:2], device="cpu", backend=backend.name)
    for realm in range(5):
        assert torch.equal(env.world.base[realm], load_tmx(V1[realm % 2]))
    env.reset()
    for _ in range(3):
        env.step(random_actions(env))
    check_invariants(env.world)


def test_a_missing_map_is_a_map_error(tmp_path):
    with pytest.raises(MapError, match=r"none\.tmx"):
        make("law", maps=[tmp_path / "none.tmx"], device="cpu")


def test_a_single_map_path_is_refused_or_used_as_one_path():
    """maps="map0.tmx" must not be read as a list of one-letter files."""
    try:
        env = make("law", realms=2, maps=V1[0], device="cpu", backend="torch")
    except NmmoError as error:
        assert "maps" in str(error)
    else:
        assert torch.equal(env.world.base[1], load_tmx(V1[0]))


def test_realms_that_share_a_map_have_their_own_tiles():
    env = make("chaos", **{**SMALL, "shared_map": True, "births": -1, "backend": "torch"})
    base = env.world.base
    assert torch.equal(base[0], base[1]) and torch.equal(base[0], base[2])
    env.reset()
    assert not torch.equal(env.world.row[0], env.world.row[1])
    env.world.material[0, 15, 15] = int(Material.LAVA)
    assert torch.equal(env.world.material[1], base[1])


def test_seed_and_actions_reproduce_an_environment(small):
    """Also across backends."""
    digests = []
    for settings in ({}, {}, {"backend": "torch"}, {"seed": 5}):
        env = small(births=3, **settings)
        env.reset()
        for _ in range(25):
            env.step(random_actions(env))
        digests.append((env.world.digest(), bytes(env.records.numpy().tobytes())))
    assert digests[0] == digests[1] == digests[2] != digests[3]


def test_all_agents_may_die(backend):
    """Without births the last death leaves an empty world, which continues."""
    config = preset("law", **ODD, slots=7, populations=7, births=0)
    world = empty_world(config, blank_maps(config, 2), 1)
    env = of(world, backend.name)
    obs, reward, terminated, *_ = env.step(stay(env))
    assert not obs["alive"].any() and not reward.any() and not terminated.any()
    assert not env.records.any() and int(world.tick) == 1
    assert not random_actions(env)[..., 2].any()


def test_the_config_is_kept():
    config = EnvConfig(world=preset("law", **ODD, slots=14, populations=7), realms=2, device="cpu")
    env = Env(config)
    assert env.config is config and env.world.config is config.world
    assert env.backend.name in ("torch", "numba") and env.device == torch.device("cpu")
    assert dataclasses.replace(config, realms=3).realms == 3
