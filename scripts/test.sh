#!/usr/bin/env bash
# Installs nmmo-gpu and what its tests need into .venv, and runs all tests. Options are handed to pytest.
source "$(dirname "$0")/install.sh" cpu,test
python -m pytest --numprocesses auto "$@"
