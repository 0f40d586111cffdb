# The stages of scripts/test. A stage is a function that runs commands through `count`, which adds up
# what they passed, failed and skipped. Sourced after common.sh.
PYTHON=build/venv/bin/python
export INHOUSE_BIN=${INHOUSE_BIN:-$ROOT/build/dev/inhouse}
LOGS=build/logs

# run_stage NAME: sets STAGE_PASSED, STAGE_FAILED, STAGE_SKIPPED.
run_stage() {
  STAGE_PASSED=0 STAGE_FAILED=0 STAGE_SKIPPED=0
  mkdir -p "$LOGS"
  "stage_${1//-/_}"
}

# count NAME CMD...: runs CMD, shows its output, and adds up what it says.
count() {
  local name=$1 status=0
  shift
  "$@" < /dev/null 2>&1 | tee "$(log_of "$name")" || status=$?
  tally "$name" "$status"
}

log_of() { echo "$LOGS/${1//\//_}.log"; }

# tally NAME STATUS: adds up the last "N passed, M failed[, K skipped]" of a log. A command that says
# nothing of the kind is one test; one that ends badly without a failed count is one failure more.
tally() {
  local name=$1 status=$2 p=0 f=0 s=0
  if [[ $(grep -Eo '[0-9]+ passed, [0-9]+ failed(, [0-9]+ skipped)?' "$(log_of "$name")" | tail -n 1) =~ ^([0-9]+)[^0-9]+([0-9]+)[^0-9]+([0-9]*) ]]; then
    p=${BASH_REMATCH[1]} f=${BASH_REMATCH[2]} s=${BASH_REMATCH[3]:-0}
  elif [ "$status" -eq 0 ]; then
    p=1
  fi
  [ "$status" -eq 0 ] || [ "$f" -gt 0 ] || f=1
  [ "$f" -eq 0 ] || echo "FAILED: $name"
  STAGE_PASSED=$((STAGE_PASSED + p)) STAGE_FAILED=$((STAGE_FAILED + f)) STAGE_SKIPPED=$((STAGE_SKIPPED + s))
}

# count_files FILE...: Python tests, JOBS at a time (they mostly wait for a server), each shown when it ends.
count_files() {
  local file running=0
  for file in "$@"; do
    if [ "$running" -ge "$JOBS" ]; then
      wait -n || true
      running=$((running - 1))
    fi
    python_file "$file" &
    running=$((running + 1))
  done
  wait
  for file in "$@"; do tally "$file" "$(cat "$(log_of "$file").status" || echo 1)"; done
}

python_file() {
  local file=$1 log status=0
  log=$(log_of "$file")
  rm -f "$log.status"
  case $file in
    *_test.py) "$PYTHON" tests/run_python.py "$file" < /dev/null > "$log" 2>&1 || status=$? ;;
    *) "$PYTHON" "$file" < /dev/null > "$log" 2>&1 || status=$? ;;
  esac
  echo "$status" > "$log.status"
  flock "$LOGS" cat "$log"
}

# Says what a long command does in one line each 20 lines; everything when it fails.
quietly() {
  local log=$LOGS/quiet.$BASHPID.log status=0
  "$@" > "$log" 2>&1 || status=$?
  if [ "$status" -eq 0 ]; then tail -n 2 "$log"; else grep -vE '^\[[0-9]+/[0-9]+\]' "$log" | tail -n 80; fi
  rm -f "$log"
  return "$status"
}

# A tree whose build failed cannot be tested: the stage that needs it fails once, and says so.
built() {
  quietly build "$@" && return 0
  echo "build of preset $1 failed"
  return 1
}

stage_build() { count build built dev; }

stage_tidy() {
  count tidy python3 tests/tidy/tidy.py
  count tidy_test python3 tests/run_python.py tests/tidy/tidy_test.py
}

# Every public header compiles on its own.
stage_headers() { count headers built dev all_verify_interface_header_sets; }

# unit_tests PRESET [TARGET]: ctest runs the binaries; GoogleTest's own reports say how many tests they held.
unit_tests() {
  local preset=$1
  built "$preset" "${2:-unit_tests}" || return 1
  rm -rf "build/$preset/reports" && mkdir -p "build/$preset/reports"
  GTEST_OUTPUT="xml:$ROOT/build/$preset/reports/" ctest --preset "$preset" -j "$JOBS" \
    --output-junit "$ROOT/build/$preset/reports/ctest.junit" --no-tests=error || true
  python3 tests/count_ctest.py "build/$preset/reports"
}

stage_unit() { count unit unit_tests dev; }

# Python tests that cross rooms: tests/<stage>/**/*_test.py, and run.py where a stage is one program.
python_stage() {
  local files
  built dev || { STAGE_FAILED=1 && return; }
  mapfile -t files < <(find "tests/$1" -name '*_test.py' -o -name run.py | sort)
  count_files "${files[@]}"
}

stage_golden() { python_stage golden; }
stage_conformance() { python_stage conformance; }
stage_integration() { python_stage integration; }

fuzz_targets() {
  built fuzz fuzzers || return 1
  python3 tests/fuzz/run.py --seconds "${FUZZ_SECONDS:-5}" --jobs "$JOBS"
}
stage_fuzz() { count fuzz fuzz_targets; }

stage_asan() { count asan unit_tests asan; }
stage_tsan() { count tsan unit_tests tsan; }
# Warnings are errors: a build is the proof of the lock annotations.
stage_clang() { count clang built clang; }
# The AVX-512 levels, with AVX2 in the place of their instructions (tests/emulation).
stage_emulated() { count emulated unit_tests emulated emulated_tests; }
stage_aarch64() { count aarch64 unit_tests aarch64; }
stage_riscv64() { count riscv64 unit_tests riscv64; }

# The same binaries on CPUs that lack what this one has: no instruction beyond the level may be reached.
stage_cpu_levels() {
  built dev || { STAGE_FAILED=1 && return; }
  count cpu_levels python3 tests/cpu_levels.py --build build/dev
}
