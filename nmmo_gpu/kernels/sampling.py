"""Sampling and evaluation of actions, in one kernel each; twin of ``nmmo_gpu.train.sampling`` and of the
related code in ``nmmo_gpu.train.trinity.Sword`` and ``nmmo_gpu.train.policy.Policy.masked``.

Both kernels read the masks in place, in the observation records."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from nmmo_gpu.kernels.launch import INTERPRETED, launch
from nmmo_gpu.kernels.random import draw, unit
from nmmo_gpu.world import layout as records_layout
from nmmo_gpu.world.actions import MORE_HEADS
from nmmo_gpu.world.layout import ObservationLayout
from nmmo_gpu.world.movement import MOVES as MOVE_LIST
from nmmo_gpu.world.random import Stream
from nmmo_gpu.world.state import World

STREAM, STREAM_GOODS = tl.constexpr(int(Stream.POLICY)), tl.constexpr(int(Stream.POLICY_GOODS))
STRANGER = tl.constexpr(records_layout.STRANGER)
MOVES, STYLES = tl.constexpr(len(MOVE_LIST)), tl.constexpr(len(records_layout.STYLES))
MOVES_PADDED, STYLES_PADDED = tl.constexpr(8), tl.constexpr(4)
IMPOSSIBLE = tl.constexpr(-1e30)
AGENTS = 1024 if INTERPRETED else 64
"""Agents per program, if the longest list has at most 16 entries."""


class Chosen(NamedTuple):
    """The choices of all slots; zeros for empty slots."""

    actions: Tensor
    """[N, heads] int16, for ``Env.step``."""
    choices: Tensor
    """[N, heads] int16: the choice of each head."""
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
    # Each thread of a warp computes these sums in its own order, so one can be below the previous one, or
    # above it where nothing was added. Impossible choices are therefore excluded explicitly.
    beyond = (probability > 0.0) & (tl.cumsum(probability, 1) > uniform[:, None])
    choice = tl.min(tl.where(beyond, column, last[:, None]), 1)
    return choice, tl.sum(tl.where(column == choice[:, None], log, 0.0), 1)


@triton.jit
def log_prob_and_entropy(log, probability, choice):
    """(log-probability of a choice, entropy)."""
    column = tl.arange(0, log.shape[1])[None, :]
    return tl.sum(tl.where(column == choice[:, None], log, 0.0), 1), -tl.sum(probability * log, 1)


@triton.jit
def slope(log, probability, choice, grad_log, grad_entropy):
    """The gradient of the logits, [BLOCK, n], from those of log-probability and entropy, [BLOCK]."""
    column = tl.arange(0, log.shape[1])[None, :]
    chosen = (column == choice[:, None]).to(tl.float32)
    entropy = -tl.sum(probability * log, 1)[:, None]
    return grad_log[:, None] * (chosen - probability) - grad_entropy[:, None] * probability * (log + entropy)


@triton.jit
def plain_head(
    record, row_logits, here, FIRST: tl.constexpr, MASK_AT: tl.constexpr, CHOICES: tl.constexpr,
    PADDED: tl.constexpr,
):  # fmt: skip
    """``distribution`` of a head whose logits begin at ``FIRST``, its mask at ``MASK_AT``."""
    column = tl.arange(0, PADDED)[None, :]
    inside = here[:, None] & (column < CHOICES)
    free = tl.load(record + MASK_AT + column, mask=inside, other=0) != 0
    return distribution(tl.load(row_logits + FIRST + column, mask=inside, other=0.0), free | (column == 0))


@triton.jit
def price_head(
    record, row_logits, here, trade, FIRST: tl.constexpr, MASK_AT: tl.constexpr, TRADES: tl.constexpr,
    PRICES: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    """``distribution`` of the prices under a trade; twin of ``nmmo_gpu.world.actions.side_of``."""
    side = (trade > 0).to(tl.int32) + (trade > TRADES // 2 - 1).to(tl.int32)
    side = tl.where(trade == TRADES - 1, 0, side)
    return plain_head(record + side[:, None] * PRICES, row_logits, here, FIRST, MASK_AT, PRICES, PADDED)


@triton.jit
def nearest_strangers(
    record, here, KIND_AT: tl.constexpr, TARGET_AT: tl.constexpr, NEAREST: tl.constexpr,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """[BLOCK, STYLES_PADDED] int32: for each style the first row (counted from 1) with a stranger or an NPC
    in reach; 0 for none."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    first = tl.full([BLOCK, STYLES_PADDED], NEAREST, tl.int32)
    # A few rows at a time: a long block would determine how the threads share all other blocks, and
    # cumulative
    # sums over short blocks with that layout do not compile with Triton 3.6.
    for start in range(0, NEAREST, ROWS):
        k = start + tl.arange(0, ROWS)[None, :]
        inside = here[:, None] & (k < NEAREST)
        stranger = inside & (tl.load(record + KIND_AT + k, mask=inside, other=0) >= STRANGER)
        for style in tl.static_range(STYLES):
            mask = record + TARGET_AT + style * (NEAREST + 1) + 1 + k
            reached = tl.load(mask, mask=stranger, other=0) != 0
            row = tl.min(tl.where(reached & stranger, k, NEAREST), 1)[:, None]
            first = tl.where(s == style, tl.minimum(first, row), first)
    return tl.where(first < NEAREST, first + 1, 0)


