#!/usr/bin/env bash
# Makes .venv and installs Tandem into it. Safe to run again: it does nothing when nothing it installs from has changed,
# and starts afresh after an installation that was cut off.
#   deploy/install.sh [EXTRAS]    default: cpu,dev
set -euo pipefail
cd "$(dirname "$0")/.."
extras="${1:-cpu,dev}"

fail() {
  echo "cannot install Tandem: $1" >&2
  exit 2
}

find_python() {
  for candidate in ${PYTHON:-} python3.11 python3; do
    if command -v "$candidate" >/dev/null && [ "$("$candidate" -c 'import sys; print(*sys.version_info[:2])')" = "3 11" ]; then
      echo "$candidate"
      return
    fi
  done
  found="$(python3 --version 2>&1 || true)"
  fail "it needs Python 3.11, found ${found:-none}; install python3.11 (on Debian: python3.11 python3.11-venv python3.11-dev) or set PYTHON to it"
}

# hnswlib is compiled at installation, the ranker when it is exported: both need C++17 with OpenMP and Python's headers.
check_compiler() {
  compiler="${CXX:-c++}"
  command -v "$compiler" >/dev/null || fail "it needs a C++ compiler, and there is no '$compiler'; install g++ 9 or newer (on Debian: g++)"
  scratch="$(mktemp -d)"
  trap 'rm -rf "$scratch"' RETURN
  printf '#include <optional>\n#include <omp.h>\nint main() { return omp_get_max_threads() < std::optional<int>(1).value(); }\n' >"$scratch/a.cpp"
  "$compiler" -std=c++17 -fopenmp "$scratch/a.cpp" -o "$scratch/a" 2>"$scratch/errors" ||
    fail "'$compiler' ($("$compiler" -dumpversion)) cannot compile C++17 with OpenMP; install g++ 9 or newer: $(head -n 1 "$scratch/errors")"
  include="$("$1" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')"
  [ -f "$include/Python.h" ] || fail "Python's headers are missing (no $include/Python.h); install them (on Debian: python3.11-dev)"
}

python="$(find_python)" || exit 2
check_compiler "$python"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv module is missing; install it (on Debian: python3.11-venv)"

wanted="$extras $(cat pyproject.toml constraints.txt deploy/install.sh | "$python" -c 'import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())')"
if [ "$(cat .venv/installed 2>/dev/null || true)" = "$wanted" ]; then
  exit 0
fi

echo "Installing Tandem into .venv (a few minutes, about 2 GB) ..."
if [ ! -x .venv/bin/pip ]; then
  rm -rf .venv
  "$python" -m venv .venv
fi
rm -f .venv/installed
pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt)
"${pip[@]}" torch==2.13.0
# torchrec asks for the CUDA build of fbgemm by name; what it needs besides stands in pyproject.toml.
"${pip[@]}" --no-deps torchrec==1.8.0
"${pip[@]}" --editable ".[$extras]"
echo "$wanted" >.venv/installed
echo "Installed."
