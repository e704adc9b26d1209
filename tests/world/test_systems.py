"""Systems in play: their phases, state, observations and actions, equal on all backends."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest
import torch
from support.helpers import KERNEL_DEVICE, ODD, assert_same, random_maps, random_world, unclean
from support.ticking import CPU, generator
from support.world_systems import Everything

from nmmo_gpu.config import EnvConfig, preset
from nmmo_gpu.config.systems import ObservationSpec, StateSpec, System, phase
from nmmo_gpu.content import Material
from nmmo_gpu.env import Env, make, random_actions
from nmmo_gpu.errors import ConfigError, UsageError, WorldError
from nmmo_gpu.systems import check_system
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import Backend, resolve
from nmmo_gpu.world.harm import harm
from nmmo_gpu.world.observation_layout import EMPTY, ObservationLayout
from nmmo_gpu.world.phases import PHASES
from nmmo_gpu.world.regrowth import postpone
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.sight import limit_sight
from nmmo_gpu.world.state import Cause, World

TINY = {"height": 40, "width": 40, "slots": 12, "populations": 3, "births": -1}
FEW_NPCS = {"npc_numbers": (2, 2, 2)}


def env_of(system, name="chaos", realms=2, **settings):
    npcs = FEW_NPCS if name == "full" else {}
    settings = {**TINY, **npcs, **settings}
    return make(name, realms=realms, device="cpu", systems=(system,), **settings)


def system_of(**methods):
    """Returns a system with these methods and class attributes."""
    return dataclass(frozen=True)(type("Own", (System,), methods))()


# ------------------------------------------------------------------------------------------------ phases


@pytest.mark.parametrize("name", ["chaos", "full"])
@pytest.mark.parametrize("backend_name", ["torch", "numba", "triton"])
def test_a_phase_runs_at_its_place_on_every_backend(name, backend_name):
    """Before and after each stock phase, whether it is on or off, and in the order of the systems."""
    pytest.importorskip(backend_name)
    backend = resolve(backend_name, KERNEL_DEVICE if backend_name == "triton" else CPU)
    for stock in PHASES:
        first = system_of(name="first", a=phase(before=stock.name)(lambda self, world: None))
        other = system_of(
            name="other", b=phase(before=stock.name)(lambda self, world: None),
            c=phase(after=stock.name)(lambda self, world: None),
        )  # fmt: skip
        config = preset(name, systems=(first, other))
        names = "+".join(call.name for call in tick.calls(config, backend)).split("+")
        alone = [p.name for p in PHASES if p.when(config)]
        assert [n for n in names if "." not in n] == alone
        middle = [stock.name] if stock.name in alone else []
        at = names.index("first.a")
        assert names[at : at + 3 + len(middle)] == ["first.a", "other.b", *middle, "other.c"]


def test_stretches_are_interrupted_only_where_a_phase_is_added():
    pytest.importorskip("numba")
    config = preset("chaos", systems=(system_of(a=phase(after="upkeep")(lambda self, world: None)),))
    names = [call.name for call in tick.calls(config, resolve("numba", CPU))]
    assert names == ["start", "combat+movement+spawning+regrowth+upkeep", "own.a", "explore+burial"]


def test_a_phase_can_replace_a_stock_one():
    calls = []
    system = system_of(a=phase(instead_of="regrowth")(lambda self, world: calls.append(int(world.tick))))
    env = env_of(system)
    env.reset()
    for _ in range(3):
        env.step(random_actions(env))
    assert calls == [0, 1, 2, 3]
    assert "regrowth" not in [call.name for call in tick.calls(env.config.world, Backend())]
    twice = (system, dataclass(frozen=True)(type("Twin", (type(system),), {"name": "twin"}))())
    with pytest.raises(ConfigError, match=r"system Twin: a replaces regrowth, as does own\.a; use one"):
        make("chaos", realms=1, systems=twice, device="cpu")


def test_phases_and_heads_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match=r"system Own: a runs after 'uptake', which is not a phase; choose"):
        env_of(system_of(a=phase(after="uptake")(lambda self, world: None)))
    with pytest.raises(ConfigError, match=r"takes 'work', which is not a head of these rules"):
        env_of(system_of(a=phase(after="upkeep")(lambda self, world, work: None)))


def test_a_phase_gets_the_actions_that_it_names_and_may_replace_them():
    """A parameter with a default may name a head that does not exist. What is returned reaches later phases
    and the recorded actions."""
    seen = []

    def pacify(self, world, style, target, work=None):
        seen.append((style.clone(), target.clone(), work))
        return torch.zeros_like(style), torch.full_like(target, -1)

    env = env_of(system_of(a=phase(before="combat")(pacify)))
    env.reset()
    actions = random_actions(env)
    actions[..., 1] = 2
    env.step(actions)
    assert (seen[-1][0] == 2).all() and seen[-1][2] is None
    assert not env.step_actions.style.any() and (env.step_actions.target == -1).all()


def test_actions_of_all_entities_are_seen_after_the_phase_of_npcs():
    shapes = []
    watch = phase(before="combat")(lambda self, world, move: shapes.append(tuple(move.shape)))
    env = env_of(system_of(a=watch), "full")
    env.reset()
    assert shapes == [(2, 18)]


# ------------------------------------------------------------------------------------------------- state


def played(env: Env, ticks: int = 25) -> World:
    env.reset()
    for _ in range(ticks):
        env.step(random_actions(env))
    return env.world


@pytest.mark.parametrize("name", ["chaos", "full"])
def test_all_backends_give_equal_worlds_observations_and_rewards(name):
    """With phases, state, draws, heads, masks, observations and rewards of a system."""
    pytest.importorskip("numba")
    envs = [env_of(Everything(), name, backend=backend, check=True) for backend in ("torch", "numba")]
    if name == "chaos":
        pytest.importorskip("triton")
        device = {"device": KERNEL_DEVICE.type} if KERNEL_DEVICE.type != "cpu" else {}
        envs.append(make("chaos", **TINY, realms=2, backend="triton", systems=(Everything(),),
                         **({"device": "cpu"} | device)))  # fmt: skip
    for env in envs:
        env.reset()
    for _ in range(4 if len(envs) == 3 else 30):
        actions = random_actions(envs[0])
        results = [env.step(actions.to(env.device)) for env in envs]
        for env, (_, reward, *_) in zip(envs, results, strict=True):
            assert torch.equal(env.records.cpu(), envs[0].records)
            assert torch.equal(reward.cpu(), results[0][1])
            assert_same(env.world.to("cpu"), envs[0].world)
    own = envs[0].world.systems["everything"]
    assert own["counts"][:, 0].all() and own["voice"].any() and own["ground"].any()


def test_a_realm_does_not_depend_on_the_others():
    """Realms 1 and 2 of 3, played apart, with sparse and with dense draws."""
    whole = env_of(Everything(), realms=3)
    part = env_of(Everything(), realms=2, first_realm=1)
    part.world.static_shapes = True
    whole.reset()
    part.reset()
    for _ in range(20):
        actions = random_actions(whole)
        whole.step(actions)
        part.step(actions[1:])
        for (name, many), (_, few) in zip(whole.world.tensors(), part.world.tensors(), strict=True):
            assert name in ("seed", "tick") or torch.equal(many[1:], few), name
        assert torch.equal(whole.records[1:], part.records)


def test_state_is_part_of_the_world():
    """Of its digest, copies, and validation; ``begin`` initializes it beyond its fill."""
    env = env_of(Everything())
    assert (env.world.systems["everything"]["sky"] == 7).all()
    assert (env.world.systems["everything"]["voice"] == -1).all()
    world = played(env)
    copy = world.clone()
    assert copy.digest() == world.digest()
    copy.systems["everything"]["voice"][1, 3] += 1
    assert copy.digest() != world.digest()
    assert not torch.equal(copy.systems["everything"]["voice"], world.systems["everything"]["voice"])
    copy.systems["everything"]["sky"][1] = -1
    with pytest.raises(WorldError, match=r"realm 1, tick 26: everything.sky is -1; it must be from 0 to"):
        copy.validate()
    copy.systems["everything"]["sky"] = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(WorldError, match=r"everything.sky is torch.int64 \(3,\) .*it must be"):
        copy.validate()


def test_state_of_newborns_is_initialized():
    """In the tick of birth, of agents and of NPCs, and at no other time."""
    env = env_of(Everything(), "full", births=1)
    env.reset()
    births = 0
    for _ in range(40):
        before = env.world.clone()
        env.step(random_actions(env))
        world, own = env.world, env.world.systems["everything"]
        born = world.entity != before.entity
        births += int(born[:, :12].sum())
        pulse = own["pulse"]
        assert (pulse[born][:, 1] == 7).all() and (pulse[born][:, 0] == 8).all()
        kept = before.systems["everything"]["pulse"][..., 1] == pulse[..., 1]
        assert (kept | born).all()
        older = world.agents(world.alive & ~born)
        assert (own["voice"] >= before.systems["everything"]["voice"])[older].all()
        assert (own["voice"][world.agents(born)] == 0).all()
    assert births > 20


def test_initializing_newborns_interrupts_no_further_stretch():
    """It is done before the first phase of a system after the births, or at the end."""
    pytest.importorskip("numba")
    backend = resolve("numba", CPU)
    declared = {"x": StateSpec("R A", torch.uint8, "x", at_birth=3)}

    def listed(**phases):
        system = system_of(state=lambda self, config: declared, **phases)
        return [call.name for call in tick.calls(preset("chaos", systems=(system,)), backend)]

    whole = "combat+movement+spawning+regrowth+upkeep+explore+burial"
    assert listed() == ["mark_births", "start", whole, "births"]
    late = phase(after="upkeep")(lambda self, world: None)
    assert listed(a=late)[2:] == [
        "combat+movement+spawning+regrowth+upkeep", "births", "own.a", "explore+burial",
    ]  # fmt: skip
    early = phase(before="spawning")(lambda self, world: None)
    assert listed(a=early, b=late)[2:7] == [
        "combat+movement", "own.a", "spawning+regrowth+upkeep", "births", "own.b",
    ]  # fmt: skip


def test_intervene_validates_and_restores_the_state_of_systems():
    env = env_of(Everything())
    played(env, 3)
    with env.intervene() as world:
        world.systems["everything"]["voice"].fill_(9)
    before = env.world.digest()
    with pytest.raises(WorldError, match="everything.sky"), env.intervene() as world:
        world.systems["everything"]["sky"].fill_(-3)
    assert env.world.digest() == before


def test_counters_count_per_realm():
    env = env_of(Everything())
    world = played(env, 10)
    counts = world.systems["everything"]["counts"]
    assert torch.equal(counts[:, 1], world.next_entity)
    before = counts.clone()
    Everything().count(world, "shouts", torch.tensor([True, False]))
    Everything().count(world, "newborns", torch.tensor([[[2, 1], [0, 4]], [[0, 0], [0, -1]]]))
    assert (counts - before).tolist() == [[1, 7], [0, -1]]
    with pytest.raises(ConfigError, match="system Everything: 'shout' is not in counters"):
        Everything().count(world, "shout", world.alive)


def test_draws_are_independent_of_where_and_of_streams():
    world = played(env_of(Everything(), realms=3), 2)
    system, like = Everything(), world.material
    dense = system.draw(world, like)
    mask = torch.rand(like.shape, generator=generator(1)) < 0.3
    sparse = system.draw(world, like, where=mask)
    other = system.draw(world, like, stream=1)
    for word, few, more in zip(dense, sparse, other, strict=True):
        assert word.shape == like.shape and torch.equal(word[mask], few[mask])
        assert (word == more).float().mean() < 0.01
    assert len(torch.unique(dense[0])) > 0.99 * like.numel()
    with pytest.raises(ConfigError, match="stream = 8 of everything is out of range; choose 0 to 7"):
        system.draw(world, like, stream=8)


def test_only_systems_have_another_cause_of_death():
    assert preset("chaos").systems == () and empty(preset("chaos")).deaths.shape == (1, 5)
    assert empty(preset("chaos", systems=(Everything(),))).deaths.shape == (1, 6)


def empty(config):
    return empty_world(config, random_maps(config, 1, generator(0)), 0)


# ------------------------------------------------------------------------------------------- observations


@pytest.mark.parametrize("name", ["chaos", "full"])
def test_fields_are_aligned_and_before_the_windows(name):
    stock, own = ObservationLayout(preset(name)), ObservationLayout(preset(name, systems=(Everything(),)))
    for field, place in stock.fields.items():
        if field not in ("material", "occupant"):
            assert own.fields[field] == place
    added = [field for field in own.fields if field not in stock.fields]
    assert added == [
        "everything.sky", "everything.flags", "everything.voice", "shout_mask", "nod_mask",
    ]  # fmt: skip
    taken = set()
    for place in own.fields.values():
        assert place.offset % place.dtype.itemsize == 0
        bytes_ = set(range(place.offset, place.offset + place.bytes))
        assert not taken & bytes_ and max(bytes_) < own.bytes
        taken |= bytes_
    assert stock.stock_bytes == own.stock_bytes <= own.fields["everything.sky"].offset
    assert own.fields["material"].offset == own.header_bytes


def test_every_byte_is_written_whatever_the_buffer_held(backend):
    """Also the gaps between fields, and the records of empty slots, which are zero."""
    env = env_of(Everything(), backend=backend.name, births=1)
    env.reset()
    for byte in (0xFF, 0xA5):
        actions = random_actions(env)
        out = torch.full_like(env.records, byte)
        views, *_ = env.step(actions, out=out)
        alive = env.world.agents(env.world.alive)
        assert 0 < alive.sum() < alive.numel() and not out[~alive].any()
        named = torch.ones(env.layout.bytes, dtype=torch.uint8)
        env.layout.clear_padding(named)
        unnamed = out[..., named == 0]
        assert unnamed.shape[-1] >= 2 * 15 and not unnamed.any()
        own = env.world.systems["everything"]
        sky = (own["sky"] % 1000)[:, None].expand(2, 12)
        assert torch.equal(views["everything.sky"][alive], sky[alive].short())
        assert torch.equal(views["everything.flags"][..., 1][alive], (env.world.health > 5)[alive])


def test_masks_allow_the_first_choice_and_those_of_the_system():
    env = env_of(Everything())
    views = env.reset()
    env.world.food[0] = 2
    views, *_ = env.step(torch.zeros_like(random_actions(env)))
    alive = views["alive"]
    assert views["shout_mask"][alive][:, 0].all() and views["nod_mask"][alive].all()
    hungry = alive & (env.world.agents(env.world.food) <= 3)
    assert hungry.any() and not views["shout_mask"][hungry][:, 1:].any()
    assert views["shout_mask"][alive & ~hungry].all()
    assert not views["shout_mask"][~alive].any() and not views["nod_mask"][~alive].any()


def test_random_actions_follow_the_masks_and_vary():
    env = env_of(Everything())
    env.reset()
    chosen = []
    for _ in range(30):
        views, actions = env.layout.views(env.records), random_actions(env)
        for column, name in ((-2, "shout"), (-1, "nod")):
            allowed = views[f"{name}_mask"].gather(-1, actions[..., column, None]).squeeze(-1)
            assert (allowed | ~views["alive"]).all()
        chosen.append(actions[views["alive"]][:, -2:])
        env.step(actions)
    chosen = torch.cat(chosen)
    assert [len(torch.unique(column)) for column in chosen.T] == [4, 2]
    assert list(env.action_heads)[-2:] == ["shout", "nod"] and env.action_sizes[-2:] == (4, 2)


@pytest.mark.parametrize(
    ("observe", "message"),
    [
        (lambda self, world: {}, r"observe\(\) does not return 'x', which observation\(\) declares"),
        (lambda self, world: {"x": world.health, "y": world.health}, r"observe\(\) returns 'y', which"),
        (lambda self, world: {"x": world.material}, r"observe\(\)\['x'\] is \(2, 40, 40\); give a tensor"),
        (lambda self, world: {"x": 3}, r"observe\(\)\['x'\] is int; give a tensor"),
    ],
)  # fmt: skip
def test_wrong_observations_are_errors(observe, message):
    declared = {"x": ObservationSpec("x", torch.int16, high=100)}
    env = env_of(system_of(observation=lambda self, config: declared, observe=observe))
    with pytest.raises(ConfigError, match=f"system Own: {message}"):
        env.reset()


def test_edited_observations(backend):
    """Rows made empty cannot be chosen, and empty slots stay zero, whatever the system writes."""

    def edit(self, world, fields):
        fields["material"].fill_(3)
        fields["entity_kind"][..., 1:] = EMPTY

    env = env_of(system_of(edit_observation=edit), backend=backend.name, births=2)
    env.reset()
    for _ in range(8):
        views, *_ = env.step(random_actions(env))
    alive = views["alive"]
    assert (views["material"][alive] == 3).all() and not env.records[~alive].any() and (~alive).any()
    assert (env._seen[..., 1:] == -1).all() and (env._seen[..., 0] >= 0).any()


# ------------------------------------------------------------------------------------------- helpers


@pytest.mark.parametrize("name", ["chaos", "full"])
def test_limited_sight_hides_what_is_farther(name):
    """Compared with a plain loop over agents and cells."""
    env = env_of(Everything(), name, backend="torch", slots=36)
    played(env, 20)
    fields = {name: view.clone() for name, view in env.layout.views(env.records).items()}
    whole = {name: view.clone() for name, view in fields.items()}
    sight = torch.randint(1, 8, (2, 36), generator=generator(3))
    limit_sight(fields, sight)
    for realm, slot in whole["alive"].nonzero().tolist():
        near = int(sight[realm, slot])
        for row in range(15):
            for col in range(15):
                far = max(abs(row - 7), abs(col - 7)) > near
                for field, hidden in (("material", int(Material.GRASS)), ("occupant", EMPTY)):
                    was = whole[field][realm, slot, row, col]
                    assert fields[field][realm, slot, row, col] == (hidden if far else was)
        for k in range(8):
            dy, dx = whole["entities"][realm, slot, k, :2].tolist()
            far = max(abs(dy), abs(dx)) > near
            kind = whole["entity_kind"][realm, slot, k]
            assert fields["entity_kind"][realm, slot, k] == (0 if far else kind)
            for field in ("entities", "entity_attributes"):
                if field in fields:
                    expected = torch.zeros(8, dtype=torch.int8) if far else whole[field][realm, slot, k]
                    assert torch.equal(fields[field][realm, slot, k], expected)
            targets = fields["target_mask"][realm, slot, :, 1 + k]
            assert torch.equal(targets, whole["target_mask"][realm, slot, :, 1 + k] & (not far))
        styles = fields["style_mask"][realm, slot]
        assert torch.equal(styles[1:], fields["target_mask"][realm, slot, 1:, 1:].any(-1)) and styles[0]
    for field in set(whole) - {
        "material", "occupant", "entity_kind", "entities", "entity_attributes", "target_mask", "style_mask",
    }:  # fmt: skip
        assert torch.equal(fields[field], whole[field])


def test_harm_kills_agents_only():
    config = preset("full", **ODD, slots=12, populations=3, npc_numbers=(2, 2, 2), systems=(Everything(),))
    world = random_world(config, 2, 3, fill=0.9)
    before = world.clone()
    world.health[0, 1] = 0  # killed earlier in the tick, by combat
    world.cause[0, 1] = Cause.COMBAT
    damage = torch.randint(0, 12, (2, 12), generator=generator(1))
    harm(world, damage)
    for realm in range(2):
        for slot in range(18):
            was = int(before.health[realm, slot])
            if slot >= 12 or not before.alive[realm, slot] or (realm, slot) == (0, 1):
                continue
            left = max(0, was - int(damage[realm, slot]))
            assert world.health[realm, slot] == left
            assert world.cause[realm, slot] == (Cause.OTHER if left == 0 else 0)
    assert torch.equal(world.health[:, 12:], before.health[:, 12:])
    dead = ~world.agents(before.alive)
    assert torch.equal(world.agents(world.health)[dead], before.agents(before.health)[dead])
    assert world.cause[0, 1] == Cause.COMBAT and not world.cause[:, 12:].any()


def test_agents_killed_by_a_system_are_buried_and_counted(backend):
    """In the full game, their goods too; a checked world agrees with the ledger."""

    def kill(self, world):
        harm(world, (world.agents(world.age) == 9) * 127)

    deadly = system_of(a=phase(before="loot")(kill))
    for name in ("chaos", "full"):
        env, killed = env_of(deadly, name, check=True, backend=backend.name), 0
        env.reset()
        for _ in range(12):
            _, _, died, _, info = env.step(random_actions(env))
            killed += int((info["cause"][died] == Cause.OTHER).sum())
        assert env.world.deaths[:, Cause.OTHER].sum() == killed >= 5


def test_postponed_tiles_wait_again():
    config = preset("chaos", **ODD, systems=(Everything(),))
    world = random_world(config, 2, 5, odds="fff,,")
    now = int(world.tick) & 0x7FFFFFFF
    tiles = world.regrow_at == now
    tiles[0, 9:14, 9:14] = True
    before = world.regrow_at.clone()
    word = torch.randint(0, 1 << 32, tiles.shape, generator=generator(2))
    postpone(world, tiles, word)
    assert torch.equal(world.regrow_at[~tiles], before[~tiles])
    waits = world.regrow_at[tiles] - now
    assert (waits >= 1).all() and len(torch.unique(waits)) > 5
    from nmmo_gpu.world.regrowth_table import waiting_ticks

    assert torch.equal(waits.long(), waiting_ticks(word[tiles], config.regrowth))


# ------------------------------------------------------------------------------------------- check_system


def test_check_system_accepts_a_system_that_uses_everything():
    check_system(Everything())
    check_system(Everything(), "full", ticks=15)


def silent(method):
    """Returns the method without its result."""

    def run(self, world):
        method(self, world)

    return run


def leaky(self, world):
    world.health.clamp_(max=int(world.health.float().mean()) + 5)


def unseeded(self, world):
    noise = torch.randint(1, 9, world.food.shape, dtype=torch.int16, device=world.device)
    world.food.copy_(torch.where(world.alive, noise, world.food))


def of_all_realms(self, world):
    world.food.copy_(torch.where(world.alive, (world.food.sum() % 31).to(torch.int16), world.food))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda self, world: int(world.tick), r"test_systems.py, line \d+: .* cannot be captured"),
        (lambda self, world: world.health[world.alive], "cannot be captured in a CUDA graph"),
        (lambda self, world: world.alive.nonzero(), "cannot be captured"),
        (lambda self, world: world.alive.cpu(), "cannot be captured"),
        (lambda self, world: world.alive.tolist(), "cannot be captured"),
        (lambda self, world: torch.equal(world.alive, world.alive), "cannot be captured"),
        (lambda self, world: torch.tensor([1, 2], device=world.device), "copies from the host in each tick"),
        (leaky, r"health.clamp_\(max=int.*cannot be captured"),
        (of_all_realms, "of a realm depends on the other realms"),
        (unseeded, "two equal worlds have become different"),
        (lambda self, world: world.health.fill_(99), "health is 99; it must be"),
    ],
)  # fmt: skip
def test_check_system_refuses(method, message):
    with pytest.raises((ConfigError, WorldError), match=message):
        check_system(system_of(a=phase(after="upkeep")(silent(method))))


def test_a_phase_returns_nothing_or_all_that_it_takes():
    returning = phase(after="upkeep")(lambda self, world, move: (move, move))
    with pytest.raises(ConfigError, match="system Own: a returns 2 values, and takes 1 actions; return None"):
        env_of(system_of(a=returning)).reset()


def test_check_system_refuses_observations_out_of_range():
    declared = {"x": ObservationSpec("x", torch.int16, high=5)}
    system = system_of(
        observation=lambda self, config: declared, observe=lambda self, world: {"x": world.agents(world.food)}
    )
    with pytest.raises(
        ConfigError, match=r"system Own: x is observed from \d+ to \d+; declare that range, or clamp"
    ):
        check_system(system)


def test_check_system_sees_values_that_wrap_around():
    """A byte that is 300 is observed as 44, which is in the declared range."""
    declared = {"x": ObservationSpec("x", torch.uint8, high=255)}
    system = system_of(
        observation=lambda self, config: declared,
        observe=lambda self, world: {"x": world.agents(world.food) * 0 + 300},
    )
    with pytest.raises(
        ConfigError, match=r"system Own: x is observed from 300 to 300; declare that range, or clamp"
    ):
        check_system(system)


def test_other_errors_of_a_system_are_raised_as_they_are():
    with pytest.raises(AttributeError, match="wealth"):
        check_system(system_of(a=phase(after="upkeep")(lambda self, world: world.wealth)))


def test_workspaces_stay_clean_beside_systems():
    pytest.importorskip("numba")
    assert unclean(played(env_of(Everything(), backend="numba"))) == []


def test_an_environment_of_a_stored_world_goes_on(tmp_path):
    """An Env made with the world of another goes on as that one does."""
    env = env_of(Everything())
    played(env, 8)
    other = Env(dataclasses.replace(env.config), env.world.clone())
    assert torch.equal(other.records, env.records)
    for _ in range(5):
        actions = random_actions(env)
        env.step(actions)
        other.step(actions)
    assert other.world.digest() == env.world.digest() and torch.equal(other.records, env.records)


def test_a_config_without_systems_has_none(tmp_path):
    world = empty(preset("chaos"))
    assert world.systems == {} and EnvConfig().world.systems == ()
    assert StateSpec("R", torch.uint8, "x").at_birth is None


# ------------------------------------------------------------------------------------------- later faults


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda move: move + 7, r"a returns move from 7 to \d+; give 0 to 4"),
        (lambda move: move[:, :1], r"a returns move as torch.int64 \(2, 1\); give"),
        (lambda move: move.float(), "a returns move as torch.float32"),
        (lambda move: 3, "a returns move as int; give integers"),
    ],
)  # fmt: skip
def test_actions_that_a_phase_returns_are_checked(returned, message, backend):
    """The next phases would use them as indices."""
    system = system_of(a=phase(before="movement")(lambda self, world, move: returned(move)))
    with pytest.raises(ConfigError, match=f"system Own: {message}"):
        env_of(system, backend=backend.name).reset()


def test_observations_are_integers():
    declared = {"x": ObservationSpec("x", torch.int16, high=100)}
    system = system_of(
        observation=lambda self, config: declared,
        observe=lambda self, world: {"x": world.agents(world.food) / 2},
    )
    with pytest.raises(ConfigError, match=r"observe\(\)\['x'\] is torch.float32; round it"):
        env_of(system).reset()


def test_replaced_tensors_and_changes_outside_of_phases_are_found():
    def replace(self, world):
        world.food = world.food.clone()

    def eat(self, world):
        world.food.add_(-1).clamp_(min=0)
        return {}

    with pytest.raises(ConfigError, match="food was replaced by another tensor, which CUDA graphs"):
        check_system(system_of(a=phase(after="upkeep")(replace)), ticks=2)
    with pytest.raises(WorldError, match="an observation has changed the world, which only phases may do"):
        check_system(system_of(observe=eat, edit_observation=lambda self, world, fields: None), ticks=2)

    def greedy(world, before):
        world.food.add_(-1).clamp_(min=0)
        return torch.zeros_like(world.explored, dtype=torch.float32)

    with pytest.raises(WorldError, match="a reward has changed the world"):
        check_system(system_of(), ticks=2, reward=greedy)


def test_several_systems_are_checked_together():
    """A system may use the state of another; without it, the error names what is missing."""
    reader = system_of(
        name="reader", a=phase(after="upkeep")(lambda self, world: world.systems["everything"]["sky"].add_(1))
    )
    reader = system_of(name="reader", a=phase(after="upkeep")(silent(type(reader).a)))
    check_system((Everything(), reader), ticks=3)
    with pytest.raises(UsageError, match="no system 'everything'; add it to systems, beside reader"):
        check_system(reader)


def test_a_setting_has_to_be_hashable():
    @dataclass(frozen=True)
    class Listed(System):
        days: list = dataclasses.field(default_factory=list)

    with pytest.raises(ConfigError, match="system Listed: a setting cannot be hashed .*use a tuple"):
        preset("chaos", systems=(Listed(),))
