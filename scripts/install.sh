# Sourced by the other scripts: makes .venv beside the README, installs nmmo-gpu with the extras given, and
# puts its commands on the PATH. Needs Python 3.11 or newer; PYTHON chooses which. VENV and CONSTRAINTS
# choose another environment, and another file of pinned versions.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
venv=${VENV:-.venv}
constraints=${CONSTRAINTS:-constraints.txt}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "nmmo-gpu needs Python 3.11 or newer, and $python is $("$python" -V 2>&1); set PYTHON=python3.12, say." >&2
    exit 1
}
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || {
    echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
}
# Packages change only with these files, and the viewer's page with its sources; an install that is up to date
# is not repeated.
stamp=$venv/installed-$1
changed() {
    find pyproject.toml "$constraints" scripts/build_backend.py viewer \
        -type d \( -name node_modules -o -name dist -o -name tests \) -prune -o -type f -newer "$stamp" -print -quit
}
if [ ! -e "$stamp" ] || [ -n "$(changed)" ]; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$constraints" --editable ".[$1]"
    # pip hides what the build said.
    "$venv/bin/python" -c 'from nmmo_gpu.view.page import folder; folder()' 2>&1 | tail -n 1 >&2 || true
    touch "$stamp"
fi
export PATH="$(realpath "$venv")/bin:$PATH"
