"""The examples of systems do what their descriptions say, compared with plain Python."""

from __future__ import annotations

import ast
import itertools
import math
import sys
from contextlib import closing

import pytest
import torch
from support import example_systems
from support.example_systems import FILES, FOLDER, Daylight, DeathFog, DenseRegrowth, Flag, TradeTax
from support.helpers import (
    ODD,
    assert_same,
    blank_maps,
    chi_square,
    corner,
    draw_world,
    orders,
    random_world,
    where,
)
from support.traders import FEW, auction, bustling, market
from support.traders import orders as trades

from nmmo_gpu.config import preset
from nmmo_gpu.content import Material
from nmmo_gpu.env import make, random_actions
from nmmo_gpu.errors import ConfigError
from nmmo_gpu.replay.reader import Replay
from nmmo_gpu.replay.recorder import Recorder
from nmmo_gpu.systems import check_system
from nmmo_gpu.world import tick
from nmmo_gpu.world.backend import resolve
from nmmo_gpu.world.ledger import holdings
from nmmo_gpu.world.observation_layout import EMPTY
from nmmo_gpu.world.regrowth import regrowth, schedule
from nmmo_gpu.world.regrowth_table import NEVER
from nmmo_gpu.world.reset import empty_world
from nmmo_gpu.world.state import Cause

TINY = {"height": 40, "width": 40, "slots": 24, "populations": 3, "births": -1, "realms": 2, "device": "cpu"}
TORCH = resolve("torch", torch.device("cpu"))


def test_all_together_are_recorded_and_read_back(tmp_path):
    """Every field of every system, for both of two realms, in each of twelve ticks."""
    systems = (Daylight(period=10), DeathFog(period=20, grace=1), DenseRegrowth(), Flag(), TradeTax())
    env, seen = make("full", **TINY, npc_numbers=(2, 2, 2), systems=systems), []
    env.reset()
    names = list(env.layout.system_fields)
    with closing(Recorder(env, (0, 1), 5, tmp_path, "examples", blocking=True)) as recorder:
        for time in range(12):
            observation, *_ = env.step(random_actions(env))
            seen.append({name: observation[name].flatten(1).tolist() for name in names})
            recorder.capture(time % 5, env.step_actions)
            if time % 5 == 4:
                recorder.flush()
        recorder.flush(2)
    for realm in range(2):
        with Replay(tmp_path / f"realm-{realm}-2.replay") as replay:
            frames = list(replay)
        for name in names:
            columns = [frame.columns[name] for frame in frames]
            read = [row for column in columns for row in column.reshape(len(column), -1).tolist()]
            assert read == [observed[name][realm] for observed in seen], name
    assert names == ["daylight.light", "death_fog.distance", "flag.offset", "flag.carrying"]


@pytest.mark.parametrize("name", FILES)
def test_each_is_one_short_file_that_needs_only_the_package_and_torch(name):
    text = (FOLDER / FILES[name]).read_text()
    assert len(text.splitlines()) <= 80
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert "nmmo_gpu" in imported
    assert imported <= {"nmmo_gpu", "torch", *sys.stdlib_module_names}


def test_every_example_is_tested():
    assert {path.name for path in FOLDER.glob("*.py")} == set(FILES.values())


@pytest.mark.parametrize("name", FILES)
def test_each_passes_check_system(name):
    kind = getattr(example_systems, name)
    if name == "TradeTax":
        check_system(kind(), "full", ticks=20)
    else:
        check_system(kind(), ticks=20)


# ----------------------------------------------------------------------------------------------- daylight


def test_the_light_rises_and_falls():
    """It begins at noon, and is darkest after half a period."""
    for period, light in ((8, [100, 75, 50, 25, 0, 25, 50, 75]), (5, [100, 60, 20, 20, 60])):
        env = make("chaos", **TINY, systems=(Daylight(period=period, night=2),))
        assert (env.world.systems["daylight"]["light"] == 100).all()
        env.reset()
        for _ in range(2 * period):
            observation, *_ = env.step(random_actions(env))
            now = light[int(env.world.tick) % period]
            assert (env.world.systems["daylight"]["light"] == now).all()
            living = observation["alive"]
            assert (observation["daylight.light"] == now * living).all() and living.any()


