"""Sampling and evaluation of actions by the kernels, compared with torch and its gradients."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from support.helpers import GARBAGE, KERNEL_DEVICE, chi_square
from train.small import CPU, lively_env, shout, small

pytest.importorskip("triton")

from nmmo_gpu.kernels.train import evaluation, heads
from nmmo_gpu.kernels.train import sampling as kernels
from nmmo_gpu.train.output import MASKED, mask_logits
from nmmo_gpu.train.policy import Policy
from nmmo_gpu.train.sampling import evaluate, head_distributions, sample
from nmmo_gpu.train.trinity import Sword
from nmmo_gpu.world.actions import row_of
from nmmo_gpu.world.observation_layout import STRANGER
from nmmo_gpu.world.random import Stream, draw, unit
from nmmo_gpu.world.reset import empty_world

POPULATIONS, SLOTS = 3, 60
CROWDS = {
    "auto": ("auto", 20),
    "auto, long table": ("auto", 40),
    "learned": ("learned", 15),
    "learned, long table": ("learned", 33),
}
"""Targeting and number of rows of the entity table, with and without padding of the targets."""


@pytest.fixture(params=[32, None], ids=["small blocks", "one block"])
def block(request, monkeypatch):
    """Sets the number of agents per program to 16, 32 or the default."""
    if request.param is not None:
        monkeypatch.setattr(heads, "AGENTS", request.param)


class Crowd:
    """Observations of 120 slots in a crowd that fights, and a policy for them."""

    def __init__(self, targeting, nearest):
        self.env = lively_env(nearest=nearest, realms=2)
        config = small(slots=SLOTS, populations=POPULATIONS, nearest=nearest, targeting=targeting)
        self.policy = Policy(config.env.world, config.policy, torch.Generator().manual_seed(1))
        self.auto, self.layout, self.world = targeting == "auto", self.env.layout, self.env.world
        self.records = self.env.records.view(2 * SLOTS, -1)
        self.alive = self.world.alive.view(-1)
        rows = torch.arange(2 * SLOTS)
        self.everybody = rows.view(2, POPULATIONS, -1).transpose(0, 1).reshape(POPULATIONS, -1)
        self.targets = 2 if self.auto else nearest + 1
        self.width = 5 + 3 + self.targets + 1
        assert 10 < self.alive.sum() < 110

    def logits(self, index, seed, spread=2.0):
        """Returns [P, B, width] random logits with some outliers."""
        random = torch.Generator().manual_seed(seed)
        logits = torch.randn(*index.shape, self.width, generator=random) * spread
        return torch.where(torch.rand(logits.shape, generator=random) < 0.03, logits * 10, logits)

    def output(self, index, logits):
        """Returns the heads that ``mask_logits`` computes from these logits."""
        views = self.layout.views(self.records[index.reshape(-1)])
        views = {name: view.view(*index.shape, *view.shape[1:]) for name, view in views.items()}
        return mask_logits(logits, views, self.policy.config.targeting)


@pytest.fixture(scope="module", params=CROWDS)
def crowd(request):
    """Returns a crowd for each kind of targeting."""
    return Crowd(*CROWDS[request.param])


def chosen_by_kernels(crowd, index, logits, world=None):
    """Returns ``Chosen`` on the CPU. Records and logits of dead agents are garbage."""
    world, records = world or crowd.world, crowd.records.clone()
    records[~crowd.alive] = GARBAGE
    told = logits.masked_fill(~crowd.alive[index][..., None], torch.nan)
    there = [part.to(KERNEL_DEVICE) for part in (world, records, index, told)]
    return kernels.Chosen(*(part.cpu() for part in kernels.choose(*there, crowd.layout, crowd.auto)))


def draws(world, index, slots=SLOTS):
    """Returns [3, P, B] draws in [0, 1) of each agent's realm and slot."""
    words = draw(world.seed, world.tick, Stream.POLICY, index // slots, index % slots)
    return unit(torch.stack(words[:3]))


def near_a_border(output, choices, uniform):
    """Returns [P, B] bool: a draw is within 1e-5 of a boundary between choices, where rounding may decide."""
    near = torch.zeros(uniform.shape[1:], dtype=torch.bool)
    for head, drawn in zip(head_distributions(output, choices[..., 1]), uniform, strict=True):
        near |= ((head.exp().double().cumsum(-1) - drawn[..., None]).abs() < 1e-5).any(-1)
    return near


def test_npc_slots_are_skipped(crowd, block):
    """Agents make the same choices in a world whose realms have NPCs, some of them alive."""
    index = crowd.everybody
    logits = crowd.logits(index, 3)
    config = dataclasses.replace(crowd.world.config, npcs=True, npc_numbers=(2, 3, 6))
    world = empty_world(config, crowd.world.base, 0)
    for name in ("seed", "tick"):
        getattr(world, name).copy_(getattr(crowd.world, name))
    world.alive[:, :SLOTS], world.alive[:, SLOTS::2] = crowd.world.alive, True
    for theirs, ours in zip(
        chosen_by_kernels(crowd, index, logits, world), chosen_by_kernels(crowd, index, logits), strict=True
    ):
        assert torch.equal(theirs, ours)


def reachable_strangers(crowd, agent, style):
    """Returns the rows of an agent's table (counted from 1) with strangers in reach of the style."""
    views = crowd.layout.views(crowd.records[agent])
    kinds, mask = views["entity_kind"].tolist(), views["target_mask"][style, 1:].tolist()
    return [k + 1 for k in range(len(kinds)) if kinds[k] == STRANGER and mask[k]]


def test_the_choices_of_torch(crowd, block):
    """The same logits and draws give the same choices in every tick, except in the rare cases where rounding
    decides, and the same log-probabilities and values. Dead agents get zeros, whatever their records and
    logits contain."""
    index, compared, left_out = crowd.everybody, 0, 0
    world = crowd.world.clone()
    for seed in range(3):
        world.tick += 1
        logits = crowd.logits(index, seed)
        output, uniform = crowd.output(index, logits), draws(world, index)
        choices, log = sample(output, uniform)
        found = chosen_by_kernels(crowd, index, logits, world)
        assert found.actions.dtype == found.choices.dtype == torch.int16
        assert found.log_probability.dtype == found.value.dtype == torch.float32

        alive = crowd.alive[index]
        unsure = near_a_border(output, choices, uniform)
        left_out += int((unsure & alive).sum())
        sure = alive & ~unsure
        compared += int(sure.sum())
        assert torch.equal(found.choices[index][sure].long(), choices[sure])
        torch.testing.assert_close(found.log_probability[index][sure], log[sure], rtol=0, atol=1e-5)
        assert torch.equal(found.value[index][alive], logits[..., -1][alive])
        for part in found:
            assert not part[~crowd.alive].any(), "the dead choose nothing"

        # Actions: the first two are the choices, and so is the third where it is learned.
        assert torch.equal(found.actions[:, :2], found.choices[:, :2])
        for agent in crowd.alive.nonzero().view(-1).tolist():
            _, style, choice = found.choices[agent].tolist()
            victims = [choice] if not crowd.auto else (reachable_strangers(crowd, agent, style) or [0])
            assert int(found.actions[agent, 2]) == (victims[0] if choice else 0)
            assert not (crowd.auto and choice == 1 and victims == [0])
    assert compared > 150 and left_out < 0.02 * compared


def test_masks_are_respected(crowd):
    """Moves, styles and targets of living agents are allowed in many draws, even if the logits strongly favor
    impossible ones."""
    index, world = crowd.everybody, crowd.world.clone()
    open_to_all = crowd.output(index, torch.zeros(*index.shape, crowd.width))
    wish = torch.zeros(*index.shape, crowd.width)
    wish[..., :5].masked_fill_(open_to_all.move == MASKED, 80.0)
    wish[..., 5:8].masked_fill_(open_to_all.style == MASKED, 80.0)
    never = ~open_to_all.target_mask.any(-2)
    wish[..., 8:-1].masked_fill_(never, 80.0)
    alive, seen = crowd.alive[index], 0
    for _ in range(6):
        world.tick += 7
        found = chosen_by_kernels(crowd, index, wish, world)
        move, style, target = found.choices[index].long().unbind(-1)
        assert (open_to_all.move.gather(-1, move[..., None])[..., 0][alive] == 0).all()
        assert (open_to_all.style.gather(-1, style[..., None])[..., 0][alive] == 0).all()
        allowed = row_of(open_to_all.target_mask, style).gather(-1, target[..., None])[..., 0]
        assert allowed[alive].all()
        seen += int((target[alive] > 0).sum())
    assert (wish > 0).any(-1)[alive].sum() > 20 and seen > 20


def predraw(monkeypatch, words):
    """Makes the kernel draw these words, [3, N] int64 by agent. Only works under the interpreter."""
    from triton.runtime import interpreter

    if KERNEL_DEVICE.type != "cpu":
        pytest.skip("a compiled kernel draws for itself")

    def drawn(world, stream, realm, index):
        tl = kernels.tl
        first, second, third = (interpreter._implicit_cvt(part) for part in words.contiguous())
        at = realm * SLOTS + index
        found = [tl.load(part + at).to(tl.uint32) for part in (first, second, third)]
        return *found, found[0]

    monkeypatch.setattr(kernels, "draw", drawn)


@pytest.mark.parametrize("word", [0, (1 << 32) - 1])
def test_the_smallest_and_the_largest_draw(crowd, monkeypatch, word):
    """Draws of 0 and of 1 - 2^-24 select the first and the last possible choice of each head."""
    predraw(monkeypatch, torch.full((3, 2 * SLOTS), word))
    index = crowd.everybody
    logits = crowd.logits(index, 3, spread=0.5)
    found = chosen_by_kernels(crowd, index, logits)
    uniform = torch.full((3, *index.shape), 0.0 if word == 0 else 1.0 - 2.0**-24)
    expected, _ = sample(crowd.output(index, logits), uniform)
    alive = crowd.alive[index]
    assert torch.equal(found.choices[index][alive].long(), expected[alive])
    assert expected[alive].any() == (word > 0)


def as_a_warp_adds(scan, given):
    """Computes cumulative sums in the order of the threads of a warp (Kogge and Stone 1973), in which
    neighboring sums are rounded differently."""
    total = given.handle.data.copy()
    step = 1
    while step < total.shape[scan.axis]:
        total[:, step:] = total[:, step:] + total[:, :-step]
        step *= 2
    return [scan.to_tensor(total, dtype=given.dtype)]


def test_rounding_never_selects_impossible_choices(crowd, monkeypatch):
    """Moves, styles and targets are possible even for draws at the boundaries of impossible choices, with
    cumulative sums that need not be monotonic."""
    from triton.runtime import interpreter

    monkeypatch.setattr(interpreter.ScanOps, "cumsum", as_a_warp_adds)
    index = crowd.everybody
    alive, tried = crowd.alive[index], 0
    for seed in range(12):
        logits = crowd.logits(index, 100 + seed, spread=0.5)
        output = crowd.output(index, logits)
        moves, styles, _ = head_distributions(output, torch.zeros_like(index))
        words = torch.empty(3, 2 * SLOTS, dtype=torch.int64)
        style = styles.argmax(-1)
        for head, log in enumerate((moves, styles, head_distributions(output, style)[2])):
            # The boundary before an impossible choice, if there is one, plus or minus one unit of a draw.
            chance = log.exp()
            barred = (chance == 0) & (chance.cumsum(-1) < 1 - 1e-6)
            tried += int((barred.any(-1) & alive).sum())
            at = barred.to(torch.uint8).argmax(-1)
            border = chance.cumsum(-1).gather(-1, at[..., None])[..., 0]
            units = (border * (1 << 24)).long() + seed % 3 - 1
            words[head][index] = units.clamp(0, (1 << 24) - 1) << 8
        predraw(monkeypatch, words)
        move, style, target = chosen_by_kernels(crowd, index, logits).choices[index].long().unbind(-1)
        assert (output.move.gather(-1, move[..., None])[..., 0] > MASKED)[alive].all()
        assert (output.style.gather(-1, style[..., None])[..., 0] > MASKED)[alive].all()
        assert row_of(output.target_mask, style).gather(-1, target[..., None])[..., 0][alive].all()
    assert tried > 100


def test_through_a_sword():
    """A Sword with kernels acts like one of plain torch with the same weights: window, network, draws and
    choices together, and the recurrent state of the recurrent one."""
    for recurrent, targeting in ((False, "auto"), (True, "learned")):
        crowd = Crowd(targeting, 7)
        settings = {"slots": SLOTS, "populations": POPULATIONS, "nearest": 7, "births": -1}
        config = small(recurrent=recurrent, targeting=targeting, backend="torch", **settings)
        plain = Sword(config, CPU)
        shout(plain.policy)
        with torch.no_grad():
            device = "cuda" if KERNEL_DEVICE.type == "cuda" else "cpu"
            config = small(
                recurrent=recurrent, targeting=targeting, backend="triton", **{**settings, "device": device}
            )
            sword = Sword(config, KERNEL_DEVICE)
            shout(sword.policy)
        state = None
        if recurrent:
            state = torch.randn(2 * SLOTS, 8, generator=torch.Generator().manual_seed(2)).tanh()
        there = [part if part is None else part.to(KERNEL_DEVICE) for part in (crowd.world, state)]
        ours = plain.decide(crowd.env.records, crowd.world, state)
        theirs = sword.decide(crowd.env.records.to(KERNEL_DEVICE), *there)
        assert sword.training_backend.static_shapes and not plain.training_backend.static_shapes
        same = (theirs.choices.cpu() == ours.choices).all(-1)
        assert int((~same).sum()) <= 1, "more than rounding at a border"
        assert torch.equal(theirs.actions.cpu().view(-1, 3)[same].long(), ours.actions.view(-1, 3)[same])
        for one, other in ((theirs.log_probability, ours.log_probability), (theirs.value, ours.value)):
            torch.testing.assert_close(one.cpu()[same], other[same], rtol=1e-4, atol=1e-4)
        if recurrent:
            torch.testing.assert_close(theirs.state.cpu(), ours.state, rtol=1e-4, atol=1e-4)
            assert not theirs.state.cpu()[~crowd.alive].any()
        assert ours.choices.any() and same.any()


def test_choices_have_the_expected_frequencies():
    """Chi-square test of the three heads jointly, over nine thousand agents with equal records and logits."""
    crowd = Crowd("learned", 7)
    targets = crowd.layout.views(crowd.records)["target_mask"][..., 1:].flatten(1).sum(1)
    agent = int(targets.argmax())
    many, slots = 9000, 3000
    logits = crowd.logits(torch.zeros(1, 1, dtype=torch.int64), 5, spread=0.7)
    logits = logits.expand(3, many // 3, -1)
    index = torch.randperm(many, generator=torch.Generator().manual_seed(3)).view(3, -1)
    world = SimpleNamespace(
        seed=crowd.world.seed.to(KERNEL_DEVICE), tick=crowd.world.tick.to(KERNEL_DEVICE),
        alive=torch.ones(3, slots, dtype=torch.bool, device=KERNEL_DEVICE),
        config=SimpleNamespace(slots=slots, npc_slots=0),
    )  # fmt: skip
    records = crowd.records[agent].expand(many, -1).contiguous().to(KERNEL_DEVICE)
    found = kernels.choose(
        world, records, index.to(KERNEL_DEVICE), logits.to(KERNEL_DEVICE), crowd.layout, False
    )
    code = found.choices.cpu().long() @ torch.tensor([3 * 8, 8, 1])
    counts = code.bincount(minlength=5 * 3 * 8)
    one = torch.tensor([[agent]])
    output = crowd.output(one, logits[:1, :1])
    expected = torch.zeros(5, 3, 8)
    for style in range(3):
        move, styles, target = head_distributions(output, torch.tensor([[style]]))
        expected[:, style] = (move[0, 0, :, None] + styles[0, 0, style] + target[0, 0]).exp()
    expected = expected.view(-1)
    torch.testing.assert_close(expected.sum(), torch.tensor(1.0))
    assert not counts[expected == 0].any()
    common = expected * many >= 5
    assert common.sum() > 12
    rest = torch.tensor([counts[~common].sum()]), (expected[~common].sum() * many)[None]
    enough = rest[1] >= 5
    statistic, bound = chi_square(
        torch.cat((counts[common], rest[0][enough])), torch.cat((expected[common] * many, rest[1][enough]))
    )
    assert statistic < bound


@pytest.fixture(params=["permuted", "some, repeated"])
def rows(request, crowd):
    """Returns [P, B] rows: all agents permuted, or some of them repeated; B is not a multiple of a block
    size."""
    random = torch.Generator().manual_seed(4)
    if request.param == "permuted":
        return torch.randperm(2 * SLOTS, generator=random).view(POPULATIONS, -1)
    return torch.randint(2 * SLOTS, (POPULATIONS, 11), generator=random)


def possible_choices(crowd, seed):
    """Returns [N, 3] int16 choices that the masks allow, zeros for dead agents."""
    index = torch.arange(2 * SLOTS)[None]
    uniform = torch.rand(3, 1, 2 * SLOTS, generator=torch.Generator().manual_seed(seed))
    choices, _ = sample(crowd.output(index, crowd.logits(index, seed, spread=0.5)), uniform)
    return choices[0].masked_fill(~crowd.alive[:, None], 0).to(torch.int16)


def test_evaluation_and_its_gradients(crowd, rows, block):
    """Log-probability and entropy of living agents equal those of torch, and so do the gradients of both,
    together and separately. Impossible choices and the value get no gradient. Results of dead agents are
    finite, and unused outputs have no gradient."""
    choices = possible_choices(crowd, 8)
    logits = crowd.logits(rows, 9)
    random = torch.Generator().manual_seed(10)
    alive = crowd.alive[rows]
    weights = torch.randn(2, *rows.shape, generator=random) * alive
    for by_log, by_entropy in ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0)):
        ours = logits.clone().requires_grad_()
        log, entropy = evaluate(crowd.output(rows, ours), choices[rows].long())
        (by_log * weights[0] * log + by_entropy * weights[1] * entropy).sum().backward()

        theirs = logits.to(KERNEL_DEVICE).clone().requires_grad_()
        given = (crowd.records, rows)
        found_log, found_entropy = evaluation.evaluate(
            *(part.to(KERNEL_DEVICE) for part in given), theirs, choices.to(KERNEL_DEVICE), crowd.layout,
            crowd.auto,
        )  # fmt: skip
        parts = [
            by * weight.to(KERNEL_DEVICE) * value
            for by, weight, value in zip(
                (by_log, by_entropy), weights, (found_log, found_entropy), strict=True
            )
            if by
        ]
        sum(parts).sum().backward()
        for theirs_said, ours_said in ((found_log, log), (found_entropy, entropy)):
            said = theirs_said.detach().cpu()
            torch.testing.assert_close(said[alive], ours_said.detach()[alive], rtol=1e-5, atol=1e-5)
            assert said.isfinite().all()
        found = theirs.grad.cpu()
        torch.testing.assert_close(found, ours.grad, rtol=1e-4, atol=1e-5)
        assert not found[~alive].any() and not alive.all()
        assert not found[..., -1].any() and found[..., :-1].any()
        impossible = crowd.output(rows, logits).move == MASKED
        assert impossible.any() and not found[..., :5][impossible].any()
    assert choices.any(0).all() and float(entropy.detach().max()) > 0.5


