"""Choosing actions, and judging choices, in one kernel each; twin of ``nmmo_gpu.train.sampling`` and of what
surrounds it in ``nmmo_gpu.trinity.Sword`` and ``nmmo_gpu.train.policy.Policy.decide``.

Both read the masks where they lie, in the observation records."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import INTERPRETED, launch
from nmmo_gpu.kernels.random import draw, unit
from nmmo_gpu.world import layout as records_layout
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.movement import MOVES as MOVE_LIST
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

STREAM = tl.constexpr(int(Stream.POLICY))
STRANGER = tl.constexpr(records_layout.STRANGER)
MOVES, STYLES = tl.constexpr(len(MOVE_LIST)), tl.constexpr(len(records_layout.STYLES))
MOVES_PADDED, STYLES_PADDED = tl.constexpr(8), tl.constexpr(4)
IMPOSSIBLE = tl.constexpr(-1e30)
AGENTS = 1024 if INTERPRETED else 64
"""Agents that one program handles, where the longest list has 16 entries or fewer."""


class Chosen(NamedTuple):
    """What was chosen for all slots; zeros for the empty ones."""

    actions: Tensor
    """[N, 3] int16, for ``Env.step``."""
    choices: Tensor
    """[N, 3] int16: what the heads chose."""
    log_probability: Tensor
    """[N] float32, of the joint choice."""
    value: Tensor
    """[N] float32."""


@triton.jit
def distribution(logits, possible):
    """(log-probabilities, probabilities) of [BLOCK, n] masked logits; at least one choice is possible."""
    logits = tl.where(possible, logits, IMPOSSIBLE)
    logits = logits - tl.max(logits, 1)[:, None]
    weight = tl.where(possible, tl.exp(logits), 0.0)
    total = tl.sum(weight, 1)[:, None]
    return tl.where(possible, logits - tl.log(total), 0.0), weight / total


@triton.jit
def pick(log, probability, uniform):
    """Samples by inverse CDF; returns (choice, its log-probability)."""
    column = tl.arange(0, log.shape[1])[None, :]
    # Rounding can leave the last entry below the draw; the choice is then the last possible one.
    last = tl.max(tl.where(probability > 0.0, column, 0), 1)
    # The threads of a warp make these sums each in an order of its own, so that one can be below the one
    # before it, or above it where nothing was added: what is impossible is left out by itself.
    beyond = (probability > 0.0) & (tl.cumsum(probability, 1) > uniform[:, None])
    choice = tl.min(tl.where(beyond, column, last[:, None]), 1)
    return choice, tl.sum(tl.where(column == choice[:, None], log, 0.0), 1)


@triton.jit
def judge(log, probability, choice):
    """(log-probability of a choice, entropy)."""
    column = tl.arange(0, log.shape[1])[None, :]
    return tl.sum(tl.where(column == choice[:, None], log, 0.0), 1), -tl.sum(probability * log, 1)


@triton.jit
def slope(log, probability, choice, grad_log, grad_entropy):
    """The gradient in the logits, [BLOCK, n], from those in log-probability and entropy, [BLOCK]."""
    column = tl.arange(0, log.shape[1])[None, :]
    chosen = (column == choice[:, None]).to(tl.float32)
    entropy = -tl.sum(probability * log, 1)[:, None]
    return grad_log[:, None] * (chosen - probability) - grad_entropy[:, None] * probability * (log + entropy)


@triton.jit
def move_head(record, told, here, MOVE_AT: tl.constexpr):
    """``distribution`` of the moves."""
    m = tl.arange(0, MOVES_PADDED)[None, :]
    inside = here[:, None] & (m < MOVES)
    free = tl.load(record + MOVE_AT + m, mask=inside, other=0) != 0
    return distribution(tl.load(told + m, mask=inside, other=0.0), free | (m == 0))


@triton.jit
def nearest_strangers(
    record, here, KIND_AT: tl.constexpr, TARGET_AT: tl.constexpr, NEAREST: tl.constexpr,
    NEAREST_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """[BLOCK, STYLES_PADDED] int32: for each style the first row (counted from 1) that holds a stranger in
    its reach; 0 for none."""
    k = tl.arange(0, NEAREST_PADDED)[None, :]
    s = tl.arange(0, STYLES_PADDED)[None, :]
    inside = here[:, None] & (k < NEAREST)
    stranger = inside & (tl.load(record + KIND_AT + k, mask=inside, other=0) == STRANGER)
    first = tl.zeros([BLOCK, STYLES_PADDED], tl.int32)
    for style in tl.static_range(STYLES):
        reached = tl.load(record + TARGET_AT + style * (NEAREST + 1) + 1 + k, mask=stranger, other=0) != 0
        row = tl.min(tl.where(reached & stranger, k, NEAREST), 1)[:, None]
        first = tl.where(s == style, tl.where(row < NEAREST, row + 1, 0), first)
    return first


@triton.jit
def style_head(record, told, here, first, STYLE_AT: tl.constexpr, AUTO: tl.constexpr):
    """``distribution`` of the styles; under auto-targeting those that reach a stranger."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    inside = here[:, None] & (s < STYLES)
    useful = first > 0
    if not AUTO:
        useful = tl.load(record + STYLE_AT + s, mask=inside, other=0) != 0
    return distribution(tl.load(told + MOVES + s, mask=inside, other=0.0), useful | (s == 0))


