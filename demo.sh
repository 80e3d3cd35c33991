#!/usr/bin/env bash
# The whole way of a task on phantoms, with nothing but this clone: set-up, steps 1 to 4 with a
# small model, and, where a Docker engine answers, the container.
#
#   ./demo.sh [TASK]
#
# Data, models and reports go below demo/TASK, which is made anew; the image is medvial-TASK:latest.
# Nothing that git tracks changes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

task=${1:-cldetection}
if [[ $task == -h || $task == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
  exit 0
fi
if [[ ! -f training/configs/$task/demo-step1.yaml || $# -gt 1 ]]; then
  known=$(cd training/configs && echo */demo-step1.yaml)
  echo "demo.sh: expected one task of: ${known//\/demo-step1.yaml/}; got: $*" >&2
  exit 2
fi
# shellcheck source=setup.sh
source ./setup.sh

python=.venv/bin/python
demo=demo/$task
config=training/configs/$task
export PYTHONUNBUFFERED=1
started=$SECONDS
say() { printf '\n== %s\n' "$*"; }

rm -rf "$demo"
mkdir -p "$demo"

say "Phantoms: drawn data with a known answer"
"$python" -m "medvial_training.phantoms.$task" --config "$config/demo-phantoms.yaml" --out "$demo/phantoms"

say "Step 1: preprocess"
"$python" training/step1_preprocess.py "$task" --config "$config/demo-step1.yaml" \
  --source "$demo/phantoms" --out "$demo/data"

say "Step 2: train and validate"
"$python" training/step2_train_and_valid.py "$task" --config "$config/demo-step2.yaml" \
  --data "$demo/data" --run "$demo/run"

say "Step 3: test and visualize"
"$python" training/step3_test_and_visualize.py "$task" \
  --data "$demo/data" --model "$demo/run/model" --out "$demo/run/test"

say "Step 4: predict the expected output"
container=
if [[ -f algorithms/$task/process.py ]]; then
  container=$demo/algorithm
  mkdir -p "$container"
  cp "algorithms/$task/process.py" "algorithms/$task/sockets.json" "$container/"
  cp -R "algorithms/$task/test" "$container/"
  "$python" training/step4_predict_expected_output.py "$task" \
    --run "$demo/run" --algorithm "$container"
else
  "$python" training/step4_predict_expected_output.py "$task" --run "$demo/run" --data "$demo/data"
fi

if [[ -z $container ]]; then
  say "$task has no container of its own: docs/$task.md says which one serves its models"
elif docker info >/dev/null 2>&1; then
  say "The container"
  ./build.sh "$task"
  ./test.sh "$task" --test-dir "$container/test" --model "$container/model"
else
  say "No Docker engine answers: the container was not built. With one: ./build.sh $task && ./test.sh $task"
fi

say "Done in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
cat <<END
report      $demo/run/test/report.html
pictures    $demo/run/test/
model       $demo/run/model/   (trained on phantoms: it says nothing about real data)
container   ${container:-none; the exported model is $demo/run/export/}
END
