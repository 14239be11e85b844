#!/usr/bin/env bash
# Everything that wants a machine with a GPU, in one command, from a plain checkout and without a package registry:
#
#     bench/gpu.sh [install] [tests] [runtime [OPTION...]] [train NETWORK [OPTION...]]     default: install tests runtime
#     bench/gpu.sh join NETWORK [FOLDER]
#
#   install   the package in editable mode; whatever it needs must be there already
#   tests     all tests that run on the GPU, the contract of the kernels among them; if one fails, nothing else is done
#   runtime   timing tables against PyTorch, in $OUT/runtime.json; options go to bench/runtime.py
#   train     python -m train.NETWORK (burst or single) with these options for the time that is left; a run that is there
#             is resumed. What it leaves is packed into parts of 15 MiB: $OUT/NETWORK.tar.00, 01, ...
#   join      unpack such parts (from FOLDER, default $OUT) into $RUNS, to look at or to resume
#
# Variables: OUT, folder of what is to be kept (default runs/gpu); RUNS, folder of training runs (default runs/on-gpu);
# LIMIT, seconds for all parts together (default 540); KEEP, largest sum of the parts in MiB (default 60): a checkpoint
# that does not fit is left out; PYTHON (default python3). A table of what was done comes last.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1
OUT=${OUT:-runs/gpu} RUNS=${RUNS:-runs/on-gpu} LIMIT=${LIMIT:-540} KEEP=${KEEP:-60} PYTHON=${PYTHON:-python3}
RESERVE=60 # seconds at the end of a training run, for its last validation and pictures
TABLE="" FAILED=0
mkdir -p "$OUT" "$RUNS" || exit 1

usage() {
    sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$0" >&2
    exit 2
}

# note PART STATUS SECONDS WHAT: a line for the table
note() {
    local result=ok
    [ "$2" -eq 0 ] || result="failed ($2)" FAILED=1
    TABLE+=$(printf '%-13s %-12s %5d s   %s' "$1" "$result" "$3" "$4")$'\n'
}

finish() {
    printf '\n%s\n%s' "part          result         time   what" "$TABLE"
    exit "$FAILED"
}

install_package() {
    local begun=$SECONDS status
    "$PYTHON" -m pip install --quiet --no-deps --no-build-isolation -e .
    status=$?
    note install $status $((SECONDS - begun)) "$("$PYTHON" --version)"
    [ $status -eq 0 ] || finish
}

run_tests() {
    local begun=$SECONDS status
    # In one process, with the options of pytest itself only: there may be no pytest-xdist.
    "$PYTHON" -m pytest -o addopts="-ra --strict-markers" -q -m gpu tests 2>&1 | tee "$OUT/tests.log"
    status=$?
    note tests $status $((SECONDS - begun)) "$(tail -n 1 "$OUT/tests.log")"
    [ $status -eq 0 ] || finish
}

measure() {
    local begun=$SECONDS left=$((LIMIT - SECONDS))
    timeout -s INT $((left > 1 ? left : 1)) \
        "$PYTHON" bench/runtime.py --device cuda --peers torch --json "$OUT/runtime.json" "$@"
    note runtime $? $((SECONDS - begun)) "$OUT/runtime.json"
}

# pack NETWORK: what a run has left, in parts
pack() {
    local folder="$RUNS/$1" files
    files=$(cd "$folder" && ls model.safetensors summary.json metrics.csv curve.png validation.png 2>/dev/null)
    local total
    total=$(cd "$folder" && du -cm checkpoint.safetensors $files | tail -n 1 | cut -f 1)
    [ "$total" -gt "$KEEP" ] || files+=" checkpoint.safetensors"
    rm -f "$OUT/$1".tar.*
    tar -C "$RUNS" -cf - $(printf "$1/%s " $files) | split -b 15M -d -a 2 - "$OUT/$1.tar."
}

train() {
    local network=$1 begun=$SECONDS left status resume=""
    shift
    left=$((LIMIT - SECONDS - RESERVE))
    [ ! -e "$RUNS/$network/checkpoint.safetensors" ] || resume=--resume
    if [ $left -lt 30 ]; then
        note "train $network" 1 0 "no time left: raise LIMIT, or leave parts away"
        return
    fi
    # An interrupted run writes its checkpoint, validates and ends with status 130.
    timeout --preserve-status -s INT -k $RESERVE $left \
        "$PYTHON" -m "train.$network" --device cuda --out "$RUNS/$network" --quiet $resume "$@"
    status=$?
    [ $status -ne 130 ] || [ ! -e "$RUNS/$network/summary.json" ] || status=0
    note "train $network" $status $((SECONDS - begun)) "$(
        "$PYTHON" -c 'import json, sys; s = json.load(open(sys.argv[1])); print(s["steps"], "steps,", s["seconds"], "s")' \
            "$RUNS/$network/summary.json" 2>/dev/null
    )"
    [ ! -e "$RUNS/$network/checkpoint.safetensors" ] || pack "$network"
}

[ $# -gt 0 ] || set -- install tests runtime
while [ $# -gt 0 ]; do
    part=$1
    shift
    case $part in
        install) install_package ;;
        tests) run_tests ;;
        runtime)
            options=()
            while [ $# -gt 0 ] && [ "$1" != train ]; do
                options+=("$1")
                shift
            done
            measure "${options[@]}"
            ;;
        train)
            case ${1:-} in burst | single) ;; *) usage ;; esac
            train "$@"
            break
            ;;
        join)
            [ $# -gt 0 ] || usage
            cat "${2:-$OUT}/$1".tar.* | tar -C "$RUNS" -xf - && ls -l "$RUNS/$1"
            exit
            ;;
        *) usage ;;
    esac
done
finish
