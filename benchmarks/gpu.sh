#!/usr/bin/env bash
# Tests and measures napari-lrcs on a machine with an NVIDIA GPU and no internet access.
#   benchmarks/gpu.sh prepare      on a machine with internet access: fetches the wheels that the
#                                  other one lacks, into benchmarks/wheels
#   benchmarks/gpu.sh run [FILE]   on the machine with the GPU, in a copy of this folder with
#                                  benchmarks/wheels: prints rows for RESULTS.md, as they
#                                  come, and writes them to FILE (benchmarks/gpu-rows.md)
# LRCS_GPU_TRIAL=1 benchmarks/gpu.sh run   tries the script on the processor, in small sizes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
wheels=benchmarks/wheels

prepare() {
  python3 benchmarks/gpu.py prepare "$wheels"
  du -sh "$wheels"
}

# Run a script that prints rows, for at most $1 seconds. What it printed by then stays.
limited() {
  local seconds=$1 code=0
  shift
  timeout --signal=INT --kill-after=5 "$seconds" python3 "$@" || code=$?
  case $code in
  0) ;;
  124 | 137) echo "| \`$*\` | – | cut off after $seconds s |" ;;
  *) echo "| \`$*\` | – | failed with exit code $code |" ;;
  esac
}

# Seconds add up to about 8 minutes.
measure() {
  local device=cuda
  [ -z "${LRCS_GPU_TRIAL:-}" ] || device=cpu
  python3 benchmarks/gpu.py header
  limited 120 benchmarks/gpu.py tests
  limited 90 benchmarks/gpu.py train
  limited 160 benchmarks/gpu.py predict
  limited 120 benchmarks/network.py --device "$device"
}

run() {
  compgen -G "$wheels/*.whl" >/dev/null || {
    echo "error: $wheels has no wheels; run benchmarks/gpu.sh prepare where there is a network" >&2
    exit 2
  }
  site=$(mktemp --directory)
  trap 'rm -rf "$site"' EXIT
  python3 -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir \
    --disable-pip-version-check --target "$site" "$wheels"/*.whl
  export PYTHONPATH=$PWD/src:$site PYTHONUNBUFFERED=1
  measure | tee "${1:-benchmarks/gpu-rows.md}"
}

case ${1:-} in
prepare) prepare ;;
run) run "${@:2}" ;;
*)
  echo "error: say what to do: benchmarks/gpu.sh prepare or benchmarks/gpu.sh run" >&2
  exit 2
  ;;
esac
