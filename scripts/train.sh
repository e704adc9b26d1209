#!/usr/bin/env bash
# Installs nmmo-gpu into .venv, trains preset chaos for five minutes (on the GPU if there is one), and shows
# how long trained and random agents live. Options are passed to `nmmo-gpu train chaos`.
source "$(dirname "$0")/install.sh" cpu
run="runs/chaos-$(date +%Y%m%d-%H%M%S)"
nmmo-gpu train chaos --run "$run" --minutes 5 "$@"
nmmo-gpu eval "$run"
echo
echo "Curves:    .venv/bin/tensorboard --logdir runs    then open http://localhost:6006"
echo "Resume:    .venv/bin/nmmo-gpu train --resume $run --minutes 20"
