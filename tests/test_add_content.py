"""The example of how content is added: rows of tables alone make a beast that lives, dies, and leaves what
something is made of that is traded."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from nmmo_gpu.config import preset

_spec = importlib.util.spec_from_file_location(
    "add_content", Path(__file__).parents[1] / "scripts" / "add_content.py"
)
add_content = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(add_content)


def play(monkeypatch, capsys, *options):
    """(exit status, what -> how many, what was said to be wrong) of a run of the script."""
    monkeypatch.setattr(sys, "argv", ["add_content.py", "--device", "cpu", *options])
    status = add_content.main()
    out, wrong = capsys.readouterr()
    return (
        status,
        {what: int(count) for count, what in (line.split(None, 1) for line in out.splitlines())},
        wrong,
    )


def test_wolves_are_killed_skinned_and_worn_without_a_new_rule(monkeypatch, capsys):
    """The script checks the ledger in every tick."""
    status, counts, wrong = play(monkeypatch, capsys, "--realms", "2", "--ticks", "150")
    assert (status, wrong) == (0, "")
    never = {"pelt made", "leather armor dropped", "leather armor used"}
    assert {what for what, count in counts.items() if count == 0} == never
    assert 0 < counts["wolves killed by agents"] <= counts["wolves killed"]
    assert counts["pelt used"] == 2 * counts["leather armor made"] <= counts["pelt dropped"]
    assert counts["pelt dropped"] <= 3 * counts["wolves killed by agents"]


def test_what_was_there_before_keeps_its_number():
    """New rows come behind; a rank between two pieces of gear may be new."""
    old, new = preset("full").tables, preset("full", content=add_content.WITH_WOLVES).tables
    assert new.items[:22] == old.items and (old.gold, new.gold) == (22, 24)
    assert (
        [row.health for row in new.npcs] == [5, 15, 40, 6]
        and new.prices == old.prices
        and new.meals == old.meals
    )
    assert [new.items[i] for i in new.gear[2]] == ["copper armor", "leather armor", "tin armor", "iron armor"]


def test_what_cannot_be_played_is_told_without_a_traceback(monkeypatch, capsys):
    status, counts, wrong = play(monkeypatch, capsys, "--realms", "0")
    assert status == 2 and counts == {} and wrong.startswith("realms = 0")
