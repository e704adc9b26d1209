# Sourced by the other scripts: makes .venv beside the README, installs nmmo-gpu with the extras given, and
# puts its commands on the PATH. Needs Python 3.11 or newer; PYTHON chooses which.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "nmmo-gpu needs Python 3.11 or newer, and $python is $("$python" -V 2>&1); set PYTHON=python3.12, say." >&2
    exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv || {
    echo "No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv" >&2
    exit 1
}
# Packages change only with these files; an install that is up to date is not repeated.
stamp=.venv/installed-$1
if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[$1]"
    touch "$stamp"
fi
export PATH="$PWD/.venv/bin:$PATH"
