"""Small recordings, and their expected contents taken from the world itself.

``python -m viewer.fixtures FOLDER`` in ``tests`` writes them for the viewer's tests in viewer/tests/cross."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from support.senses import Senses
from torch import Tensor

import nmmo_gpu
from nmmo_gpu import scripted
from nmmo_gpu.env import Env, random_actions
from nmmo_gpu.replay.columns import PROBABILITY_SCALE, VALUE_SCALE, FrameLayout, PolicyTrace
from nmmo_gpu.replay.header import header
from nmmo_gpu.replay.writer import ReplayWriter
from nmmo_gpu.world.combat_rolls import _rolled, flat_blows

REALM = 1
"""The recorded realm, of two."""
ODD = {"height": 33, "width": 47, "border": 7, "slots": 12, "populations": 3, "births": -1}
FULL = {**ODD, "npc_numbers": (5, 4, 3), "npc_births": 0.3}
AGENT_FIELDS = ("gold", "offer", "offer_price", "offer_left", "inventory", "worn", "token")
ENTITY_FIELDS = (
    "entity", "age", "row", "col", "health", "food", "water", "freeze", "damage", "alive", "cause",
)  # fmt: skip


def write(folder: Path) -> None:
    """Writes every recording as NAME.replay and its expected contents as NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    record(folder / "chaos", "chaos", 40, chunk=16, heads={"move": 5, "style": 3, "target": 9}, **ODD)
    record(folder / "auto", "chaos", 20, chunk=7, heads={"move": 5, "style": 3, "target": 2}, **ODD)
    record(folder / "full", "full", 40, chunk=16, heads="all", maps=True, **FULL)
    record(folder / "rolls", "full", 60, chunk=25, mixed=True, **{**FULL, "immune_ticks": 3, "slots": 48})
    record(folder / "systems", "full", 30, chunk=8, heads="all", **FULL, systems=(Senses(),))
    record(folder / "single", "chaos", 12, chunk=1, **ODD)
    record(folder / "tiny", "chaos", 3, chunk=1, **ODD)
    record(folder / "gaps", "chaos", 24, chunk=5, gaps=(5, 6, 7, 15), **ODD)
    record(folder / "large", "chaos", 9, chunk=4, **{**ODD, "height": 300, "width": 1031})


def record(
    path: Path,
    preset: str,
    ticks: int,
    chunk: int,
    heads: dict[str, int] | str | None = None,
    gaps: Sequence[int] = (),
    maps: bool = False,
    mixed: bool = False,
    prepare: Callable[[Env], None] = lambda env: None,
    more: Callable[[Env], dict[str, Any]] = lambda env: {},
    **settings: Any,
) -> tuple[Env, dict[str, Any]]:
    """Runs a world and writes its recording. Returns the environment and the expected contents.

    Args:
        path: path of both files, without suffix.
        gaps: ticks, counted from 0, that are not recorded.
        mixed: make half of the actions random.
        prepare: function that modifies the new world.
        more: function that is called after every tick and returns further expected contents.
    """
    torch.manual_seed(len(path.name))
    env = nmmo_gpu.make(preset, realms=2, seed=4, device="cpu", backend="torch", **settings)
    env.reset()
    prepare(env)
    config = env.config.world
    heads = env.action_heads if heads == "all" else dict(heads or {})
    choices = sum(heads.values())
    layout, realms = FrameLayout(config, choices), torch.tensor([REALM])
    told = header(env.config, REALM, f"fixture {path.name}", heads)
    truth: list[dict[str, Any]] = []
    with ReplayWriter(path.with_suffix(".replay"), told, env.world.base[REALM].numpy()) as writer:
        part: list[Tensor] = []

        def flush() -> None:
            if part:
                first = truth[len(truth) - len(part)]["tick"]
                writer.frames(first, torch.cat(part).numpy())
                part.clear()

        for t in range(ticks):
            before = copy.deepcopy(env.world)
            actions = scripted.hunter(env)
            if mixed:
                either = torch.rand(actions.shape[:2]) < 0.5
                actions = torch.where(either[..., None], random_actions(env), actions)
            env.step(actions)
            policy_trace = _policy_trace(config.slots, heads) if heads else None
            if t in gaps:
                flush()
                continue
            frame = torch.zeros(1, layout.bytes, dtype=torch.uint8)
            layout.write(frame, env.world, realms, _deeds(env), policy_trace, env.records)
            part.append(frame)
            truth.append(_truth(env, before, policy_trace, t) | more(env))
            if len(part) == chunk:
                flush()
            if maps and t in (10, 20):
                values = np.arange(33 * 47, dtype=np.float32).reshape(33, 47) * t
                values[3, 5] = values[10:20, 20:30] = np.nan
                writer.heat("value", values, truth[-1]["tick"], 2, 1, "A map in a fixture.")
        flush()
    rest = {"base": _list(env.world.base[REALM].flatten()), "heads": heads, "ticks": truth}
    path.with_suffix(".json").write_text(json.dumps(rest))
    return env, rest


