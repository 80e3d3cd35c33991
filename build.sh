#!/usr/bin/env bash
# Builds the container images of the tasks, by default of all.
#
#   ./build.sh [TASK ...] [--gpu] [--invoke]
#
#   --gpu      the image with PyTorch for CUDA 12.6, medvial-TASK:gpu, instead of the small one with
#              ONNX Runtime for the CPU, medvial-TASK:latest
#   --invoke   the image that serves cases over HTTP, medvial-TASK:invoke or :gpu-invoke, instead of
#              the one that runs once a case
#
# BASE_IMAGE=... in the environment replaces python:3.11-slim-bookworm.
BASE_IMAGE=${BASE_IMAGE:-}
# shellcheck source=algorithms/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/algorithms/common.sh"

# An engine without a bridge network has only the host's to reach the package registry by.
network_arguments() {
  local networks
  networks=" $(docker network ls --format '{{.Name}}' | tr '\n' ' ')"
  [[ $networks == *" bridge "* ]] || echo "--network host"
}

build_image() {
  local task=$1 image dockerfile arguments
  image=$(image_of "$task")
  dockerfile=$root/algorithms/$task/Dockerfile
  [[ -f $dockerfile ]] || dockerfile=$root/algorithms/Dockerfile
  arguments=(--platform "$platform" --file "$dockerfile" --tag "$image" --build-arg "TASK=$task")
  arguments+=(--build-arg "REVISION=$(git -C "$root" describe --always --dirty 2>/dev/null || echo unknown)")
  [[ $option_invoke ]] && arguments+=(--build-arg API_METHOD=invoke)
  [[ $option_gpu ]] && arguments+=(--build-arg REQUIREMENTS=requirements-gpu.txt)
  [[ $BASE_IMAGE ]] && arguments+=(--build-arg "BASE_IMAGE=$BASE_IMAGE")
  # shellcheck disable=SC2046  # no word or two
  docker build "${arguments[@]}" $(network_arguments) "$root"
  say "$image: $(($(docker image inspect --format '{{.Size}}' "$image") / 1000000)) MB unpacked"
}

parse_arguments "--gpu --invoke" "$@"
need_engine
for task in "${tasks[@]}"; do build_image "$task"; done
