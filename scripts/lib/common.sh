# Sourced by the scripts: where the tree is, how to say what happens, how many jobs to run.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT"
export LC_ALL=C.UTF-8
# A test must not depend on, or write into, the home of who runs it.
export CCACHE_DIR=${CCACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-$ROOT/build}/.cache}/ccache}

JOBS=${JOBS:-$(nproc)}

say() { printf '\n== %s\n' "$*"; }
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# retry N CMD...: runs CMD until it succeeds, at most N times, with a growing pause between.
retry() {
  local times=$1 try
  shift
  for ((try = 1; try <= times; try++)); do
    "$@" && return 0
    ((try < times)) && echo "attempt $try of $times failed: $*" >&2 && sleep $((try * 5))
  done
  return 1
}

# build PRESET [TARGET...]: configures once and builds.
build() {
  local preset=$1
  shift
  if [ ! -f "build/$preset/build.ninja" ]; then
    cmake --preset "$preset" > "build/$preset.configure.log" 2>&1 || {
      cat "build/$preset.configure.log"
      return 1
    }
  fi
  cmake --build --preset "$preset" -j "$JOBS" "${@/#/--target=}"
}

mkdir -p build
