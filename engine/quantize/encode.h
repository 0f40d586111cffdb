// One planned tensor: read from the source, encoded in strips of rows, appended to its file.
#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "base/thread_team.h"
#include "engine/formats/safetensors_writer.h"
#include "engine/quantize/plan.h"
#include "engine/quantize/source.h"

namespace inhouse::engine {

struct EncodeJob {
  const Source& source;
  base::ThreadTeam& team;
  SafetensorsWriter& writer;
  // Told the parameters of each strip that is done; false = stop.
  std::function<bool(int64_t)> on_parameters;
};

// Memory: a strip of 128 rows for each thread. Cancelled when `on_parameters` says so;
// InvalidArgument that names the tensor for a weight that is not finite. The bytes do not depend on
// the number of threads.
absl::Status EncodeTensor(const EncodeJob& job, const PlannedTensor& tensor);

// `codes` [rows][columns] and `scales` [rows][columns / group] of a kInt tensor that were chosen
// elsewhere.
absl::Status AppendIntRows(const PlannedTensor& tensor, int64_t rows, const int8_t* codes,
                           const float* scales, SafetensorsWriter& writer);
// The last part of a kInt tensor.
absl::Status AppendShape(const PlannedTensor& tensor, SafetensorsWriter& writer);

bool AllFinite(const float* values, int64_t n);
absl::Status NotFinite(const SourceTensor& tensor);

}  // namespace inhouse::engine