def test_gradients_by_finite_differences(crowd):
    """Small changes of a logit change log-probability and entropy as the gradients predict."""
    rows = crowd.alive.nonzero().view(-1)[:9].view(POPULATIONS, 3)
    choices = possible_choices(crowd, 11).to(KERNEL_DEVICE)
    start = crowd.logits(rows, 12, spread=1.0).clamp(-3, 3)
    random = torch.Generator().manual_seed(13)
    weights = torch.randn(2, *rows.shape, generator=random).to(KERNEL_DEVICE)
    records, index = crowd.records.to(KERNEL_DEVICE), rows.to(KERNEL_DEVICE)

    leaf = start.clone().to(KERNEL_DEVICE).requires_grad_()
    log, entropy = evaluation.evaluate(records, index, leaf, choices, crowd.layout, crowd.auto)
    (weights[0] * log + weights[1] * entropy).sum().backward()

    # Every entry up and down, all in one call.
    step, entries = 1e-2, torch.randperm(start.numel(), generator=random)[:60]
    moved = start.repeat(2, len(entries), 1, 1, 1)
    moved.view(2, len(entries), -1)[:, range(len(entries)), entries] += torch.tensor([[step], [-step]])
    everywhere = index.expand(moved.shape[:-1]).reshape(1, -1)
    logits = moved.view(1, -1, crowd.width).to(KERNEL_DEVICE)
    found = evaluation.evaluate(records, everywhere, logits, choices, crowd.layout, crowd.auto)
    ends = sum(w * part.view(moved.shape[:-1]) for w, part in zip(weights, found, strict=True))
    up, down = ends.double().sum((-1, -2)).cpu()
    slopes = (up - down) / (2 * step)
    torch.testing.assert_close(slopes.float(), leaf.grad.cpu().view(-1)[entries], rtol=0, atol=2e-3)
    assert (slopes.abs() > 1e-2).sum() > 8


