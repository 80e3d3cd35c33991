#!/usr/bin/env bash
# A recipe on the films of ISBI 2015: models of two networks, each with validation films of its own (a
# fold), and all of them as one; first without the training films that Test1 repeats (leak-free), then
# with them, as published results are. Goes on where it stopped.
#
#   [MEMBERS=N] benchmarks/isbi2015.sh ISBI_FOLDER [OUT] [CONFIG] [more options of step 2]
#
# ISBI_FOLDER has images/, landmarks_senior.csv and landmarks_junior.csv; CONFIG is isbi2015 (one GPU)
# or isbi2015-cpu; the second networks are trained by CONFIG-upright. MEMBERS models of two networks, 2
# to 8; as many as have 15 M parameters together if not given.
set -euo pipefail

source=${1:?ISBI_FOLDER [OUT] [CONFIG] [options of step 2]}
out=${2:-runs/isbi2015}
config=${3:-isbi2015}
shift $(($# < 3 ? $# : 3))
if [[ $config == isbi2015 ]]; then members=${MEMBERS:-2}; else members=${MEMBERS:-4}; fi

if [[ ! $members =~ ^[2-8]$ ]]; then
    echo "isbi2015.sh: expected MEMBERS from 2 to 8, got $members" >&2
    exit 1
fi

python=${PYTHON:-python}
steps="$(dirname "$0")/../training"
mkdir -p "$out"

# What is there already is not made again: it has to be of the same recipe.
recipe=$(printf '%s\n' "$source" "$config" "$@")
if [[ -f $out/recipe.txt && $(<"$out/recipe.txt") != "$recipe" ]]; then
    echo "isbi2015.sh: expected an OUT of this recipe, got $out of another one:" \
        "$(tr '\n' ' ' <"$out/recipe.txt")- name another OUT" >&2
    exit 1
fi
printf '%s\n' "$recipe" >"$out/recipe.txt"

"$python" -m medvial_training.tasks.cldetection.isbi2015 "$source" "$out/isbi.csv"

step() {  # FILE [options]
    local file=$1
    shift
    "$python" "$steps/$file.py" cldetection "$@"
}

test_model() {  # DATA RUN
    [[ $2/test/metrics.json -nt $2/model/manifest.json ]] ||
        step step3_test_and_visualize --data "$1" --model "$2/model" --out "$2/test"
}

train() {  # CONFIG DATA RUN FOLD [options of step 2]
    local config=$1 data=$2 run=$3 fold=$4 resume=()
    shift 4
    [[ -f $run/checkpoints/last.ckpt ]] && resume=(--resume true)
    [[ -f $run/model/manifest.json ]] || step step2_train_and_valid --config "$config" --data "$data" \
        --run "$run" --fit.seed "$fold" --fold.number "$fold" --fold.of 8 "${resume[@]}" "$@"
}

table() {  # FILE RUN...
    local file=$1 tests
    shift
    tests=$(printf ',%s/test' "$@")
    "$python" -m medvial_training.tasks.cldetection.seeds --out "$file" --tests "[${tests:1}]"
}

whole() {  # NAME KEEP_REPEATS [options of step 2]
    local name=$1 folder=$out/$1 keep=$2 runs=() fold models ensemble
    shift 2
    step step1_preprocess --config "$config" --source "$source/images" --labels "$out/isbi.csv" \
        --out "$folder/data" --keep_repeats "$keep"
    for ((fold = 1; fold <= members; fold++)); do
        runs+=("$folder/upright$fold")
        train "$config" "$folder/data" "$folder/fold$fold" "$fold" "$@"
        train "$config-upright" "$folder/data" "$folder/upright$fold" "$fold" \
            --first "$folder/fold$fold/model" "$@"
        test_model "$folder/data" "$folder/upright$fold"
    done
    models=$(printf ',%s/model' "${runs[@]}")
    ensemble=$folder/ensemble$members
    [[ -f $ensemble/model/manifest.json ]] ||
        "$python" -m medvial_training.tasks.cldetection.ensemble --data "$folder/data" --views 1 \
            --members "[${models:1}]" --out "$ensemble/model"
    test_model "$folder/data" "$ensemble"
    table "$out/$name-members.md" "${runs[@]}"
    table "$out/$name.md" "$ensemble"
}

whole leak-free false "$@"
whole published true "$@"
