#!/usr/bin/env bash
# Installs what the viewer's tests need besides npm: Chromium, Firefox, Xvfb and OpenGL in software. Does
# nothing where they are. Only Debian's packages are known: Ubuntu has browsers as snaps, which are yours to
# install.
set -euo pipefail
any() { # command ...: whether one of them is on the PATH
    for command; do
        command -v "$command" >/dev/null && return
    done
    return 1
}
missing=()
# Where a variable names the executable, as the tests let it, nothing is to be found.
[ -n "${CHROMIUM:-}" ] || any chromium chromium-browser google-chrome || missing+=(chromium)
[ -n "${FIREFOX:-}" ] || any firefox-esr firefox || missing+=(firefox-esr)
[ -n "${XVFB:-}" ] || any Xvfb || missing+=(xvfb)
[ ${#missing[@]} = 0 ] && exit
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo -n)
if ! any apt-get || ! "${sudo[@]}" true 2>/dev/null; then
    echo "The viewer's tests need ${missing[*]}, which cannot be installed here (that takes apt-get and root)." >&2
    exit 1
fi
# Mesa draws where there is no GPU.
missing+=(libegl1 libgl1-mesa-dri)
echo "installing ${missing[*]}"
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "${missing[@]}" >/dev/null