def test_agents_see_less_far_in_the_dark():
    """Compared with the same world without night: only what is farther away is hidden, and the world is the
    same."""
    day = make("chaos", **TINY)
    night = make("chaos", **TINY, systems=(Daylight(period=6, night=2),))
    assert day.config.world.vision == 7
    whole, seen = day.reset(), night.reset()
    hidden = 0
    for _ in range(7):
        actions = random_actions(day)
        whole, *_ = day.step(actions)
        seen, *_ = night.step(actions)
        time = int(day.world.tick) % 6
        sight = (7, 5, 3, 2, 3, 5)[time]  # 2 + light * 5 / 100, rounded down: 100, 66, 33, 0, 33, 66
        for realm, slot in whole["alive"].nonzero().tolist():
            for row in range(15):
                for col in range(15):
                    far = max(abs(row - 7), abs(col - 7)) > sight
                    was = int(whole["material"][realm, slot, row, col])
                    assert seen["material"][realm, slot, row, col] == (int(Material.GRASS) if far else was)
                    there = int(whole["occupant"][realm, slot, row, col])
                    assert seen["occupant"][realm, slot, row, col] == (EMPTY if far else there)
                    hidden += far and there != EMPTY
    assert hidden > 20
    for name, tensor in day.world.tensors():
        assert name == "deaths" or torch.equal(night.world.tensor(name), tensor), name


def test_a_night_brighter_than_the_day_is_refused():
    with pytest.raises(ConfigError, match="night = 9 is above vision = 7"):
        make("chaos", **TINY, systems=(Daylight(night=9),))


# ---------------------------------------------------------------------------------------- dense regrowth


def forests(neighbors, system, realms=12, chance=0.3, seed=3):
    """Returns (world, tiles): scrub that was forest, each tile with this number of forest neighbors, which no
    other tile shares. The forest stays."""
    config = preset("law", height=64, width=64, slots=1, populations=1, births=0, regrowth=chance,
                    systems=(system,))  # fmt: skip
    maps = blank_maps(config, realms)
    around = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]
    first = config.border + 2
    centers = [(y, x) for y in range(first, 63 - first, 3) for x in range(first, 63 - first, 3)]
    for y, x in centers:
        maps[:, y, x] = int(Material.FOREST)
        for dy, dx in around[:neighbors]:
            maps[:, y + dy, x + dx] = int(Material.FOREST)
    world = empty_world(config, maps, seed)
    flat = torch.tensor([r * 64 * 64 + y * 64 + x for r in range(realms) for y, x in centers])
    world.material.view(-1)[flat] = int(Material.SCRUB)
    schedule(world, flat)
    return world, flat


@pytest.mark.parametrize("neighbors", [0, 4, 8])
def test_the_wait_is_geometric_with_the_probability_of_the_density(neighbors):
    """In bins of equal probability, and in its mean."""
    chance, lowest = 0.3, 0.2
    system = DenseRegrowth(lowest=lowest)
    world, tiles = forests(neighbors, system, chance=chance)
    share = {0: 0.2, 4: 0.6, 8: 1.0}[neighbors]
    probability = chance * share
    wait = torch.zeros(len(tiles), dtype=torch.int64)
    for time in range(1, 1000):
        world.tick.fill_(time)
        system.postpone(world)
        regrowth(world)
        back = world.material.view(-1)[tiles] == int(Material.FOREST)
        wait[back & (wait == 0)] = time
        if back.all():
            break
    assert (wait > 0).all() and len(wait) > 1000 and (world.regrow_at == NEVER).all()
    deviation = math.sqrt((1 - probability) / probability**2 / len(wait))
    assert abs(float(wait.double().mean()) - 1 / probability) < 4 * deviation
    edges = [0]
    for k in range(1, 10):
        edge = math.ceil(math.log1p(-k / 10) / math.log1p(-probability))
        edges += [edge] if edge > edges[-1] else []
    counts = torch.tensor(
        [
            int(((wait > low) & (wait <= high)).sum())
            for low, high in zip(edges, [*edges[1:], 1 << 30], strict=True)
        ]
    )
    beyond = [(1 - probability) ** edge for edge in edges] + [0.0]
    expected = torch.tensor([a - b for a, b in itertools.pairwise(beyond)]) * len(wait)
    statistic, limit = chi_square(counts, expected.double())
    assert statistic < limit
    postponed = int(world.systems["dense_regrowth"]["counts"].sum())
    # A geometric number of tries at every tile: share of them succeed.
    tries = len(wait) / share
    assert abs(postponed - (tries - len(wait))) <= 4 * math.sqrt(len(wait) * (1 - share)) / share
    assert (postponed == 0) == (neighbors == 8)


