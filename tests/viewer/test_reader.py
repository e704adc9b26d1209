"""The viewer reads the recordings of this package, and derives observations and actions from them."""

from __future__ import annotations

from viewer.fixtures import write


def test_the_viewer_reads_recordings(npm, tmp_path):
    """The viewer's own tests (viewer/tests/cross) compare recordings written by Python with the recorded
    world: columns, depleted tiles, gaps, windows, entity tables, attacks, counts and maps. They also read
    malformed variants."""
    write(tmp_path)
    output = npm("run", "test", "--", "tests/cross", NMMO_GPU_FIXTURES=str(tmp_path))
    assert "passed" in output and "skipped" not in output, output
