#!/usr/bin/env bash
# Makes .venv from the hash-locked requirements.txt, once; demo.sh and check.sh source it.
# PYTHON=python3.12 ./setup.sh picks another interpreter (3.11 to 3.13: PyTorch 2.7 has no other).
set -euo pipefail

setup_venv() {
  local root python stamp free need=11
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
  python=${PYTHON:-python3}
  stamp=$root/.venv/.requirements.sha256
  if [[ -f $stamp ]] && (cd "$root" && sha256sum --check --status "$stamp"); then return; fi
  if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then
    echo "setup: expected Python 3.11, 3.12 or 3.13, got $("$python" --version 2>&1): set PYTHON" >&2
    return 1
  fi
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "setup: $python has no venv module. On Debian: apt-get install python3-venv" >&2
    return 1
  fi
  free=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1e6) }')
  if ((free < need)); then
    echo "setup: expected $need GB free below $root (7 to keep, the rest while pip unpacks)," \
      "got $free GB: make room, or clone to a larger disk" >&2
    return 1
  fi
  echo "setup: making .venv (about 2 minutes; 3 GB of packages)"
  "$python" -m venv "$root/.venv"
  "$root/.venv/bin/pip" install -qq --require-hashes --requirement "$root/requirements.txt"
  "$root/.venv/bin/pip" install -qq --no-deps --no-build-isolation \
    --editable "$root/shared" --editable "$root/training" \
    --editable "$root/rehearsal"
  # The networks of gait that find people; the other tasks do without.
  "$root/.venv/bin/python" -m medvial.gait.fetch_weights >/dev/null ||
    echo "setup: gait finds nobody until they are fetched" >&2
  (cd "$root" && sha256sum requirements.txt {shared,training,rehearsal}/pyproject.toml >"$stamp")
}

setup_venv
