#!/usr/bin/env bash
# Runs the tasks' images as the platform would, and compares their outputs with the expected ones.
#
#   ./test.sh [TASK ...] [--gpu] [--test-dir DIR] [--model DIR]
#
#   --gpu            test the image medvial-TASK:gpu, on the GPU where the engine has one
#   --test-dir DIR   the case: input/, expected_output.json, tolerances.json (optional);
#                    default algorithms/TASK/test
#   --model DIR      the model folder; default algorithms/TASK/model
#
# No network, a read-only root, no capabilities, the image's own user, limits on memory, processes
# and shared memory. Fails when the program does, writes to standard error, or when an output is
# missing, not expected, or further off than its tolerance. What was written is then kept.
option_test_dir=
option_model=
# shellcheck source=algorithms/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/algorithms/common.sh"

limits=(
  --platform "$platform" --network none --read-only --tmpfs /tmp
  --cap-drop ALL --security-opt no-new-privileges --pids-limit 256
  --memory 8g --memory-swap 8g --shm-size 128m
  --ulimit "data=$((7 << 30))"  # the platform limits data to the memory less 1 GiB
)

gpu_arguments() {
  [[ $option_gpu ]] || return 0
  if [[ $(docker info --format '{{json .Runtimes}}') == *nvidia* ]]; then echo "--gpus all"; fi
}

prepare() {
  local test_dir=$1 model=$2 work=$3
  mkdir -p "$work/output" "$work/expected"
  cp -R "$test_dir/input" "$work/input"
  cp -R "$model" "$work/model"
  cp "$test_dir/expected_output.json" "$work/expected/"
  if [[ -f $test_dir/tolerances.json ]]; then cp "$test_dir/tolerances.json" "$work/expected/"; fi
  # The image's user is not the one who runs this.
  chmod -R a+rX,go-w "$work"
  chmod 777 "$work/output"
}

# Prints the seconds from `docker run` to the result; the program's exit code is this function's.
run_image() {
  local image=$1 work=$2 container started status=0
  started=${EPOCHREALTIME:-$SECONDS}
  # Created and started apart, so that the engine's own warnings stay out of the program's output.
  # shellcheck disable=SC2046  # no word or two
  container=$(docker create "${limits[@]}" $(gpu_arguments) --volume "$work/input:/input:ro" \
    --volume "$work/output:/output" --volume "$work/model:/opt/ml/model:ro" "$image") || return
  docker start --attach "$container" >"$work/stdout.txt" 2>"$work/stderr.txt" || status=$?
  awk -v from="$started" -v to="${EPOCHREALTIME:-$SECONDS}" 'BEGIN { printf "%.1f", to - from }'
  docker rm --force "$container" >/dev/null
  return "$status"
}

compare() {
  local image=$1 work=$2 arguments
  arguments=(/work/expected/expected_output.json /work/output --model /work/model)
  [[ -f $work/expected/tolerances.json ]] && arguments+=(--tolerances /work/expected/tolerances.json)
  in_image --volume "$work:/work:ro" --entrypoint python "$image" -m medvial.compare "${arguments[@]}"
}

remove() {
  rm -rf "$2" 2>/dev/null && return  # folders that the image's user made are not ours to remove
  in_image --volume "$2:/work" --entrypoint rm "$1" -rf /work/output || true
  rm -rf "$2"
}

test_task() {
  local task=$1 image test_dir model work seconds status=0
  image=$(image_of "$task")
  test_dir=${option_test_dir:-$root/algorithms/$task/test}
  model=${option_model:-$root/algorithms/$task/model}
  need_image "$image"
  [[ -d $test_dir/input ]] || die "expected a case in $test_dir/input, found no such folder"
  [[ -f $test_dir/expected_output.json ]] || die "expected $test_dir/expected_output.json, found none: run step 4"
  [[ -d $model ]] || die "expected a model folder at $model, found none: run step 4"
  mkdir -p "$root/build"
  work=$(mktemp -d "$root/build/test-$task.XXXXXX")
  prepare "$test_dir" "$model" "$work"
  seconds=$(run_image "$image" "$work") || status=$?
  verdict "$image" "$work" "$status" || {
    say "$task: FAILED after $seconds s; what it wrote is in $work" >&2
    return 1
  }
  remove "$image" "$work"
  say "$task: passed; $seconds s from docker run to the result"
}

verdict() {
  local image=$1 work=$2 status=$3 failed=
  if ((status)); then
    echo "  FAILED     exit code $status"
    failed=yes
  fi
  if [[ -s $work/stderr.txt ]]; then
    echo "  FAILED     wrote to standard error, which the platform shows as a warning:"
    sed 's/^/    /' "$work/stderr.txt"
    failed=yes
  fi
  [[ $failed ]] || compare "$image" "$work" || failed=yes
  [[ ! $failed ]]
}

parse_arguments "--gpu --test-dir= --model=" "$@"
need_engine
failed=0
for task in "${tasks[@]}"; do
  set +e # off in this shell only: one task's failure does not keep the others from being tested
  (
    set -e
    test_task "$task"
  )
  failed=$((failed | $?))
  set -e
done
exit "$((failed != 0))"