def test_sampling_and_evaluation_agree(crowd):
    """``choose`` and ``evaluate`` return the same log-probability. Results are finite for dead agents, whose
    records and choices are zeros."""
    index = crowd.everybody
    logits = crowd.logits(index, 14).to(KERNEL_DEVICE)
    world, records, rows = (part.to(KERNEL_DEVICE) for part in (crowd.world, crowd.records, index))
    chosen = kernels.choose(world, records, rows, logits, crowd.layout, crowd.auto)
    log, entropy = evaluation.evaluate(records, rows, logits, chosen.choices, crowd.layout, crowd.auto)
    alive = crowd.alive[index]
    told = chosen.log_probability.cpu()[index]
    torch.testing.assert_close(log.cpu()[alive], told[alive], rtol=0, atol=1e-6)
    assert log.isfinite().all() and entropy.isfinite().all()


def test_strided_arguments(crowd):
    """Transposed index and logits give the same results as contiguous copies."""
    index = crowd.everybody.t().contiguous().t()
    logits = crowd.logits(index, 15).transpose(0, 1).contiguous().transpose(0, 1)
    assert not index.is_contiguous() and not logits.is_contiguous()
    one = chosen_by_kernels(crowd, index, logits)
    other = chosen_by_kernels(crowd, index.contiguous(), logits.contiguous())
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    choices = possible_choices(crowd, 16).to(KERNEL_DEVICE)
    records = crowd.records.to(KERNEL_DEVICE)
    judged = []
    for rows, told in ((index, logits), (index.contiguous(), logits.contiguous())):
        leaf = told.detach().to(KERNEL_DEVICE).requires_grad_()
        pair = evaluation.evaluate(records, rows.to(KERNEL_DEVICE), leaf, choices, crowd.layout, crowd.auto)
        sum(pair).sum().backward()
        judged.append([*(part.detach() for part in pair), leaf.grad])
    assert all(torch.equal(a, b) for a, b in zip(*judged, strict=True))
