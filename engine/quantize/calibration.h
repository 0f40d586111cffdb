// Second moments of what the linear layers of a model see while it reads a text.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/thread_team.h"
#include "engine/formats/checkpoint.h"
#include "engine/kernels/kernel_table.h"

namespace inhouse::engine {

struct CalibrationOptions {
  std::vector<int32_t> tokens = {};
  int64_t window = 512;                  // tokens that the model reads together
  int64_t bytes_max = int64_t{2} << 30;  // for the moments of one pass
};

// Sum of x^T x over the tokens: [columns][columns], symmetric.
struct Moments {
  int64_t columns = 0;
  int64_t tokens = 0;
  std::vector<float> values = {};
};

// A model with its own pages that reads the tokens once for each set of layers asked for. Used by
// one thread.
class Calibrator {
 public:
  // Loads the model: its weights are in memory while this lives.
  static absl::StatusOr<std::unique_ptr<Calibrator>> Create(const Checkpoint& checkpoint,
                                                            const KernelTable& kernels,
                                                            base::ThreadTeam& team,
                                                            const CalibrationOptions& options);
  virtual ~Calibrator() = default;

  // Columns of the input of the product that the stored tensor takes part in; 0 if there is none.
  virtual int64_t ColumnsOf(const std::string& stored_name) const = 0;

  // Reads all tokens and returns the moments of the products in which these stored tensors take
  // part, by stored name; tensors of one product (q, k, v) share them. Cancelled when `on_tokens`
  // (tokens read so far) returns false.
  using Result = std::map<std::string, std::shared_ptr<const Moments>>;
  virtual absl::StatusOr<Result> Run(const std::set<std::string>& stored_names,
                                     const std::function<bool(int64_t)>& on_tokens) = 0;
};

}  // namespace inhouse::engine
