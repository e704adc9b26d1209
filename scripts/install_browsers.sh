#!/usr/bin/env bash
# Installs what the viewer's tests need besides npm: Chromium, Firefox, Xvfb and software OpenGL, if missing.
# Supports only Debian's packages: on Ubuntu, where browsers are snaps, install them yourself.
set -euo pipefail
any() { # command ...: whether one of the commands is on the PATH
    for command; do
        command -v "$command" >/dev/null && return
    done
    return 1
}
missing=()
# As in the tests, a variable can name the executable.
[ -n "${CHROMIUM:-}" ] || any chromium chromium-browser google-chrome || missing+=(chromium)
[ -n "${FIREFOX:-}" ] || any firefox-esr firefox || missing+=(firefox-esr)
[ -n "${XVFB:-}" ] || any Xvfb || missing+=(xvfb)
[ ${#missing[@]} = 0 ] && exit
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo -n)
if ! any apt-get || ! "${sudo[@]}" true 2>/dev/null; then
    echo "The viewer's tests need ${missing[*]}; installing them takes apt-get and root." >&2
    exit 1
fi
# Mesa renders without a GPU.
missing+=(libegl1 libgl1-mesa-dri)
echo "installing ${missing[*]}"
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
