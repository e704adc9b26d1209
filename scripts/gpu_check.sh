#!/usr/bin/env bash
# Everything that is to be seen on a GPU, with all results in one folder:
#
#   scripts/gpu_check.sh [FOLDER] [STEP ...]
#
# Steps, all of them if none is named:
#   tests    the tests that need CUDA, and those of kernels and trainer, compiled
#   phases   each kernel's time beside the bytes that it moves
#   grid     the environment alone, over realms x slots, up to a realm of a million
#   rates    environment, + policy, + training with the GPU network, of chaos and of the full game; what adapters cost
#   record   what recording a realm costs the training
#   memory   what `nmmo-gpu info` says beside what a run took
#   train    five minutes of end-to-end training, and lifetimes
#   full     the same with the full game, and what its systems are worth to the trained policy
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
if ! "$python" -c 'import nmmo_gpu, tyro, pytest' 2>/dev/null; then
    source scripts/install.sh cpu,test
    python=.venv/bin/python
fi
"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
    echo "torch sees no CUDA device; this script checks what needs one." >&2
    exit 1
}
out=${1:-runs/gpu-check-$(date +%Y%m%d-%H%M%S)}
shift || true
steps=${*:-tests phases grid rates record memory train full}
mkdir -p "$out"
status=0

step() { # name, command ...: runs it, keeps what it prints, and goes on if it fails
    local name=$1
    shift
    echo "== $name: $*"
    "$@" 2>&1 | tee "$out/$name.txt"
    local code=${PIPESTATUS[0]}
    echo "== $name ended with status $code"
    [ "$code" = 0 ] || status=1
}

for name in $steps; do
    case $name in
    tests) step tests "$python" -m pytest -q -m "gpu or not gpu" tests/kernels tests/train/test_kernels.py \
        tests/train/test_residency.py ;;
    phases)
        step phases "$python" scripts/phase_table.py --json "$out/phases.json"
        step phases-one-realm "$python" scripts/phase_table.py --slots 1048576 --json "$out/phases-one-realm.json"
        ;;
    grid)
        step grid "$python" -m nmmo_gpu bench chaos --grid --columns environment --repeats 3 --json "$out/grid.json"
        ;;
    rates)
        step rates "$python" -m nmmo_gpu bench chaos --scale gpu --batches 512 2048 8192 --repeats 3 \
            --json "$out/rates.json"
        step rates-laptop-network "$python" -m nmmo_gpu bench chaos --batches 2048 --repeats 3 \
            --json "$out/rates-laptop-network.json"
        step rates-full "$python" -m nmmo_gpu bench full --scale gpu --batches 512 2048 --repeats 3 \
            --json "$out/rates-full.json"
        step adapters "$python" -m nmmo_gpu bench chaos --adapters --batches 512 --json "$out/adapters.json"
        ;;
    record)
        step record "$python" scripts/measure_recording.py chaos --scale gpu --births -1 --json "$out/record.json"
        step record-full "$python" scripts/measure_recording.py full --scale gpu --births -1 \
            --json "$out/record-full.json"
        ;;
    memory) step memory "$python" scripts/check_memory.py --scale gpu ;;
    train)
        step train "$python" -m nmmo_gpu train chaos --scale gpu --minutes 5 --run "$out/run"
        step eval "$python" -m nmmo_gpu eval "$out/run"
        ;;
    full)
        step train-full "$python" -m nmmo_gpu train full --scale gpu --minutes 5 --run "$out/run-full"
        step systems "$python" scripts/compare_systems.py "$out/run-full" --json "$out/systems.json"
        ;;
    *)
        echo "$name is no step; choose among tests, phases, grid, rates, record, memory, train, full." >&2
        exit 2
        ;;
    esac
done
echo "results are in $out"
exit $status
