#!/usr/bin/env bash
# Takes the documentation's screenshots of the viewer, from a run of the full game:
#
#   scripts/take_pictures.sh runs/full [FOLDER]
source "$(dirname "$0")/install.sh" cpu,test
run=${1:?give the folder of a run of preset full}
out=$(realpath -m "${2:-docs/images}")
recording=$(mktemp -d)/world.replay
trap 'rm -r "$(dirname "$recording")"' EXIT
nmmo-gpu export "$run" --ticks 400 --out "$recording"
cd viewer
[ -d node_modules ] || npm ci --no-fund --no-audit
RECORDING=$recording OUT=$out BROWSER=chromium npx vitest run --config vitest.pictures.config.ts
cd ..
python scripts/join_frames.py "$out"/frames/*.png "$out/world-animated.webp"
rm -r "$out/frames"
