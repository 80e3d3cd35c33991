#!/usr/bin/env bash
# Runs the tasks' images as the platform would, and compares their outputs with the expected ones:
# `medvial rehearse TASK --quick` for each task.
#
#   ./test.sh [TASK ...] [--gpu] [--invoke] [--test-dir DIR] [--model DIR] [--time-limit SECONDS]
#
#   --gpu                  test the image medvial-TASK:gpu, on the GPU where the engine has one
#   --invoke               test the image medvial-TASK:invoke, the server
#   --test-dir DIR         the case: input/, expected_output.json, tolerances.json (optional), and
#                          further ones in folders of it; default algorithms/TASK/test
#   --model DIR            the model folder; default algorithms/TASK/model
#   --time-limit SECONDS   kill the container then; default 600
#
# No network, a read-only root, no capabilities, the image's own user, limits on memory, processes
# and shared memory. Fails when the program does, takes too long, writes to standard error, or when
# an output is missing, not expected, or further off than its tolerance. What was written is then
# kept in build/. `medvial rehearse TASK` tries much more.
option_test_dir=
option_model=
option_time_limit=600
option_invoke=
# shellcheck source=algorithms/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/algorithms/common.sh"

parse_arguments "--gpu --invoke --test-dir= --model= --time-limit=" "$@"
[[ $option_time_limit =~ ^[1-9][0-9]*$ ]] ||
  die "expected --time-limit to be whole seconds above 0, got $option_time_limit"
need_engine
# shellcheck source=setup.sh
source "$root/setup.sh"

options=(--quick --time-limit "$option_time_limit")
[[ $option_gpu ]] && options+=(--gpu)
[[ $option_invoke ]] && options+=(--invoke)
[[ $option_test_dir ]] && options+=(--test-dir "$option_test_dir")
[[ $option_model ]] && options+=(--model "$option_model")

failed=0
job= # in the background: a command in front would keep this shell from its signals
trap 'kill ${job:+"$job"} 2>/dev/null || true' EXIT
# The rehearsal removes its containers before it ends.
trap 'kill "$job" 2>/dev/null && wait "$job"; exit 130' INT
trap 'kill "$job" 2>/dev/null && wait "$job"; exit 143' TERM HUP
for task in "${tasks[@]}"; do
  "$root/.venv/bin/python" -m medvial_rehearsal.cli rehearse "$root/algorithms/$task" "${options[@]}" &
  job=$!
  wait "$job" || failed=1
  job=
done
exit "$failed"
