// The front of the room: a checkpoint becomes another checkpoint, in FP8, INT8, INT4 or BF16.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/thread_team.h"
#include "engine/formats/checkpoint.h"
#include "engine/kernels/kernel_table.h"
#include "engine/quantize/calibration.h"
#include "engine/quantize/plan.h"

namespace inhouse::engine {

// A small file that goes beside the weights: a tokenizer, a chat template.
struct SideFile {
  std::string name;
  std::string content;
};

struct QuantizeOptions {
  PlanOptions plan = {};
  std::string out = {};
  bool force = false;  // replace a finished model
  std::vector<SideFile> side_files = {};
  // GPTQ: which tokens to calibrate with, and the memory for it.
  std::optional<CalibrationOptions> calibration = std::nullopt;
};

struct QuantizeProgress {
  enum class Phase : uint8_t { kEncode, kCalibrate };
  Phase phase = Phase::kEncode;
  int64_t done = 0;  // parameters, or tokens
  int64_t total = 0;
};

struct QuantizeReport {
  int64_t tensors = 0;
  int64_t quantized_tensors = 0;
  int64_t parameters = 0;
  int64_t quantized_parameters = 0;
  int64_t source_bytes = 0;     // of all tensors, as the source stores them
  int64_t output_bytes = 0;     // of all tensors, as they were written
  int64_t quantized_bytes = 0;  // of the quantized ones, with their scales
  int64_t shards = 0;
  int64_t shards_kept = 0;             // from an interrupted run
  std::vector<std::string> kept = {};  // matrices that were not quantized
};

// Writes shard after shard in bounded memory; an interrupted run goes on at the first file that it
// had not finished, and gives the same bytes as one that was not interrupted. `on_progress` is
// called between strips; false stops with Cancelled, and leaves a directory that can be resumed.
// Errors name file and tensor; AlreadyExists for a finished model without `force`,
// ResourceExhausted if the disk is too small.
absl::StatusOr<QuantizeReport> Quantize(
    const Checkpoint& checkpoint, const QuantizeOptions& options, const KernelTable& kernels,
    base::ThreadTeam& team, const std::function<bool(const QuantizeProgress&)>& on_progress);

}  // namespace inhouse::engine
