#!/usr/bin/env python
"""Summarizes the figures of scripts/gpu_check.py in FOLDER/summary.json and FOLDER/summary.md."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from predicted import predicted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    found = {
        file.stem: json.loads(file.read_text())
        for file in sorted(folder.glob("*.json"))
        if file.stem != "summary"
    }
    steps = folder / "steps.jsonl"
    found["steps"] = [json.loads(line) for line in steps.read_text().splitlines()] if steps.exists() else []
    (folder / "summary.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "summary.md").write_text("\n".join(page(found)) + "\n")


def page(found: dict[str, Any]) -> Iterator[str]:
    """Yields the lines of the summary in Markdown."""
    facts = found.get("facts", {})
    if facts:
        versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        yield f"{facts['device']}, {facts['cores']} cores ({facts['cpu']}); {versions}; {facts['date']}."
        yield ""
    yield "| step | status | seconds | limit |"
    yield "|---|---|---|---|"
    for step in found["steps"]:
        yield f"| {step['step']} | {step['status']} | {step['seconds']} | {step['limit']} |"
    for part in found.get("smoke", []):
        if part is found["smoke"][0]:
            yield ""
        yield f"- {part['part']}: {'' if part['good'] else '**failed**, '}{part['message']}"
    rows = [
        (name, row)
        for name, kept in found.items()
        if isinstance(kept, dict)
        for row in kept.get("results", [])
    ]
    if rows:
        yield ""
        yield "| | realms x slots | environment | + policy | + training | ticks/s |"
        yield "|---|---|---|---|---|---|"
        for name, row in rows:
            columns = ("environment", "+ policy", "+ training", "ticks/s")
            cells = " | ".join(f"{row[column]:,.0f}" if column in row else "" for column in columns)
            yield f"| {name} | {row['realms']} x {row['slots']} | {cells} |"
        yield ""
        yield "Agent-steps of living agents per second."
    yield from kernels(found)


def kernels(found: dict[str, Any]) -> Iterator[str]:
    """Yields tables of the time of each kernel, with predictions."""
    guessed = predicted()
    env, train = found.get("kernels-env"), found.get("kernels-train")
    if env:
        yield from ("", "| kernel of a tick | ns per slot | predicted |", "|---|---|---|")
        table = env["tables"]["environment"]
        of_tick = guessed.kernels["environment"] | {"whole": guessed.whole["environment"]}
        for name, took in [("whole", table["whole"]), *table["kernels"].items()][:18]:
            yield f"| {name[:60]} | {took:.3f} | {of_tick.get(name, '')} |"
    if train:
        yield from ("", "| of training | ns per slot and tick | predicted |", "|---|---|---|")
        whole = sum(table["whole"] for table in train["tables"].values())
        expected = guessed.groups | {"whole": guessed.whole["rollout"] + guessed.whole["update"]}
        for name, took in [("whole", whole), *train["groups"].items()]:
            guess = f"{expected[name]:.2f}" if name in expected else ""
            yield f"| {name} | {took:.2f} | {guess} |"
    if layers := found.get("layers"):
        yield from ("", "| hidden layers, ns per sample | fused | library |", "|---|---|---|")
        for title, times in layers["times"].items():
            yield f"| {title} | {times['fused']:.2f} | {times['library']:.2f} |"


if __name__ == "__main__":
    main()
