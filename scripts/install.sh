# Sourced by the other scripts: creates .venv in the repository's root, installs nmmo-gpu with the given extras,
# and adds its commands to the PATH. Needs Python 3.11 or newer; set PYTHON to choose one. VENV and CONSTRAINTS
# select another environment and another file of pinned versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}
constraints=${CONSTRAINTS:-constraints.txt}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "nmmo-gpu needs Python 3.11 or newer, but $python is $("$python" -V 2>&1); set, for example, PYTHON=python3.12." >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
    echo "The virtual environment could not be created; on Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
}
# The installation depends only on these files and the viewer's sources; if it is up to date, it is skipped.
stamp=$venv/installed-$1
changed() {
    find pyproject.toml "$constraints" scripts/build_backend.py viewer \
        -type d \( -name node_modules -o -name dist -o -name tests \) -prune -o -type f -newer "$stamp" -print -quit
}
if [ ! -e "$stamp" ] || [ -n "$(changed)" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" --editable ".[$1]"
    # pip hides the output of the build, so this shows whether the viewer's page is missing.
    "$venv/bin/python" -c 'from nmmo_gpu.view.page import folder; folder()' 2>&1 | tail -n 1 >&2 || true
    touch "$stamp"
fi
export PATH="$(realpath "$venv")/bin:$PATH"
