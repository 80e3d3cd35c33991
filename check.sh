#!/usr/bin/env bash
# Checks the code: makes .venv if need be, then lint, formatting, types, scripts and the fast tests.
#
#   ./check.sh
#
# Builds no image and needs no data: .ci/run does everything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

case ${1:-} in
  "") ;;
  -h | --help)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
  *)
    echo "check.sh: unknown option $1; expected none (see --help)" >&2
    exit 2
    ;;
esac

# shellcheck source=setup.sh
source ./setup.sh
bin=.venv/bin
$bin/ruff check
$bin/ruff format --check
$bin/mypy shared training rehearsal algorithms
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
$bin/shellcheck --external-sources "${scripts[@]}"
# One thread a process: two processes of two threads each wait for one another.
export OMP_NUM_THREADS=1
$bin/python -m pytest -q -n 2 --dist loadfile -m "not docker and not data and not gpu and not slow"
echo "check.sh: all passed in $((SECONDS / 60)) min $((SECONDS % 60)) s"
