"""Replays: recordings of a realm, tick by tick, in a file (docs/replay-format.md)."""
