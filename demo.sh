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
if [[ ! -f algorithms/$task/process.py || $# -gt 1 ]]; then
  known=$(cd algorithms && echo */process.py)
  echo "demo.sh: expected one task of: ${known//\/process.py/}; got: $*" >&2
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
mkdir -p "$demo/algorithm"
cp "algorithms/$task/process.py" "algorithms/$task/sockets.json" "$demo/algorithm/"
cp -R "algorithms/$task/test" "$demo/algorithm/"
"$python" training/step4_predict_expected_output.py "$task" \
  --run "$demo/run" --algorithm "$demo/algorithm"

if docker info >/dev/null 2>&1; then
  say "The container"
  ./build.sh "$task"
  ./test.sh "$task" --test-dir "$demo/algorithm/test" --model "$demo/algorithm/model"
else
  say "No Docker engine answers: the container was not built. With one: ./build.sh $task && ./test.sh $task"
fi

say "Done in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s"
cat <<END
report      $demo/run/test/report.html
pictures    $demo/run/test/overlays/
model       $demo/run/model/   (trained on phantoms: it says nothing about real data)
container   $demo/algorithm/
END
