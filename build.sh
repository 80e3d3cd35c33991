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

platform=linux/amd64  # the only one that Grand Challenge runs

# An engine without a bridge network has only the host's to reach the package registry by.
network_arguments() {
  local networks
  networks=" $(docker network ls --format '{{.Name}}' | tr '\n' ' ')"
  [[ $networks == *" bridge "* ]] || echo "--network host"
}

# The revision with a mark where files differ from it; outside of git there is none.
revision() { git -C "$root" describe --always --dirty 2>/dev/null || echo unknown; }

# What is known of the sources, one label a line; the commit's date, for two builds to be the same.
labels() {
  local task=$1 created source
  echo "org.opencontainers.image.description=$(sed -n '1s/^"""\([^"]*\).*/\1/p' "$root/algorithms/$task/process.py")"
  echo "org.opencontainers.image.version=$(revision)"
  created=$(TZ=UTC git -C "$root" log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null) || return 0
  echo "org.opencontainers.image.created=$created"
  source=$(git -C "$root" config remote.origin.url || true)
  # Without a name and password; a path of this machine says nothing to others.
  if [[ $source == https://* ]]; then
    source=${source#https://}
    echo "org.opencontainers.image.source=https://${source##*@}"
  fi
}

build_image() {
  local task=$1 image dockerfile arguments label
  image=$(image_of "$task")
  dockerfile=$root/algorithms/$task/Dockerfile
  [[ -f $dockerfile ]] || dockerfile=$root/algorithms/Dockerfile
  arguments=(--platform "$platform" --file "$dockerfile" --tag "$image" --build-arg "TASK=$task")
  arguments+=(--build-arg "REVISION=$(revision)")
  while read -r label; do arguments+=(--label "$label"); done < <(labels "$task")
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
