// How many rows of prompts a step may have so that answers go on in time.
#pragma once

#include <cstdint>

namespace inhouse::engine {

// Learns from measured steps what a row of a prompt costs and what a step costs without any.
// Results do not depend on what it says (docs/decisions/0003), only times do. Used by the engine
// thread only; nothing fails.
class StepPace {
 public:
  // Fewer rows are not worth a pass over the weights: a prompt must come to an end, too.
  static constexpr int64_t kRowsMin = 32;

  // Steps in which answers go on should take `step_ms`; at most `rows_max` rows.
  StepPace(double step_ms, int64_t rows_max) : step_ms_(step_ms), rows_max_(rows_max) {}

  void Observe(int64_t answer_rows, int64_t prompt_rows, double ms);
  int64_t prompt_rows() const;

 private:
  double step_ms_;
  int64_t rows_max_;
  double answers_ms_ = 0;  // a step without prompts
  double row_ms_ = 0;      // one more row of a prompt; 0 = not measured yet
};

}  // namespace inhouse::engine