def test_only_forest_is_postponed():
    """Other tiles, and those that are not due, keep their tick."""
    system = DenseRegrowth(lowest=0.01)
    world, tiles = forests(0, system, realms=1)
    world.base.view(-1)[tiles[::2]] = int(Material.ORE_ROCK)
    world.regrow_at.view(-1)[tiles] = 5
    world.regrow_at.view(-1)[tiles[-1]] = 6
    world.tick.fill_(5)
    system.postpone(world)
    due = world.regrow_at.view(-1)[tiles]
    assert (due[::2] == 5).all() and due[-1] == 6
    assert (due[1:-1:2] > 5).float().mean() > 0.9


# ---------------------------------------------------------------------------------------------- death fog


@pytest.mark.parametrize("now", [0, 1, 300, 499, 500, 700, 999, 1000, 5 * 1000 + 321])
def test_the_fog_harms_the_agents_in_it_and_no_others(now):
    """The clear square is widest at the beginning of a period, and has the least radius in its middle."""
    system = DeathFog(period=1000, radius=3, damage=6, grace=10)
    config = preset("full", **ODD, slots=40, populations=4, npc_numbers=(3, 3, 3), systems=(system,))
    world = random_world(config, 3, now)
    world.tick.fill_(now)
    world.age.copy_(torch.randint(1, 25, world.age.shape, generator=torch.Generator().manual_seed(now)))
    before = world.clone()
    system.choke(world)
    time = now % 1000
    shrinking = time / 500 if time < 500 else (1000 - time) / 500
    clear = 3 + math.floor((1 - shrinking) * (47 // 2 - 3) + 1e-9)
    harmed, killed = [0, 0, 0], [0, 0, 0]
    for realm in range(3):
        for slot in range(config.entities):
            health = int(before.health[realm, slot])
            dy = abs(int(before.row[realm, slot]) - 33 // 2)
            dx = abs(int(before.col[realm, slot]) - 47 // 2)
            living = slot < 40 and bool(before.alive[realm, slot])
            if living:
                assert system.distance(before)[realm, slot] == clear - max(dy, dx)
            hit = living and max(dy, dx) >= clear and int(before.age[realm, slot]) > 10
            left = max(0, health - 6) if hit else health
            assert world.health[realm, slot] == left
            assert world.cause[realm, slot] == (Cause.OTHER if hit and left == 0 else 0)
            harmed[realm] += hit
            killed[realm] += hit and left == 0
    assert world.systems["death_fog"]["counts"].T.tolist() == [harmed, killed]
    assert clear > 13 or sum(harmed) > sum(killed) > 0
    world.health.copy_(before.health)
    world.cause.copy_(before.cause)
    world.systems["death_fog"]["counts"].zero_()
    assert_same(world, before)


def test_agents_see_how_far_the_fog_is():
    env = make("chaos", **TINY, systems=(DeathFog(period=40, radius=2, damage=1, grace=0),))
    env.reset()
    signs = set()
    for _ in range(20):
        observation, *_ = env.step(random_actions(env))
        turn = abs(2 * (int(env.world.tick) % 40) - 40)
        clear = 2 + turn * (20 - 2) // 40
        for realm, slot in observation["alive"].nonzero().tolist():
            row, col = int(env.world.row[realm, slot]), int(env.world.col[realm, slot])
            distance = clear - max(abs(row - 20), abs(col - 20))
            assert observation["death_fog.distance"][realm, slot] == distance
            signs.add(distance > 0)
    assert signs == {True, False}
    assert env.world.deaths[:, Cause.OTHER].any()


# --------------------------------------------------------------------------------------------------- flag


def flag_world(picture, **settings):
    """Returns a drawn world whose flag is east of agent 0."""
    world = draw_world(picture, systems=(Flag(),), **settings)
    own = world.systems["flag"]
    assert own["place"].tolist() == [[world.config.border, 47 // 2]] and own["carrier"].tolist() == [-1]
    own["place"].copy_(torch.tensor([[int(world.row[0, 0]), int(world.col[0, 0]) + 1]]))
    return world


def played(world, move=None, drops=(), **more):
    """Plays a tick; returns (place in the picture, carrier, score)."""
    flag = torch.zeros(1, world.config.slots, dtype=torch.int64)
    flag[0, list(drops)] = 1
    tick.step(world, TORCH, *orders(world, move, **more), others={"flag": flag})
    own, at = world.systems["flag"], corner(world.config)
    row, col = own["place"][0].tolist()
    return (row - at, col - at), int(own["carrier"]), own["score"][0].tolist()


def test_a_flag_is_taken_carried_and_dropped():
    world = flag_world("0....1", slots=6, populations=3)
    assert played(world) == ((0, 1), -1, [0, 0, 0])
    assert played(world, {0: "east"}) == ((0, 1), 0, [1, 0, 0]), "taken on its tile, which scores at once"
    assert played(world, {0: "east", 1: "west"}) == ((0, 2), 0, [2, 0, 0]), "carried"
    assert played(world) == ((0, 2), 0, [3, 0, 0]), "kept"
    reward = world.config.systems[0].reward(world, None)
    assert reward.tolist() == [[1.0, 0, 0, 0, 0, 0]]
    mask = world.config.systems[0].masks(world)["flag"]
    assert mask[0, :, 1].tolist() == [True] + [False] * 5
    assert played(world, {0: "west"}, drops=[0]) == ((0, 2), -1, [3, 0, 0]), "dropped where it was"
    assert played(world, {1: "west"}, drops=[1]) == ((0, 2), -1, [3, 0, 0])
    assert where(world, 1) == (0, 3)
    assert played(world, {0: "west", 1: "west"}) == ((0, 2), 1, [4, 0, 0]), "slot 1 is of the same population"
    assert played(world, {1: "west"}) == ((0, 1), 1, [5, 0, 0])
    assert world.systems["flag"]["counts"].tolist() == [[2]]


def test_a_flag_returns_when_its_carrier_dies():
    """Of combat, which comes first in a tick, and of hunger, which comes last."""
    world = flag_world("0.1", slots=3, populations=3)
    home = world.config.border - corner(world.config), 47 // 2 - corner(world.config)
    assert played(world, {0: "east"})[1] == 0
    world.health[0, 0] = 1
    assert played(world, {0: "west"}, attack={1: ("melee", 0)}) == (home, -1, [1, 0, 0])
    assert not world.alive[0, 0]
    world.systems["flag"]["place"].copy_(torch.tensor([[int(world.row[0, 1]), int(world.col[0, 1]) - 1]]))
    assert played(world, {1: "west"}) == ((0, 1), 1, [1, 1, 0])
    world.health[0, 1], world.food[0, 1], world.water[0, 1] = 1, 0, 0
    assert played(world, {1: "west"})[1:] == (1, [1, 2, 0]), "it dies at the end of the tick"
    assert not world.alive[0, 1]
    assert played(world) == (home, -1, [1, 2, 0])


def test_flags_of_random_worlds_follow_the_rules():
    """A plain loop over agents computes place, carrier and score from the positions after each tick."""
    env = make("chaos", **{**TINY, "immune_ticks": 3}, systems=(Flag(reward_carry=0.25),))
    env.reset()
    own = env.world.systems["flag"]
    random = torch.Generator().manual_seed(4)
    home = env.config.world.border, 20
    state = [[home, -1, [0, 0, 0], 0] for _ in range(2)]
    fates = {"taken": 0, "dropped": 0, "died": 0}
    for time in range(150):
        if time % 4 == 0:
            for realm in range(2):  # puts a free flag beside an agent, where it is likely to be found
                living = env.world.alive[realm].nonzero().view(-1)
                slot = int(living[torch.randint(len(living), (1,), generator=random)])
                if state[realm][1] < 0:
                    place = int(env.world.row[realm, slot]), min(39, int(env.world.col[realm, slot]) + 1)
                    state[realm][0] = place
                    own["place"][realm] = torch.tensor(place)
        acting = env.world.alive.clone()
        actions = random_actions(env)
        keep = torch.rand(actions.shape[:2], generator=random) < 0.8
        actions[..., -1] = torch.where(keep, 0, actions[..., -1])
        observation, reward, died, _, info = env.step(actions)
        for realm in range(2):
            place, carrier, score, taken = state[realm]
            able = [
                slot for slot in range(24)
                if acting[realm, slot] and info["cause"][realm, slot] != Cause.COMBAT
            ]  # fmt: skip
            at = {slot: (int(env.world.row[realm, slot]), int(env.world.col[realm, slot])) for slot in able}
            if carrier >= 0:
                if carrier in able and actions[realm, carrier, -1] == 0:
                    place = at[carrier]
                else:
                    place = place if carrier in able else home
                    fates["dropped" if carrier in able else "died"] += 1
                    carrier = -1
            if carrier < 0:
                for slot in able:
                    if at[slot] == place and actions[realm, slot, -1] == 0:
                        carrier, taken = slot, taken + 1
                        fates["taken"] += 1
            if carrier >= 0:
                score[carrier // 8] += 1
            state[realm] = [place, carrier, score, taken]
            assert tuple(own["place"][realm].tolist()) == place
            assert own["carrier"][realm] == carrier and own["score"][realm].tolist() == score
            assert own["counts"][realm].tolist() == [taken]
            for slot in range(24):
                carries = slot == carrier
                lived = bool(acting[realm, slot]) and not died[realm, slot]
                assert reward[realm, slot] == lived + 0.25 * carries
                if observation["alive"][realm, slot]:
                    here = int(env.world.row[realm, slot]), int(env.world.col[realm, slot])
                    assert observation["flag.offset"][realm, slot].tolist() == [
                        place[0] - here[0], place[1] - here[1],
                    ]  # fmt: skip
                    assert observation["flag.carrying"][realm, slot] == carries
                    assert observation["flag_mask"][realm, slot].tolist() == [True, carries]
    assert all(count > 3 for count in fates.values()), fates


# ---------------------------------------------------------------------------------------------- trade tax


def exchange(world, trade, price):
    """Runs the exchange between the phases of the tax, as a tick does."""
    system = world.config.systems[0]
    system.open(world)
    TORCH.exchange(world, trade, price)
    system.tax(world)


def test_a_seller_pays_a_share_that_all_living_agents_receive():
    world = market(slots=5, realms=2, content=FEW, systems=(TradeTax(percent=30),))
    world.alive[:, 3] = False
    world.inventory[:, 0, 0] = 1
    exchange(world, *trades(world, a0=("sell", "ore", 9), a1=("buy", "ore", 9)))
    # 30 % of 9 is 2, of which the first two of four living agents get 1 each.
    assert world.gold.tolist() == [[100 + 9 - 2 + 1, 100 - 9 + 1, 100, 100, 100]] * 2
    assert world.systems["trade_tax"]["counts"].tolist() == [[2]] * 2


def test_gold_that_a_bid_gives_back_is_no_revenue():
    """The seller of the second exchange had a bid, which its ask replaces."""
    world = market(slots=2, realms=1, content=FEW, systems=(TradeTax(percent=100),))
    world.inventory[:, 0, 0] = 1
    exchange(world, *trades(world, a0=("buy", "gem", 9)))
    assert world.gold.tolist() == [[91, 100]]
    exchange(world, *trades(world, a0=("sell", "ore", 5), a1=("buy", "ore", 5)))
    assert world.systems["trade_tax"]["counts"].tolist() == [[5]]
    assert world.gold.tolist() == [[100 + 5 - 5 + 3, 100 - 5 + 2]]


@pytest.mark.parametrize("percent", [0, 35, 100])
def test_taxes_of_busy_markets_match_a_plain_auction(percent):
    """Gold is neither created nor lost, and nothing else of the world differs."""
    sellers = 0
    for seed in range(4):
        world, trade, price = bustling(seed, slots=21, systems=(TradeTax(percent=percent),))
        goods, sales = holdings(world), []
        expected = auction(world, trade, price, sales)
        exchange(world, trade, price)
        assert torch.equal(holdings(world), goods)
        for realm in range(world.realms):
            due = 0
            for where_, slot, gold in sales:
                if where_ == realm:
                    expected.gold[realm, slot] -= gold * percent // 100
                    due += gold * percent // 100
            living = [slot for slot in range(world.config.slots) if world.alive[realm, slot]]
            for place, slot in enumerate(living):
                expected.gold[realm, slot] += due // len(living) + (place < due % len(living))
            assert world.systems["trade_tax"]["counts"][realm, 0] == due
        sellers += len(sales)
        for name, tensor in world.tensors():
            assert name.startswith("trade_tax.") or torch.equal(tensor, expected.tensor(name)), name
    assert sellers > 10


def test_the_tax_needs_an_exchange():
    with pytest.raises(ConfigError, match="percent = 10 needs the exchange"):
        make("chaos", **TINY, systems=(TradeTax(),))
