// What `inhouse compare` does between its flags and its table.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/quantize/divergence.h"

namespace inhouse::apps {

// Public domain prose, about 15,000 words (docs/user-guide/compare.md says where it is from).
extern const char kComparisonText[];

struct ComparisonOptions {
  engine::EngineOptions a;
  engine::EngineOptions b;
  std::string text;            // what both read
  std::string text_name;       // for messages
  int64_t tokens = 10000;      // at most
  int64_t context = 512;       // tokens of a window, each read from scratch
  int speed_rounds = 3;        // 0: speed is not measured
  bool one_at_a_time = false;  // never both in memory, even if they fit
};

struct Speed {
  double prefill = 0;  // tokens a second; medians
  double decode = 0;
};

struct Comparison {
  engine::DivergenceSummary divergence;
  int64_t bytes_a = 0;  // of the stored tensors
  int64_t bytes_b = 0;
  Speed speed_a;
  Speed speed_b;
  int64_t context = 0;  // tokens of a window: the model may have room for less than asked for
  int64_t prefill_tokens = 0;  // of one measurement
  int64_t decode_tokens = 0;
  bool interleaved = true;  // both in memory, measured in turns
};

// Both models in memory if they fit together (and may be), else one after the other, with the
// logits of the first in a temporary file. InvalidArgument if the vocabularies differ; Cancelled
// after Ctrl-C.
absl::StatusOr<Comparison> Compare(const ComparisonOptions& options);

}  // namespace inhouse::apps
