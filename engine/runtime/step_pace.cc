#include "engine/runtime/step_pace.h"

#include <algorithm>

namespace inhouse::engine {
namespace {

// Half of a change is followed at once: contexts grow, neighbours come and go, and a single slow
// step is forgotten after a few others.
double Follow(double old, double now) { return old == 0 ? now : (old + now) / 2; }

}  // namespace

void StepPace::Observe(int64_t answer_rows, int64_t prompt_rows, double ms) {
  if (prompt_rows == 0) {
    answers_ms_ = Follow(answers_ms_, ms);
    return;
  }
  // A short prompt alone pays for the whole pass over the weights: that is no price of a row.
  if (answer_rows == 0 && prompt_rows < kRowsMin) return;
  // With prompts it took so long: without them it takes no longer. Under load no step is without,
  // and what was slow once must not count for ever.
  if (answer_rows > 0) answers_ms_ = std::min(answers_ms_, ms);
  const double extra = answer_rows == 0 ? ms : std::max(ms - answers_ms_, ms / 8);
  row_ms_ = Follow(row_ms_, extra / static_cast<double>(prompt_rows));
}

int64_t StepPace::prompt_rows() const {
  if (row_ms_ == 0) return std::min(rows_max_, 2 * kRowsMin);
  const double rows = (step_ms_ - answers_ms_) / row_ms_;
  if (rows >= static_cast<double>(rows_max_)) return rows_max_;
  return std::clamp(static_cast<int64_t>(rows), std::min(kRowsMin, rows_max_), rows_max_);
}

}  // namespace inhouse::engine