@triton.jit
def target_head(
    record, told, here, style, victim, TARGET_AT: tl.constexpr, NEAREST: tl.constexpr,
    TARGETS: tl.constexpr, TARGETS_PADDED: tl.constexpr, AUTO: tl.constexpr,
):  # fmt: skip
    """``distribution`` of the targets under a style; with auto-targeting of leaving or attacking a victim."""
    t = tl.arange(0, TARGETS_PADDED)[None, :]
    inside = here[:, None] & (t < TARGETS)
    if AUTO:
        possible = (t == 0) | ((t == 1) & (victim > 0)[:, None])
    else:
        mask = record + TARGET_AT + style[:, None] * (NEAREST + 1) + t
        possible = (t == 0) | (tl.load(mask, mask=inside, other=0) != 0)
    return distribution(tl.load(told + MOVES + STYLES + t, mask=inside, other=0.0), possible)


@triton.jit
def of_style(values, style):
    """[BLOCK]: the column of [BLOCK, STYLES_PADDED] that a style names."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    return tl.sum(tl.where(s == style[:, None], values, 0), 1)


@triton.jit
def _choose(
    seed, tick, alive, records, index, logits, actions, choices, log_probability, value,
    rows, blocks, slots,
    NPCS: tl.constexpr, NEAREST: tl.constexpr, TARGETS: tl.constexpr, AUTO: tl.constexpr, BYTES: tl.constexpr,
    KIND_AT: tl.constexpr, MOVE_AT: tl.constexpr, STYLE_AT: tl.constexpr, TARGET_AT: tl.constexpr,
    NEAREST_PADDED: tl.constexpr, TARGETS_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: every agent is in one row of ``index``, and is written by that row's program."""
    WIDTH: tl.constexpr = MOVES + STYLES + TARGETS + 1
    program = tl.program_id(0)
    column = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    here = column < rows
    row = (program // blocks).to(tl.int64) * rows + column
    agent = tl.load(index + row, mask=here, other=0)
    being = agent + agent // slots * NPCS
    living = here & (tl.load(alive + being, mask=here, other=0) != 0)
    w0, w1, w2, _ = draw(tl.load(seed), tl.load(tick), STREAM, agent // slots, agent % slots)
    record = records + agent[:, None] * BYTES
    told = logits + row[:, None] * WIDTH

    log, probability = move_head(record, told, living, MOVE_AT)
    move, joint = pick(log, probability, unit(w0))
    first = nearest_strangers(record, living, KIND_AT, TARGET_AT, NEAREST, NEAREST_PADDED, BLOCK)
    style_log, style_probability = style_head(record, told, living, first, STYLE_AT, AUTO)
    style, chosen_log = pick(style_log, style_probability, unit(w1))
    joint += chosen_log
    victim = of_style(first, style)
    target_log, target_probability = target_head(
        record, told, living, style, victim, TARGET_AT, NEAREST, TARGETS, TARGETS_PADDED, AUTO
    )
    target, aimed_log = pick(target_log, target_probability, unit(w2))
    joint += aimed_log
    aim = target
    if AUTO:
        aim = target * victim

    tl.store(log_probability + agent, tl.where(living, joint, 0.0), mask=here)
    tl.store(value + agent, tl.load(logits + row * WIDTH + WIDTH - 1, mask=living, other=0.0), mask=here)
    move = tl.where(living, move, 0).to(tl.int16)
    style = tl.where(living, style, 0).to(tl.int16)
    tl.store(actions + 3 * agent, move, mask=here)
    tl.store(actions + 3 * agent + 1, style, mask=here)
    tl.store(actions + 3 * agent + 2, tl.where(living, aim, 0).to(tl.int16), mask=here)
    tl.store(choices + 3 * agent, move, mask=here)
    tl.store(choices + 3 * agent + 1, style, mask=here)
    tl.store(choices + 3 * agent + 2, tl.where(living, target, 0).to(tl.int16), mask=here)


@triton.jit
def _evaluate(
    records, index, logits, choices, log_probability, entropy, grad_log, grad_entropy, grad_logits, rows,
    BACKWARD: tl.constexpr, NEAREST: tl.constexpr, TARGETS: tl.constexpr, AUTO: tl.constexpr,
    BYTES: tl.constexpr, KIND_AT: tl.constexpr, MOVE_AT: tl.constexpr, STYLE_AT: tl.constexpr,
    TARGET_AT: tl.constexpr, NEAREST_PADDED: tl.constexpr, TARGETS_PADDED: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Log-probability and entropy of choices, or, going backward, the gradient in the logits.

    Order-free: every row is written by one program."""
    WIDTH: tl.constexpr = MOVES + STYLES + TARGETS + 1
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = row < rows
    line = tl.load(index + row, mask=here, other=0)
    record = records + line[:, None] * BYTES
    told = logits + row[:, None] * WIDTH
    move = tl.load(choices + 3 * line, mask=here, other=0).to(tl.int32)
    style = tl.load(choices + 3 * line + 1, mask=here, other=0).to(tl.int32)
    target = tl.load(choices + 3 * line + 2, mask=here, other=0).to(tl.int32)

    move_log, move_p = move_head(record, told, here, MOVE_AT)
    first = nearest_strangers(record, here, KIND_AT, TARGET_AT, NEAREST, NEAREST_PADDED, BLOCK)
    style_log, style_p = style_head(record, told, here, first, STYLE_AT, AUTO)
    target_log, target_p = target_head(
        record, told, here, style, of_style(first, style), TARGET_AT, NEAREST, TARGETS, TARGETS_PADDED, AUTO
    )
    if BACKWARD:
        by_log = tl.load(grad_log + row, mask=here, other=0.0)
        by_entropy = tl.load(grad_entropy + row, mask=here, other=0.0)
        into = grad_logits + row[:, None] * WIDTH
        column = tl.arange(0, MOVES_PADDED)[None, :]
        grad = slope(move_log, move_p, move, by_log, by_entropy)
        tl.store(into + column, grad, mask=here[:, None] & (column < MOVES))
        column = tl.arange(0, STYLES_PADDED)[None, :]
        grad = slope(style_log, style_p, style, by_log, by_entropy)
        tl.store(into + MOVES + column, grad, mask=here[:, None] & (column < STYLES))
        column = tl.arange(0, TARGETS_PADDED)[None, :]
        grad = slope(target_log, target_p, target, by_log, by_entropy)
        tl.store(into + MOVES + STYLES + column, grad, mask=here[:, None] & (column < TARGETS))
        tl.store(grad_logits + row * WIDTH + WIDTH - 1, tl.zeros([BLOCK], tl.float32), mask=here)
    else:
        joint, spread = judge(move_log, move_p, move)
        style_joint, style_spread = judge(style_log, style_p, style)
        target_joint, target_spread = judge(target_log, target_p, target)
        tl.store(log_probability + row, joint + style_joint + target_joint, mask=here)
        tl.store(entropy + row, spread + style_spread + target_spread, mask=here)


def _constants(layout: ObservationLayout, targets: int, auto: bool) -> dict[str, Any]:
    at = {name: field.offset for name, field in layout.fields.items()}
    nearest = layout.fields["entity_kind"].shape[0]
    nearest_padded, targets_padded = triton.next_power_of_2(nearest), triton.next_power_of_2(targets)
    return {
        "NEAREST": nearest, "TARGETS": targets, "AUTO": auto, "BYTES": layout.bytes,
        "KIND_AT": at["entity_kind"], "MOVE_AT": at["move_mask"], "STYLE_AT": at["style_mask"],
        "TARGET_AT": at["target_mask"], "NEAREST_PADDED": nearest_padded, "TARGETS_PADDED": targets_padded,
        "BLOCK": max(16, AGENTS * 16 // max(16, nearest_padded, targets_padded)),
    }  # fmt: skip


def _targets(logits: Tensor) -> int:
    return logits.shape[-1] - len(MOVE_LIST) - len(records_layout.STYLES) - 1


def choose(
    world: World, records: Tensor, index: Tensor, logits: Tensor, layout: ObservationLayout, auto: bool
) -> Chosen:
    """Chooses for every living agent.

    Args:
        records: [N, bytes] uint8. index: [P, B] int64, a permutation of the N agents.
        logits: [P, B, 5 + 3 + targets + 1] float32: moves, styles, targets, value; not masked.
        auto: the target is the nearest stranger that the chosen style reaches, and the target head says
            whether to attack it; otherwise it chooses among nobody and the rows of the entity table.
    """
    agents, (populations, rows) = index.numel(), index.shape
    constants = _constants(layout, _targets(logits), auto)

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=records.device)

    chosen = Chosen(
        empty(agents, 3, dtype=torch.int16), empty(agents, 3, dtype=torch.int16),
        empty(agents), empty(agents),
    )  # fmt: skip
    blocks = triton.cdiv(rows, constants["BLOCK"])
    launch(
        _choose, populations * blocks, world.seed, world.tick, world.alive, records, index.contiguous(),
        logits.contiguous(), *chosen, rows, blocks, world.config.slots,
        NPCS=world.config.npc_slots, **constants,
    )  # fmt: skip
    return chosen


class Evaluate(torch.autograd.Function):
    """See ``evaluate``."""

    @staticmethod
    def forward(
        ctx: Any, records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, constants: dict[str, Any]
    ) -> tuple[Tensor, Tensor]:
        logits = logits.contiguous()
        ctx.save_for_backward(records, index, logits, choices)
        ctx.constants = constants
        out = torch.empty(2, *index.shape, device=logits.device)
        programs = triton.cdiv(index.numel(), constants["BLOCK"])
        # What the other direction would use is not looked at.
        launch(
            _evaluate, programs, records, index, logits, choices, out[0], out[1], logits, logits, logits,
            index.numel(), BACKWARD=False, **constants,
        )  # fmt: skip
        return out[0], out[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        records, index, logits, choices = ctx.saved_tensors
        grad = torch.empty_like(logits)
        by_log, by_entropy = (g.contiguous() for g in grads)
        programs = triton.cdiv(index.numel(), ctx.constants["BLOCK"])
        launch(
            _evaluate, programs, records, index, logits, choices, logits, logits, by_log, by_entropy, grad,
            index.numel(), BACKWARD=True, **ctx.constants,
        )  # fmt: skip
        return None, None, grad, None, None


def evaluate(
    records: Tensor, index: Tensor, logits: Tensor, choices: Tensor, layout: ObservationLayout, auto: bool
) -> tuple[Tensor, Tensor]:
    """(joint log-probability [P, B], entropy [P, B]) of choices; differentiable in the logits.

    Args:
        records: [N, bytes] uint8. index: [P, B] int64: their rows. logits: as for ``choose``.
        choices: [N, 3] int16, by row.
    """
    constants = _constants(layout, _targets(logits), auto)
    out: tuple[Tensor, Tensor] = Evaluate.apply(records, index.contiguous(), logits, choices, constants)
    return out
