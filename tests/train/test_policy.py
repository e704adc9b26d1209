"""The policy network: its outputs, the separation of populations and agents, and its masks."""

from __future__ import annotations

import pytest
import torch
from train.small import KINDS, lively_env, randomize_biases, shout, small

from nmmo_gpu.content import Material
from nmmo_gpu.errors import UsageError
from nmmo_gpu.train.output import MASKED, auto_target
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.sampling import head_distributions
from nmmo_gpu.world.actions import row_of
from nmmo_gpu.world.network_inputs import CODES, FIRST_OCCUPANT
from nmmo_gpu.world.observation_layout import FRIEND, STRANGER, STYLES

POPULATIONS, BATCH, HIDDEN = 3, 7, 12


@pytest.fixture(scope="module")
def env():
    """Returns an environment with three crowded populations."""
    return lively_env()


@pytest.fixture(scope="module")
def records(env):
    """Returns the records [rows, bytes] of living agents; rows are a multiple of the populations."""
    seen = env.records[env.world.alive]
    return seen[: len(seen) // POPULATIONS * POPULATIONS]


def new_policy(recurrent=False, targeting="auto", seed=1, **settings):
    """Returns a policy for the crowd with scaled-up heads."""
    crowd = {"slots": 60, "populations": POPULATIONS, "nearest": 7, "hidden": HIDDEN, **settings}
    config = small(recurrent=recurrent, targeting=targeting, **crowd)
    policy = Policy(config.env.world, config.policy, torch.Generator().manual_seed(seed))
    shout(policy)
    return policy


def batch(rows, seed=2):
    """Returns an index [P, B] with repeated rows, and a recurrent state for it."""
    random = torch.Generator().manual_seed(seed)
    index = torch.randint(rows, (POPULATIONS, BATCH), generator=random)
    index[:, -1] = index[:, 0]
    return index, torch.randn(POPULATIONS, BATCH, HIDDEN, generator=random).tanh()


def look(policy, records, index, state):
    """Computes the output without gradient; a policy that is not recurrent gets no state."""
    with torch.no_grad():
        return policy(records, index, state if policy.config.recurrent else None)


def parts(output):
    """Returns the (name, tensor) pairs of an output."""
    return [(name, part) for name, part in output._asdict().items() if isinstance(part, torch.Tensor)]


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_shapes(records, recurrent, targeting):
    """For an odd batch, heads, masks, value and recurrent state have the documented shapes and are finite."""
    policy = new_policy(recurrent, targeting)
    output = look(policy, records, *batch(len(records)))
    targets = 2 if targeting == "auto" else 8
    shapes = {
        "move": (5,), "style": (3,), "target": (targets,), "target_mask": (3, targets), "value": (),
        "state": (HIDDEN,),
    }  # fmt: skip
    for name, part in parts(output):
        assert part.shape == (POPULATIONS, BATCH, *shapes[name]), name
        assert part.isfinite().all(), name
    assert (output.state is not None) == recurrent
    assert output.target_mask.dtype == torch.bool
    memory = policy.initial_state(11, torch.device("cpu"))
    assert torch.equal(memory, torch.zeros(11, HIDDEN)) if recurrent else memory is None


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_populations_do_not_share_weights(records, recurrent, targeting):
    """All weights of the middle population change: its outputs change, and no bit of the others' does."""
    policy = new_policy(recurrent, targeting)
    index, state = batch(len(records))
    before = look(policy, records, index, state)
    with torch.no_grad():
        for parameter in policy.parameters():
            assert parameter.shape[0] == POPULATIONS
            parameter[1] += 0.3
    after = look(policy, records, index, state)
    for name, part in parts(after):
        was = getattr(before, name)
        assert torch.equal(part[[0, 2]], was[[0, 2]]), name
        if name != "target_mask":
            assert not torch.equal(part[1], was[1]), name


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_populations_do_not_share_observations(records, recurrent, targeting):
    """The middle population gets other observations: the others' outputs are identical."""
    policy = new_policy(recurrent, targeting)
    index, state = batch(len(records))
    before = look(policy, records, index, state)
    others, other_state = batch(len(records), seed=3)
    index[1], state[1] = others[1], other_state[1]
    after = look(policy, records, index, state)
    for name, part in parts(after):
        assert torch.equal(part[[0, 2]], getattr(before, name)[[0, 2]]), name
    assert not torch.equal(after.value[1], before.value[1])


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_gradients_stay_in_their_population(records, recurrent, targeting):
    """Outputs of the first population have no gradient in the others' weights, and a gradient in all of its
    own."""
    policy = new_policy(recurrent, targeting)
    index, state = batch(len(records))
    output = policy(records, index, state if recurrent else None)
    spoken = torch.cat([part[0].flatten() for part in output[:3]])
    # The sums of the logits alone do not depend on every weight.
    (spoken.clamp(min=-100).square().sum() + output.value[0].square().sum()).backward()
    for name, parameter in policy.named_parameters():
        assert not parameter.grad[1:].any(), name
        assert parameter.grad[0].any(), name


def by_hand(policy, views, p, state):
    """Computes (move, style, target, value, state) of one agent of population p with vectors in float64,
    unmasked."""

    with torch.no_grad():
        weights = policy.weights()

    def weight(name):
        return getattr(weights, name)[p].double()

    def layer(number, given):
        matrix, bias = weights.trunk[number][p].double(), weights.trunk_bias[number][p, 0].double()
        return (given @ matrix + bias).clamp(min=0)

    material, occupant = views["material"].flatten().tolist(), views["occupant"].flatten().tolist()
    seen = torch.zeros(HIDDEN, dtype=torch.float64)
    for cell, (ground, other) in enumerate(zip(material, occupant, strict=True)):
        code = torch.zeros(CODES, dtype=torch.float64)
        if ground != Material.GRASS:
            code[ground] = 1
        if other:
            code[FIRST_OCCUPANT + other] = 1
        seen += code @ weight("window")[cell]
    factor, center = policy.self_scale.double()
    own = ((views["self"].double() - center) * factor).clamp(max=1.0)
    rows = []
    for kind, entity in zip(views["entity_kind"].tolist(), views["entities"].double(), strict=True):
        rows.append([*(entity * policy.entity_scale.double()).tolist(), kind == FRIEND, kind == STRANGER])
    entities = torch.tensor(rows, dtype=torch.float64)
    trunk = seen + own @ weight("self_in") + entities.flatten() @ weight("entities")
    trunk = (trunk + weight("input_bias")[0]).clamp(min=0)
    hidden = layer(0, trunk)
    for number in range(1, policy.config.layers):
        hidden = hidden + layer(number, hidden)
    if policy.config.recurrent:
        cell = torch.nn.GRUCell(HIDDEN, HIDDEN, dtype=torch.float64)
        with torch.no_grad():
            cell.weight_ih.copy_(weight("gru_input").T)
            cell.weight_hh.copy_(weight("gru_hidden").T)
            cell.bias_ih.copy_(weight("gru_bias")[0])
            cell.bias_hh.zero_()
            hidden = cell(hidden[None], state.double()[None])[0]
    heads = hidden @ weight("action_heads") + weight("action_heads_bias")[0]
    move, style, target, value = heads[:5], heads[5:8], heads[8:-1], heads[-1]
    if policy.config.targeting == "learned":
        target = torch.cat((target, entities @ (hidden @ weight("query"))))
    return move, style, target, value, hidden


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_the_network_matches_plain_code(env, records, recurrent, targeting, layers):
    """Each agent's outputs equal those of one-hot codes, plain products and torch's GRU cell. Layers after
    the first add to their input."""
    policy = new_policy(recurrent, targeting, layers=layers)
    assert policy.trunk.shape[1] == policy.trunk_bias.shape[1] == layers
    randomize_biases(policy)
    index, state = batch(len(records))
    output = look(policy, records, index, state)
    views = env.layout.views(records)
    for p in range(POPULATIONS):
        for b in range(BATCH):
            agent = {name: view[index[p, b]] for name, view in views.items()}
            move, style, target, value, hidden = by_hand(policy, agent, p, state[p, b])
            pairs = [
                (output.move[p, b], move.masked_fill(~agent["move_mask"], MASKED)),
                (output.target[p, b], target),
                (output.value[p, b], value),
            ]
            allowed = output.style[p, b] != MASKED
            pairs.append((output.style[p, b][allowed], style[allowed]))
            if recurrent:
                pairs.append((output.state[p, b], hidden))
            for found, expected in pairs:
                torch.testing.assert_close(found.double(), expected.double(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_impossible_moves_have_probability_0(env, records, targeting):
    """Exactly 0, however large the logits are; possible moves keep a positive probability."""
    policy = new_policy(targeting=targeting)
    index = torch.arange(len(records)).view(POPULATIONS, -1)
    possible = env.layout.views(records)["move_mask"][index]
    for wish in (0.0, 60.0):
        with torch.no_grad():
            policy.directional_head_bias.fill_(wish)
        chance = look(policy, records, index, None).move.softmax(-1)
        assert not chance[~possible].any()
        if wish == 0.0:
            assert (chance[possible] > 0).all()
        torch.testing.assert_close(chance.sum(-1), torch.ones(index.shape))
    assert (~possible).sum() > 20, "too few impossible moves to test"


def strangers_in_reach(views, row, style):
    """Returns the rows of one agent's table (counted from 1) that hold strangers within the style's reach."""
    mask, kind = views["target_mask"][row, style, 1:], views["entity_kind"][row]
    return [k + 1 for k in range(len(kind)) if mask[k] and kind[k] == STRANGER]


def test_auto_targeting_allows_attacks_with_a_target_only(env, records):
    """Range and mage, and attacking at all, need a stranger in reach; melee and not attacking are always
    allowed."""
    policy = new_policy()
    index = torch.arange(len(records)).view(POPULATIONS, -1)
    output = look(policy, records, index, None)
    views = env.layout.views(records)
    both = set()
    for p, b in [(p, b) for p in range(POPULATIONS) for b in range(index.shape[1])]:
        row = int(index[p, b])
        for style in range(len(STYLES)):
            there = bool(strangers_in_reach(views, row, style))
            assert (output.style[p, b, style] > MASKED) == (style == 0 or there)
            assert output.target_mask[p, b, style].tolist() == [True, there]
            both.add((style, there))
    assert len(both) == 6


def test_the_auto_target_is_the_nearest_stranger_in_reach(env, records):
    """By positions in the world: of the strangers within the style's reach, it is one at the minimum
    distance; it is 0 if there is none."""
    world = env.world
    reach = world.config.reach
    found = {False: 0, True: 0}
    views = env.layout.views(env.records)
    for style in range(len(STYLES)):
        chosen = auto_target(views, torch.full(world.alive.shape, style))
        assert chosen.shape == world.alive.shape
        for realm, slot in world.alive.nonzero().tolist():
            row, col = int(world.row[realm, slot]), int(world.col[realm, slot])
            others = [
                max(abs(int(world.row[realm, other]) - row), abs(int(world.col[realm, other]) - col))
                for other in world.alive[realm].nonzero().view(-1).tolist()
                if other // 20 != slot // 20
            ]
            near = min((d for d in others if d <= reach[style]), default=None)
            target = int(chosen[realm, slot])
            # Friends can fill the table, so that a stranger in reach is not in it and cannot be chosen.
            if near is not None and target == 0:
                assert (views["entity_kind"][realm, slot] == FRIEND).sum() == 7
                continue
            found[near is not None] += 1
            if near is None:
                assert target == 0
            else:
                offset = views["entities"][realm, slot, target - 1, :2].abs().max()
                assert views["entity_kind"][realm, slot, target - 1] == STRANGER and offset == near
    assert min(found.values()) > 20


def test_the_auto_target_on_random_tables(env):
    """It is the first row that is a stranger within the given style's reach."""
    random = torch.Generator().manual_seed(4)
    records = env.layout.allocate(5, 41, device="cpu")
    views = env.layout.views(records)
    views["entity_kind"].copy_(torch.randint(3, views["entity_kind"].shape, generator=random))
    views["target_mask"].copy_(torch.rand(views["target_mask"].shape, generator=random) < 0.3)
    style = torch.randint(3, (5, 41), generator=random)
    chosen = auto_target(views, style)
    flat = {name: view.flatten(0, 1) for name, view in views.items()}
    expected = [(strangers_in_reach(flat, row, int(style.view(-1)[row])) or [0])[0] for row in range(5 * 41)]
    assert chosen.view(-1).tolist() == expected
    assert {0, 1, 2} <= set(expected)


def test_learned_targeting_chooses_among_rows_in_reach(env, records):
    """The mask is the observation's. Under each style, rows out of reach have probability 0, no target always
    has a positive one, and a row's logit depends on that row only."""
    policy = new_policy(targeting="learned")
    index = torch.arange(len(records)).view(POPULATIONS, -1)
    output = look(policy, records, index, None)
    views = env.layout.views(records)
    assert torch.equal(output.target_mask, views["target_mask"][index])
    shown = set()
    for style in range(len(STYLES)):
        chosen_style = torch.full(index.shape, style)
        chance = head_distributions(output, chosen_style)[2].exp()
        mask = row_of(output.target_mask, chosen_style)
        assert not chance[~mask].any()
        assert (chance[mask] > 0).all() and mask[..., 0].all()
        shown |= set(mask.sum(-1).view(-1).tolist())
    assert len(shown) > 3, "too few numbers of targets in reach"
    # Swapping two rows of the table swaps their logits and leaves those of other rows.
    swapped = records.clone()
    entities = env.layout.views(swapped)["entities"]
    entities[:, [0, 1]] = entities[:, [1, 0]]
    kinds = env.layout.views(swapped)["entity_kind"]
    kinds[:, [0, 1]] = kinds[:, [1, 0]]
    with torch.no_grad():
        policy.entities.zero_()
    before, after = (look(policy, seen, index, None).target for seen in (records, swapped))
    torch.testing.assert_close(after[..., [2, 1]], before[..., [1, 2]])
    torch.testing.assert_close(after[..., 3:], before[..., 3:])
    assert not torch.equal(before[..., 1], before[..., 2])


@pytest.mark.parametrize("targeting", ["auto", "learned"])
def test_recurrent_states_do_not_mix(records, targeting):
    """One agent's state changes: its output changes, and no bit of any other agent's output does."""
    policy = new_policy(True, targeting)
    index, state = batch(len(records))
    before = look(policy, records, index, state)
    state[1, 4] = -state[1, 4]
    after = look(policy, records, index, state)
    others = torch.ones(POPULATIONS, BATCH, dtype=torch.bool)
    others[1, 4] = False
    for name, part in parts(after):
        assert torch.equal(part[others], getattr(before, name)[others]), name
    for name in ("value", "state", "style"):
        assert not torch.equal(getattr(after, name)[1, 4], getattr(before, name)[1, 4]), name


def test_a_recurrent_policy_needs_its_state(records):
    """A missing state is an error."""
    index, _ = batch(len(records))
    with pytest.raises(UsageError, match="state is missing: pass initial_state"):
        new_policy(recurrent=True)(records, index)


def test_high_ages_are_clipped(env, records):
    """Age grows without bound; above some age the network's output no longer depends on it."""
    policy = new_policy()
    seen = [records.clone(), records.clone()]
    for copy, age in zip(seen, (2000, 32000), strict=True):
        env.layout.views(copy)["self"][:, 0] = age
    index, _ = batch(len(records))
    one, other = (look(policy, copy, index, None) for copy in seen)
    assert torch.equal(one.value, other.value) and torch.equal(one.move, other.move)


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_bf16_outputs_are_close_to_fp32(records, recurrent, targeting):
    """Heads, value and recurrent state are float32. They differ from those of fp32, by no more than 8 bits of
    mantissa explain; masks are equal."""
    index, state = batch(len(records))
    policies = [new_policy(recurrent, targeting, layers=2, precision=kind) for kind in ("fp32", "bf16")]
    exact, rough = (look(policy, records, index, state) for policy in policies)
    assert torch.equal(exact.target_mask, rough.target_mask)
    names = (
        ("move", "style", "target", "value", "state") if recurrent else ("move", "style", "target", "value")
    )
    for name in names:
        one, other = getattr(exact, name), getattr(rough, name)
        assert one.dtype == other.dtype == torch.float32, name
        masked = one == MASKED
        assert torch.equal(masked, other == MASKED), name
        off = (one - other)[~masked].abs()
        assert 0 < float(off.max()) < 0.05 * float(one[~masked].abs().max()), name


@pytest.mark.parametrize(("recurrent", "targeting"), KINDS)
def test_with_bf16_weights_and_gradients_stay_float32(records, recurrent, targeting):
    """The optimizer accumulates unrounded numbers, and every weight's gradient points in the direction of
    fp32's."""
    index, state = batch(len(records))
    slopes = []
    for kind in ("fp32", "bf16"):
        policy = new_policy(recurrent, targeting, layers=2, precision=kind)
        output = policy(records, index, state if recurrent else None)
        wishes = [part.clamp(min=-100).square().sum() for part in output[:3]]
        (sum(wishes) + output.value.square().sum()).backward()
        for name, parameter in policy.named_parameters():
            assert parameter.dtype == parameter.grad.dtype == torch.float32, name
        slopes.append({name: parameter.grad.flatten() for name, parameter in policy.named_parameters()})
    for name, exact in slopes[0].items():
        assert not torch.equal(exact, slopes[1][name]), name
        assert torch.cosine_similarity(exact, slopes[1][name], dim=0) > 0.98, name


def test_weights_do_not_depend_on_precision():
    """The same seed gives the same weights for both precisions, so a checkpoint fits either."""
    exact, rough = (new_policy(True, "learned", precision=kind).state_dict() for kind in ("fp32", "bf16"))
    assert exact.keys() == rough.keys()
    assert all(torch.equal(weight, rough[name]) for name, weight in exact.items())


def test_weights_are_drawn_from_the_generator():
    """Equal seeds give equal weights, other seeds give others, and populations differ from each other."""
    one, same, other = (
        new_policy(True, "learned"),
        new_policy(True, "learned"),
        new_policy(True, "learned", 9),
    )
    for (name, a), b, c in zip(one.named_parameters(), same.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
        if not name.endswith("bias"):
            assert not torch.equal(a, c) and not torch.equal(a[0], a[1]), name