@triton.jit
def style_head(record, row_logits, here, first, STYLE_AT: tl.constexpr, AUTO: tl.constexpr):
    """``distribution`` of the styles; under auto-targeting only those with a target."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    inside = here[:, None] & (s < STYLES)
    useful = first > 0
    if not AUTO:
        useful = tl.load(record + STYLE_AT + s, mask=inside, other=0) != 0
    return distribution(tl.load(row_logits + MOVES + s, mask=inside, other=0.0), useful | (s == 0))


@triton.jit
def target_head(
    record, row_logits, here, style, victim, TARGET_AT: tl.constexpr, NEAREST: tl.constexpr,
    TARGETS: tl.constexpr, TARGETS_PADDED: tl.constexpr, AUTO: tl.constexpr,
):  # fmt: skip
    """``distribution`` of the targets under a style; with auto-targeting, of no attack or an attack."""
    t = tl.arange(0, TARGETS_PADDED)[None, :]
    inside = here[:, None] & (t < TARGETS)
    if AUTO:
        possible = (t == 0) | ((t == 1) & (victim > 0)[:, None])
    else:
        mask = record + TARGET_AT + style[:, None] * (NEAREST + 1) + t
        possible = (t == 0) | (tl.load(mask, mask=inside, other=0) != 0)
    return distribution(tl.load(row_logits + MOVES + STYLES + t, mask=inside, other=0.0), possible)


@triton.jit
def of_style(values, style):
    """[BLOCK]: the column of [BLOCK, STYLES_PADDED] selected by a style."""
    s = tl.arange(0, STYLES_PADDED)[None, :]
    return tl.sum(tl.where(s == style[:, None], values, 0), 1)


@triton.jit
def put(choices, actions, choice, action, living, here):
    """Stores a choice, and the action that it means; 0 for dead agents."""
    tl.store(choices, tl.where(living, choice, 0).to(tl.int16), mask=here)
    tl.store(actions, tl.where(living, action, 0).to(tl.int16), mask=here)


@triton.jit
def _choose(
    seed, tick, alive, records, index, logits, actions, choices, log_probability, value,
    rows, blocks, slots,
    NPCS: tl.constexpr, NEAREST: tl.constexpr, TARGETS: tl.constexpr, AUTO: tl.constexpr, BYTES: tl.constexpr,
    KIND_AT: tl.constexpr, MOVE_AT: tl.constexpr, STYLE_AT: tl.constexpr, TARGET_AT: tl.constexpr,
    ROWS: tl.constexpr, TARGETS_PADDED: tl.constexpr,
    WORKS: tl.constexpr, TRADES: tl.constexpr, PRICES: tl.constexpr, TOKENS: tl.constexpr,
    WORK_AT: tl.constexpr, TRADE_AT: tl.constexpr, PRICE_AT: tl.constexpr, TOKEN_AT: tl.constexpr,
    WORKS_PADDED: tl.constexpr, TRADES_PADDED: tl.constexpr, PRICES_PADDED: tl.constexpr,
    TOKENS_PADDED: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Order-free: each agent is in one row of ``index``, and is written by that row's program."""
    WORK_FROM: tl.constexpr = MOVES + STYLES + TARGETS
    TRADE_FROM: tl.constexpr = WORK_FROM + WORKS
    PRICE_FROM: tl.constexpr = TRADE_FROM + TRADES
    TOKEN_FROM: tl.constexpr = PRICE_FROM + PRICES
    WIDTH: tl.constexpr = TOKEN_FROM + TOKENS + 1
    program = tl.program_id(0)
    column = (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    here = column < rows
    row = (program // blocks).to(tl.int64) * rows + column
    agent = tl.load(index + row, mask=here, other=0)
    being = agent + agent // slots * NPCS
    living = here & (tl.load(alive + being, mask=here, other=0) != 0)
    w0, w1, w2, _ = draw(seed, tick, STREAM, agent // slots, agent % slots)
    record = records + agent[:, None] * BYTES
    row_logits = logits + row[:, None] * WIDTH

    log, probability = plain_head(record, row_logits, living, 0, MOVE_AT, MOVES, MOVES_PADDED)
    move, joint = pick(log, probability, unit(w0))
    first = nearest_strangers(record, living, KIND_AT, TARGET_AT, NEAREST, ROWS, BLOCK)
    style_log, style_probability = style_head(record, row_logits, living, first, STYLE_AT, AUTO)
    style, chosen_log = pick(style_log, style_probability, unit(w1))
    joint += chosen_log
    victim = of_style(first, style)
    target_log, target_probability = target_head(
        record, row_logits, living, style, victim, TARGET_AT, NEAREST, TARGETS, TARGETS_PADDED, AUTO
    )
    target, aimed_log = pick(target_log, target_probability, unit(w2))
    joint += aimed_log
    aim = target
    if AUTO:
        aim = target * victim

    put(choices + HEADS * agent, actions + HEADS * agent, move, move, living, here)
    put(choices + HEADS * agent + 1, actions + HEADS * agent + 1, style, style, living, here)
    put(choices + HEADS * agent + 2, actions + HEADS * agent + 2, target, aim, living, here)

    # The heads of the full game, if they exist.
    goods, bids = choices + HEADS * agent + 3, actions + HEADS * agent + 3
    if HEADS > 3:
        w0, w1, w2, w3 = draw(seed, tick, STREAM_GOODS, agent // slots, agent % slots)
    if WORKS > 0:
        log, probability = plain_head(record, row_logits, living, WORK_FROM, WORK_AT, WORKS, WORKS_PADDED)
        work, chosen_log = pick(log, probability, unit(w0))
        joint += chosen_log
        put(goods, bids, work, work, living, here)
        goods, bids = goods + 1, bids + 1
    if TRADES > 0:
        log, probability = plain_head(record, row_logits, living, TRADE_FROM, TRADE_AT, TRADES, TRADES_PADDED)
        trade, chosen_log = pick(log, probability, unit(w1))
        joint += chosen_log
        put(goods, bids, trade, trade, living, here)
        log, probability = price_head(
            record, row_logits, living, trade, PRICE_FROM, PRICE_AT, TRADES, PRICES, PRICES_PADDED
        )
        price, chosen_log = pick(log, probability, unit(w2))
        joint += chosen_log
        put(goods + 1, bids + 1, price, price, living, here)
        goods, bids = goods + 2, bids + 2
    if TOKENS > 0:
        log, probability = plain_head(record, row_logits, living, TOKEN_FROM, TOKEN_AT, TOKENS, TOKENS_PADDED)
        token, chosen_log = pick(log, probability, unit(w3))
        joint += chosen_log
        put(goods, bids, token, token, living, here)

    tl.store(log_probability + agent, tl.where(living, joint, 0.0), mask=here)
    tl.store(value + agent, tl.load(logits + row * WIDTH + WIDTH - 1, mask=living, other=0.0), mask=here)


@triton.jit
def put_slope(into, log, probability, choice, by_log, by_entropy, here, CHOICES: tl.constexpr):
    """Stores ``slope`` in the gradient of a head's logits."""
    column = tl.arange(0, log.shape[1])[None, :]
    grad = slope(log, probability, choice, by_log, by_entropy)
    tl.store(into + column, grad, mask=here[:, None] & (column < CHOICES))


@triton.jit
def _evaluate(
    records, index, logits, choices, log_probability, entropy, grad_log, grad_entropy, grad_logits, rows,
    BACKWARD: tl.constexpr, NEAREST: tl.constexpr, TARGETS: tl.constexpr, AUTO: tl.constexpr,
    BYTES: tl.constexpr, KIND_AT: tl.constexpr, MOVE_AT: tl.constexpr, STYLE_AT: tl.constexpr,
    TARGET_AT: tl.constexpr, ROWS: tl.constexpr, TARGETS_PADDED: tl.constexpr,
    WORKS: tl.constexpr, TRADES: tl.constexpr, PRICES: tl.constexpr, TOKENS: tl.constexpr,
    WORK_AT: tl.constexpr, TRADE_AT: tl.constexpr, PRICE_AT: tl.constexpr, TOKEN_AT: tl.constexpr,
    WORKS_PADDED: tl.constexpr, TRADES_PADDED: tl.constexpr, PRICES_PADDED: tl.constexpr,
    TOKENS_PADDED: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Log-probability and entropy of choices, or, in the backward pass, the gradient of the logits.

    Order-free: each row is written by one program."""
    WORK_FROM: tl.constexpr = MOVES + STYLES + TARGETS
    TRADE_FROM: tl.constexpr = WORK_FROM + WORKS
    PRICE_FROM: tl.constexpr = TRADE_FROM + TRADES
    TOKEN_FROM: tl.constexpr = PRICE_FROM + PRICES
    WIDTH: tl.constexpr = TOKEN_FROM + TOKENS + 1
    row = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    here = row < rows
    line = tl.load(index + row, mask=here, other=0)
    record = records + line[:, None] * BYTES
    row_logits = logits + row[:, None] * WIDTH
    move = tl.load(choices + HEADS * line, mask=here, other=0).to(tl.int32)
    style = tl.load(choices + HEADS * line + 1, mask=here, other=0).to(tl.int32)
    target = tl.load(choices + HEADS * line + 2, mask=here, other=0).to(tl.int32)

    move_log, move_p = plain_head(record, row_logits, here, 0, MOVE_AT, MOVES, MOVES_PADDED)
    first = nearest_strangers(record, here, KIND_AT, TARGET_AT, NEAREST, ROWS, BLOCK)
    style_log, style_p = style_head(record, row_logits, here, first, STYLE_AT, AUTO)
    target_log, target_p = target_head(
        record,
        row_logits,
        here,
        style,
        of_style(first, style),
        TARGET_AT,
        NEAREST,
        TARGETS,
        TARGETS_PADDED,
        AUTO,
    )
    if BACKWARD:
        by_log = tl.load(grad_log + row, mask=here, other=0.0)
        by_entropy = tl.load(grad_entropy + row, mask=here, other=0.0)
        into = grad_logits + row[:, None] * WIDTH
        put_slope(into, move_log, move_p, move, by_log, by_entropy, here, MOVES)
        put_slope(into + MOVES, style_log, style_p, style, by_log, by_entropy, here, STYLES)
        put_slope(into + MOVES + STYLES, target_log, target_p, target, by_log, by_entropy, here, TARGETS)
        tl.store(grad_logits + row * WIDTH + WIDTH - 1, tl.zeros([BLOCK], tl.float32), mask=here)
    else:
        joint, spread = log_prob_and_entropy(move_log, move_p, move)
        style_joint, style_spread = log_prob_and_entropy(style_log, style_p, style)
        target_joint, target_spread = log_prob_and_entropy(target_log, target_p, target)
        joint = joint + style_joint + target_joint
        spread = spread + style_spread + target_spread

    goods = choices + HEADS * line + 3
    if WORKS > 0:
        work = tl.load(goods, mask=here, other=0).to(tl.int32)
        goods += 1
        log, p = plain_head(record, row_logits, here, WORK_FROM, WORK_AT, WORKS, WORKS_PADDED)
        if BACKWARD:
            put_slope(into + WORK_FROM, log, p, work, by_log, by_entropy, here, WORKS)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, work)
            joint, spread = joint + its_joint, spread + its_spread
    if TRADES > 0:
        trade = tl.load(goods, mask=here, other=0).to(tl.int32)
        price = tl.load(goods + 1, mask=here, other=0).to(tl.int32)
        goods += 2
        log, p = plain_head(record, row_logits, here, TRADE_FROM, TRADE_AT, TRADES, TRADES_PADDED)
        price_log, price_p = price_head(
            record, row_logits, here, trade, PRICE_FROM, PRICE_AT, TRADES, PRICES, PRICES_PADDED
        )
        if BACKWARD:
            put_slope(into + TRADE_FROM, log, p, trade, by_log, by_entropy, here, TRADES)
            put_slope(into + PRICE_FROM, price_log, price_p, price, by_log, by_entropy, here, PRICES)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, trade)
            price_joint, price_spread = log_prob_and_entropy(price_log, price_p, price)
            joint = joint + its_joint + price_joint
            spread = spread + its_spread + price_spread
    if TOKENS > 0:
        token = tl.load(goods, mask=here, other=0).to(tl.int32)
        log, p = plain_head(record, row_logits, here, TOKEN_FROM, TOKEN_AT, TOKENS, TOKENS_PADDED)
        if BACKWARD:
            put_slope(into + TOKEN_FROM, log, p, token, by_log, by_entropy, here, TOKENS)
        else:
            its_joint, its_spread = log_prob_and_entropy(log, p, token)
            joint, spread = joint + its_joint, spread + its_spread
    if not BACKWARD:
        tl.store(log_probability + row, joint, mask=here)
        tl.store(entropy + row, spread, mask=here)


def _constants(layout: ObservationLayout, width: int, auto: bool) -> dict[str, Any]:
    """The kernels' constants; ``width``: logits per agent, including the value."""
    at = {name: field.offset for name, field in layout.fields.items()}
    more: dict[str, int] = {}
    sizes = []
    for name in MORE_HEADS:
        mask = layout.fields.get(f"{name}_mask")
        size = mask.shape[-1] if mask else 0
        padded = triton.next_power_of_2(size)
        word = name.upper()
        more |= {f"{word}S": size, f"{word}S_PADDED": padded, f"{word}_AT": mask.offset if mask else 0}
        sizes.append(size)
    targets = width - len(MOVE_LIST) - len(records_layout.STYLES) - sum(sizes) - 1
    nearest = layout.fields["entity_kind"].shape[0]
    longest = triton.next_power_of_2(max(16, targets, *sizes))
    return more | {
        "NEAREST": nearest, "TARGETS": targets, "AUTO": auto, "BYTES": layout.bytes,
        "KIND_AT": at["entity_kind"], "MOVE_AT": at["move_mask"], "STYLE_AT": at["style_mask"],
        "TARGET_AT": at["target_mask"], "ROWS": min(8, triton.next_power_of_2(nearest)),
        "TARGETS_PADDED": triton.next_power_of_2(targets),
        "HEADS": 3 + sum(size > 0 for size in sizes),
        "BLOCK": max(16, AGENTS * 16 // longest),
    }  # fmt: skip


def choose(
    world: World, records: Tensor, index: Tensor, logits: Tensor, layout: ObservationLayout, auto: bool
) -> Chosen:
    """Samples the actions of all living agents.

    Args:
        records: [N, bytes] uint8. index: [P, B] int64, a permutation of the N agents.
        logits: [P, B, 5 + 3 + targets + more + 1] float32: moves, styles, targets, then works, trades, prices
            and tokens if the layout has masks for them, value; not masked.
        auto: the target is the nearest stranger or NPC in reach of the chosen style, and the target head
            decides whether to attack it; otherwise it chooses among none and the rows of the entity table.
    """
    agents, (populations, rows) = index.numel(), index.shape
    constants = _constants(layout, logits.shape[-1], auto)
    heads = constants["HEADS"]

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=records.device)

    chosen = Chosen(
        empty(agents, heads, dtype=torch.int16), empty(agents, heads, dtype=torch.int16),
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
        # Placeholders for the tensors that only the other direction uses.
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
        choices: [N, heads] int16, by row.
    """
    constants = _constants(layout, logits.shape[-1], auto)
    out: tuple[Tensor, Tensor] = Evaluate.apply(records, index.contiguous(), logits, choices, constants)
    return out
