"""The example that adds content: table rows alone define an NPC that lives and dies, and drops an item from
which gear is made and traded."""

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
    """Runs the script; returns (exit status, name -> count, error message)."""
    monkeypatch.setattr(sys, "argv", ["add_content.py", "--device", "cpu", *options])
    status = add_content.main()
    out, wrong = capsys.readouterr()
    return (
        status,
        {what: int(count) for count, what in (line.split(None, 1) for line in out.splitlines())},
        wrong,
    )


def test_wolves_drop_pelts_that_become_armor_without_a_new_rule(monkeypatch, capsys):
    """The script checks the ledger in every tick."""
    status, counts, wrong = play(monkeypatch, capsys, "--realms", "2", "--ticks", "150")
    assert (status, wrong) == (0, "")
    never = {"pelt made", "leather armor dropped", "leather armor used"}
    assert {what for what, count in counts.items() if count == 0} == never
    assert 0 < counts["wolves killed by agents"] <= counts["wolves killed"]
    assert counts["pelt used"] == 2 * counts["leather armor made"] <= counts["pelt dropped"]
    assert counts["pelt dropped"] <= 3 * counts["wolves killed by agents"]


def test_added_content_keeps_existing_numbers():
    """New rows follow the existing ones; the rank between two pieces of gear may be new."""
    old, new = preset("full").tables, preset("full", content=add_content.WITH_WOLVES).tables
    assert new.items[:22] == old.items and (old.gold, new.gold) == (22, 24)
    assert (
        [row.health for row in new.npcs] == [5, 15, 40, 6]
        and new.prices == old.prices
        and new.meals == old.meals
    )
    assert [new.items[i] for i in new.gear[2]] == ["copper armor", "leather armor", "tin armor", "iron armor"]


def test_impossible_settings_have_no_traceback(monkeypatch, capsys):
    status, counts, wrong = play(monkeypatch, capsys, "--realms", "0")
    assert status == 2 and counts == {} and wrong.startswith("realms = 0")
