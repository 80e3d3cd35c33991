#!/usr/bin/env bash
# Builds the tasks' images and writes what is uploaded: the image and, apart from it, the model.
#
#   ./export.sh [TASK ...] [--gpu] [--invoke] [--no-build] [--model DIR] [--out DIR]
#
#   --gpu         the image with PyTorch, as TASK-gpu.tar.gz
#   --invoke      the image that serves cases over HTTP, as TASK-invoke.tar.gz or TASK-gpu-invoke.tar.gz
#   --no-build    take the image as it is
#   --model DIR   the model folder of the one task; default algorithms/TASK/model
#   --out DIR     where to write the one task; default export/TASK
#
# Writes TASK.tar.gz, its bill of materials TASK.cdx.json, and model.tar.gz; reads both archives back
# by `medvial check`, and writes the image down in export/ledger.json. The same image and model give
# the same bytes. Makes .venv if need be.
option_no_build=
option_model=
option_out=
# shellcheck source=algorithms/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/algorithms/common.sh"

# Without a name and a time, so that the same content gives the same file.
compress() {
  if command -v pigz >/dev/null; then pigz -n; else gzip -n; fi
}

# check OUT FILE [options]: reads an archive back, and gives it its name if nothing is wrong with it.
check() {
  local out=$1 file=$2
  shift 2
  "$root/.venv/bin/medvial" check "$out/$file.part" "$@" || die "$out/$file must not be uploaded"
  mv "$out/$file.part" "$out/$file"
}

export_task() {
  local task=$1 image out model name
  image=$(image_of "$task")
  name=$task${option_gpu:+-gpu}${option_invoke:+-invoke}
  out=${option_out:-$root/export/$task}
  model=${option_model:-$root/algorithms/$task/model}
  need_image "$image"
  mkdir -p "$out"
  rm -f "$out/$name".{tar.gz,cdx.json} "$out/model.tar.gz"
  out=$(cd "$out" && pwd)
  "$root/.venv/bin/python" -m medvial_rehearsal.archive.pack "$model" "$out/model.tar.gz.part"
  check "$out" model.tar.gz --only-model
  docker save "$image" | compress >"$out/$name.tar.gz.part"
  check "$out" "$name.tar.gz" --record --ledger "$root/export/ledger.json" --sbom "$out/$name.cdx.json"
  say "$task: ready for upload in $out"
}

parse_arguments "--gpu --invoke --no-build --model= --out=" "$@"
# Two tasks in one folder would overwrite each other's model.tar.gz.
if [[ $option_model$option_out ]] && ((${#tasks[@]} > 1)); then
  die "expected one task with --model or --out, got ${#tasks[@]}: ${tasks[*]}"
fi
need_engine
# shellcheck source=setup.sh
source "$root/setup.sh"
if [[ ! $option_no_build ]]; then
  "$root/build.sh" "${tasks[@]}" ${option_gpu:+--gpu} ${option_invoke:+--invoke}
fi
for task in "${tasks[@]}"; do export_task "$task"; done
