#!/usr/bin/env bash
# A recipe on the films of ISBI 2015: three seeds without the training films that Test1 repeats, the
# three as one model, and one with those films, as published results are. Goes on where it stopped.
#
#   benchmarks/isbi2015.sh ISBI_FOLDER [OUT] [CONFIG] [more options of step 2]
#
# ISBI_FOLDER has images/, landmarks_senior.csv and landmarks_junior.csv; CONFIG is isbi2015 (one GPU)
# or isbi2015-cpu.
set -euo pipefail

source=${1:?ISBI_FOLDER [OUT] [CONFIG] [options of step 2]}
out=${2:-runs/isbi2015}
config=${3:-isbi2015}
shift $(($# < 3 ? $# : 3))

python=${PYTHON:-python}
steps="$(dirname "$0")/../training"
mkdir -p "$out"
"$python" -m medvial_training.tasks.cldetection.isbi2015 "$source" "$out/isbi.csv"

prepare() {  # DATA [options]
    "$python" "$steps/step1_preprocess.py" cldetection --config "$config" \
        --source "$source/images" --labels "$out/isbi.csv" --out "$@"
}

test_model() {  # DATA RUN
    [[ -f $2/test/metrics.json ]] || "$python" "$steps/step3_test_and_visualize.py" cldetection \
        --data "$1" --model "$2/model" --out "$2/test"
}

train_and_test() {  # DATA RUN SEED [options of step 2]
    local data=$1 run=$2 seed=$3 resume=()
    shift 3
    [[ -f $run/checkpoints/last.ckpt ]] && resume=(--resume true)
    [[ -f $run/model/manifest.json ]] || "$python" "$steps/step2_train_and_valid.py" cldetection \
        --config "$config" --data "$data" --run "$run" --fit.seed "$seed" "${resume[@]}" "$@"
    test_model "$data" "$run"
}

prepare "$out/data"
for seed in 1 2 3; do
    train_and_test "$out/data" "$out/seed$seed" "$seed" "$@"
done
[[ -f $out/ensemble/model/manifest.json ]] ||
    "$python" -m medvial_training.tasks.cldetection.ensemble --data "$out/data" --views 1 \
        --members "[$out/seed1/model,$out/seed2/model,$out/seed3/model]" --out "$out/ensemble/model"
test_model "$out/data" "$out/ensemble"
prepare "$out/data-published" --keep_repeats true
train_and_test "$out/data-published" "$out/published" 1 "$@"

"$python" -m medvial_training.tasks.cldetection.seeds --out "$out/leak-free.md" \
    --tests "[$out/seed1/test,$out/seed2/test,$out/seed3/test]"
"$python" -m medvial_training.tasks.cldetection.seeds --out "$out/ensemble.md" \
    --tests "[$out/ensemble/test]"
"$python" -m medvial_training.tasks.cldetection.seeds --out "$out/published.md" \
    --tests "[$out/published/test]"
