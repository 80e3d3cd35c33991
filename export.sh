#!/usr/bin/env bash
# Builds the tasks' images and writes what is uploaded: the image and, apart from it, the model.
#
#   ./export.sh [TASK ...] [--gpu] [--no-build] [--model DIR] [--out DIR]
#
#   --gpu         the image with PyTorch, as TASK-gpu.tar.gz
#   --no-build    take the image as it is
#   --model DIR   the model folder of the one task; default algorithms/TASK/model
#   --out DIR     where to write the one task; default export/TASK
#
# Writes TASK.tar.gz and model.tar.gz, reads both back and checks them, then prints their sizes and
# sha256 sums. The same image and model give the same bytes.
option_no_build=
option_model=
option_out=
# shellcheck source=algorithms/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/algorithms/common.sh"

# Without a name and a time, so that the same content gives the same file.
compress() {
  if command -v pigz >/dev/null; then pigz -n; else gzip -n; fi
}

# Root-relative, sorted, without the host's owners, modes and times; links become files.
pack_model() {
  in_image --volume "$2:/model:ro" --entrypoint tar "$1" --create --directory /model --sort=name \
    --dereference --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime=@0 .
}

# Reads an archive back, and gives it its name only if nothing is wrong with it.
check() {
  in_image --volume "$2:/export:ro" --entrypoint python "$1" -m medvial.archive "$3" "/export/$4.part" ||
    die "$2/$4 must not be uploaded"
  mv "$2/$4.part" "$2/$4"
}

export_task() {
  local task=$1 image out model name
  image=$(image_of "$task")
  name=$task${option_gpu:+-gpu}.tar.gz
  out=${option_out:-$root/export/$task}
  model=${option_model:-$root/algorithms/$task/model}
  need_image "$image"
  [[ -f $model/manifest.json ]] || die "expected a model folder with manifest.json at $model: run step 4"
  mkdir -p "$out"
  rm -f "$out/$name" "$out/model.tar.gz"
  out=$(cd "$out" && pwd)
  pack_model "$image" "$(cd "$model" && pwd)" | compress >"$out/model.tar.gz.part"
  check "$image" "$out" --model model.tar.gz
  docker save "$image" | compress >"$out/$name.part"
  check "$image" "$out" --image "$name"
  say "$task: ready for upload in $out"
}

parse_arguments "--gpu --no-build --model= --out=" "$@"
# Two tasks in one folder would overwrite each other's model.tar.gz.
if [[ $option_model$option_out ]] && ((${#tasks[@]} > 1)); then
  die "expected one task with --model or --out, got ${#tasks[@]}: ${tasks[*]}"
fi
need_engine
if [[ ! $option_no_build ]]; then
  "$root/build.sh" "${tasks[@]}" ${option_gpu:+--gpu}
fi
for task in "${tasks[@]}"; do export_task "$task"; done