def _deeds(env: Env) -> Any:
    assert env.step_actions is not None
    return env.step_actions


def _policy_trace(slots: int, heads: dict[str, int]) -> PolicyTrace:
    parts = [torch.softmax(torch.randn(1, slots, n), -1) for n in heads.values()]
    return PolicyTrace(torch.cat(parts, -1), torch.randn(1, slots))


def _truth(env: Env, before: Any, policy_trace: PolicyTrace | None, t: int) -> dict[str, Any]:
    world, step_actions, config = env.world, _deeds(env), env.config.world
    columns = {name: getattr(world, name)[REALM] for name in ENTITY_FIELDS}
    columns["entity"] = columns["entity"] & 0xFFFFFFFF  # -1 in a slot that was never occupied
    columns |= {"style": step_actions.style[REALM], "target": step_actions.target[REALM]}
    if config.extended:
        columns |= {name: getattr(world, name)[REALM] for name in AGENT_FIELDS}
        columns |= {
            "level": world.level[REALM],
            "quotes": world.quotes[REALM],
            "work": step_actions.work[REALM],
        }
    observed = env.layout.views(env.records)
    columns |= {name: observed[name][REALM].int() for name in env.layout.system_fields}
    if policy_trace is not None:
        columns["value"] = (policy_trace.value[0] / VALUE_SCALE).round().int()
        columns["probability"] = (policy_trace.probability[0] / PROBABILITY_SCALE).round().int()
    used = (world.material[REALM] != world.base[REALM]).flatten().nonzero().flatten()
    return {
        "tick": int(world.tick),
        "columns": {name: _list(column.flatten()) for name, column in columns.items()},
        "usedUp": _list(used),
        "attacks": _attacks(before, step_actions, config.rolls),
        "seen": _seen(env) if t % 5 == 0 else [],
    }


def _attacks(before: Any, step_actions: Any, rolls: bool) -> list[list[int]]:
    """Returns [attacker, victim, style] of the attacks in the realm that count, computed by the rules."""
    attacker, victim, style = (_rolled if rolls else flat_blows)(
        before, step_actions.style, step_actions.target
    )[:3]
    slots, here = before.config.entities, attacker // before.config.entities == REALM
    rows = torch.stack((attacker[here] % slots, victim[here] % slots, style[here]), -1)
    return _list(rows)


def _seen(env: Env) -> list[dict[str, Any]]:
    """Returns the parts of three agents' observations that the viewer recomputes."""
    views = {name: view[REALM] for name, view in env.layout.views(env.records).items()}
    agents = views["alive"].nonzero().flatten()[:3]
    return [
        {
            "slot": int(slot),
            "material": _list(views["material"][slot].flatten()),
            "occupant": _list(views["occupant"][slot].flatten()),
            "rows": _list(env._seen[REALM, slot]),
            "offsets": _list(views["entities"][slot][:, :2]),
            "targets": _list(views["target_mask"][slot].int()),
        }
        for slot in agents
    ]


def _list(tensor: Tensor) -> Any:
    return (tensor.int() if tensor.dtype == torch.bool else tensor).tolist()


if __name__ == "__main__":
    write(Path(sys.argv[1]))
