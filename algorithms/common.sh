# What build.sh, test.sh and export.sh share. Sourced, not run; works from any folder.
# shellcheck shell=bash
set -euo pipefail
export LC_ALL=C  # decimal points in times

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
tasks=()
option_gpu=
option_invoke=

say() { echo "${0##*/}: $*"; }
die() {
  echo "${0##*/}: $*" >&2
  exit 2
}

known_tasks() {
  local program
  for program in "$root"/algorithms/*/process.py; do
    if [[ -e $program ]]; then basename "$(dirname "$program")"; fi
  done
}

# The comment at the top of the script is its help.
print_help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }

# parse_arguments "--flag --option= ..." "$@": sets option_flag=yes, option_option=VALUE and tasks.
parse_arguments() {
  local accepted=" --help $1 " name value
  shift
  while (($#)); do
    name=${1%%=*}
    if [[ $1 == -h || $1 == --help ]]; then
      print_help
      exit 0
    elif [[ $1 != -* ]]; then
      tasks+=("$1")
    elif [[ $accepted == *" $name= "* ]]; then
      if [[ $1 == *=* ]]; then value=${1#*=}; else
        (($# > 1)) || die "expected a value after $name"
        value=$2
        shift
      fi
      name=${name#--}
      printf -v "option_${name//-/_}" '%s' "$value"
    elif [[ $accepted == *" $1 "* ]]; then
      name=${name#--}
      printf -v "option_${name//-/_}" yes
    else
      die "unknown option $1; expected one of:${accepted% } (see --help)"
    fi
    shift
  done
  select_tasks
}

# Without a task on the command line: all of them.
select_tasks() {
  local known task
  known=$(known_tasks | tr '\n' ' ')
  [[ $known ]] || die "expected algorithms/TASK/process.py in $root, found none"
  for task in ${tasks[@]+"${tasks[@]}"}; do
    [[ " $known" == *" $task "* ]] || die "unknown task $task; expected one of: ${known% }"
  done
  # shellcheck disable=SC2206  # split at spaces on purpose
  ((${#tasks[@]})) || tasks=($known)
}

need_engine() {
  command -v docker >/dev/null || die "expected Docker, found no docker command: install Docker Engine or Docker Desktop"
  docker info >/dev/null 2>&1 || die "expected a running Docker engine, none answers: start it, or check your permissions with 'docker info'"
}

# latest, invoke, gpu or gpu-invoke.
image_of() {
  local tag=${option_gpu:+gpu}${option_gpu:+${option_invoke:+-}}${option_invoke:+invoke}
  echo "medvial-$1:${tag:-latest}"
}

need_image() {
  docker image inspect "$1" >/dev/null 2>&1 || die "expected the image $1, found none: run build.sh first"
}
