"""Runs command lines in this process."""

from __future__ import annotations

from nmmo_gpu.cli import main as cli

TINY = [
    "--height", "40", "--width", "40", "--slots", "16", "--populations", "2", "--realms", "2",
    "--hidden", "8", "--horizon", "4", "--minibatches", "2", "--device", "cpu",
]  # fmt: skip


def output_of(capsys, arguments, status):
    """Runs a command line that must end with this status; returns its output and errors without line breaks
    or boxes."""
    try:
        found = cli.run([str(argument) for argument in arguments])
    except SystemExit as end:
        found = end.code
    out, err = capsys.readouterr()
    assert found == status, out + err
    assert "Traceback" not in out + err
    return " ".join(out.replace("│", " ").split()), " ".join(err.replace("│", " ").split())
