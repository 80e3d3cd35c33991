#!/usr/bin/env bash
# A recipe on the films of ISBI 2015: models of two networks that are trained on all films, as one model,
# which is calibrated by others that each leave out films of their own (a fold); first without the
# training films that Test1 repeats (leak-free), then with them, as published results are. Goes on
# where it stopped.
#
#   [MEMBERS=N] [FOLDS=N] benchmarks/isbi2015.sh ISBI_FOLDER [OUT] [CONFIG] [more options of step 2]
#
# ISBI_FOLDER has images/, landmarks_senior.csv and landmarks_junior.csv; CONFIG is isbi2015 (one GPU)
# or isbi2015-cpu; the second networks are trained by CONFIG-upright. MEMBERS models of two networks, 2
# to 8; as many as have 15 M parameters together if not given. FOLDS of four folds calibrate, 1 to 4;
# all on a CPU, two on a GPU if not given.
set -euo pipefail

source=${1:?ISBI_FOLDER [OUT] [CONFIG] [options of step 2]}
out=${2:-runs/isbi2015}
config=${3:-isbi2015}
shift $(($# < 3 ? $# : 3))
if [[ $config == isbi2015 ]]; then few=2; else few=4; fi
members=${MEMBERS:-$few} folds=${FOLDS:-$few} of=4

if [[ ! $members =~ ^[2-8]$ ]]; then
    echo "isbi2015.sh: expected MEMBERS from 2 to 8, got $members" >&2
    exit 1
fi
if [[ ! $folds =~ ^[1-$of]$ ]]; then
    echo "isbi2015.sh: expected FOLDS from 1 to $of, got $folds" >&2
    exit 1
fi
if [[ $out == *[],[]* ]]; then  # the models are given as a list
    echo "isbi2015.sh: expected an OUT without commas and brackets, got $out" >&2
    exit 1
fi

python=${PYTHON:-python}
steps="$(dirname "$0")/../training"
mkdir -p "$out"

# What is there already is not made again: it has to be of the same recipe.
recipe=$(printf '%s\n' "$source" "$config" "members on all films, folds of $of" "$@")
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

train() {  # DATA RUN SEED [options of step 2]: two networks, RUN-first and RUN
    local both=(--data "$1" --fit.seed "$3" "${@:4}")
    network "$config" "$2-first" "${both[@]}"
    network "$config-upright" "$2" --first "$2-first/model" "${both[@]}"
}

network() {  # CONFIG RUN [options of step 2]
    local config=$1 run=$2 resume=()
    shift 2
    [[ -f $run/checkpoints/last.ckpt ]] && resume=(--resume true)
    [[ -f $run/model/manifest.json ]] ||
        step step2_train_and_valid --config "$config" --run "$run" "${resume[@]}" "$@"
}

table() {  # FILE RUN...
    local file=$1 tests
    shift
    tests=$(printf ',%s/test' "$@")
    "$python" -m medvial_training.tasks.cldetection.seeds --out "$file" --tests "[${tests:1}]"
}

list() {  # FOLDER...: the models there, as the command line takes them
    local models
    models=$(printf ',%s/model' "$@")
    echo "[${models:1}]"
}

whole() {  # NAME KEEP_REPEATS [options of step 2]
    local name=$1 folder=$out/$1 keep=$2 judges=() runs=() number
    shift 2
    step step1_preprocess --config "$config" --source "$source/images" --labels "$out/isbi.csv" \
        --out "$folder/data" --keep_repeats "$keep"
    for ((number = 1; number <= members; number++)); do
        runs+=("$folder/all$number")
        train "$folder/data" "$folder/all$number" "$number" --fold.all true "$@"
        test_model "$folder/data" "$folder/all$number"
    done
    for ((number = 1; number <= folds; number++)); do
        judges+=("$folder/fold$number")
        train "$folder/data" "$folder/fold$number" $((10 + number)) \
            --fold.number "$number" --fold.of "$of" "$@"
    done
    local ensemble=$folder/ensemble$members-$folds
    [[ -f $ensemble/model/manifest.json ]] ||
        "$python" -m medvial_training.tasks.cldetection.ensemble --data "$folder/data" --views 1 \
            --members "$(list "${runs[@]}")" --calibrate_by "$(list "${judges[@]}")" \
            --out "$ensemble/model"
    test_model "$folder/data" "$ensemble"
    table "$out/$name-members.md" "${runs[@]}"
    table "$out/$name.md" "$ensemble"
}

whole leak-free false "$@"
whole published true "$@"
