#!/usr/bin/env bash
# Runs the tasks' images as the platform would, and compares their outputs with the expected ones.
#
#   ./test.sh [TASK ...] [--gpu] [--test-dir DIR] [--model DIR] [--time-limit SECONDS]
#
#   --gpu                  test the image medvial-TASK:gpu, on the GPU where the engine has one
#   --test-dir DIR         the case: input/, expected_output.json, tolerances.json (optional);
#                          default algorithms/TASK/test
#   --model DIR            the model folder; default algorithms/TASK/model
#   --time-limit SECONDS   kill the container then; default 600
#
# No network, a read-only root, no capabilities, the image's own user, limits on memory, processes
# and shared memory. Fails when the program does, takes too long, writes to standard error, or when
# an output is missing, not expected, or further off than its tolerance. What was written is then
# kept.
option_test_dir=
option_model=
option_time_limit=600
# shellcheck source=algorithms/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/algorithms/common.sh"

limits=(
  --platform "$platform" --network none --read-only --tmpfs /tmp
  --cap-drop ALL --security-opt no-new-privileges --pids-limit 256
  --memory 8g --memory-swap 8g --shm-size 128m
  --ulimit "data=$((7 << 30))"  # the platform limits data to the memory less 1 GiB
)

# The engine may know the runtime on a host whose GPU is gone: the container would not start then.
gpu_arguments() {
  [[ $option_gpu && $(docker info --format '{{json .Runtimes}}') == *nvidia* ]] || return 0
  if nvidia-smi -L >/dev/null 2>&1; then echo "--gpus all"; fi
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

# Kills the container when its time is over. In steps of 1 s: whoever stops this leaves no long
# sleep behind, and it ends by itself when the script is gone.
watch_time() {
  local second
  for ((second = 0; second < option_time_limit; second++)); do
    sleep 1
    kill -0 "$$" || return
  done
  touch "$1/timed_out"
  docker kill "$container"
}

remove_container() { docker rm --force "$container" >/dev/null 2>&1 || true; }

# Prints the seconds from `docker run` to the result; the program's exit code is this function's.
run_image() {
  local image=$1 work=$2 started watch status=0
  started=${EPOCHREALTIME:-$SECONDS}
  # Created and started apart, so that the engine's own warnings stay out of the program's output.
  # shellcheck disable=SC2046  # no word or two
  docker create --name "$container" "${limits[@]}" $(gpu_arguments) \
    --volume "$work/input:/input:ro" --volume "$work/output:/output" \
    --volume "$work/model:/opt/ml/model:ro" "$image" >/dev/null || return
  watch_time "$work" >/dev/null 2>&1 &
  watch=$!
  docker start --attach "$container" >"$work/stdout.txt" 2>"$work/stderr.txt" || status=$?
  awk -v from="$started" -v to="${EPOCHREALTIME:-$SECONDS}" 'BEGIN { printf "%.1f", to - from }'
  kill "$watch" 2>/dev/null || true
  remove_container
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
  if [[ -e $work/timed_out ]]; then
    echo "  FAILED     still running after $option_time_limit s, and was killed"
    failed=yes
  elif ((status)); then
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

parse_arguments "--gpu --test-dir= --model= --time-limit=" "$@"
[[ $option_time_limit =~ ^[1-9][0-9]*$ ]] ||
  die "expected --time-limit to be whole seconds above 0, got $option_time_limit"
need_engine
failed=0
job= # in the background: a command in front would keep this shell from its signals
container=medvial-test-$$-$RANDOM
trap 'kill ${job:+"$job"} 2>/dev/null || true; remove_container' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
for task in "${tasks[@]}"; do
  set +e # off in this shell only: one task's failure does not keep the others from being tested
  (
    set -e
    test_task "$task"
  ) &
  job=$!
  wait "$job"
  failed=$((failed | $?))
  job=
  set -e
done
exit "$((failed != 0))"
