// Decides what becomes of each tensor of a source, and into which file it goes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/safetensors_writer.h"
#include "engine/quantize/source.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

enum class QuantFormat : uint8_t { kBF16, kFp8, kInt8, kInt4 };
std::string_view Name(QuantFormat format);  // "bf16", "fp8", "int8", "int4"

struct PlanOptions {
  QuantFormat format = QuantFormat::kFp8;
  int64_t group = 128;  // columns with one scale, for INT8 and INT4
  // Rows and columns of a block with one scale, for FP8. 0 = 128; or, in a model of another family
  // than DeepSeek's whose matrices do not all divide by it, 64 or 32 if that divides them:
  // transformers takes blocks for equal parts of the matrix, so it misreads a block at the edge.
  int64_t fp8_block = 0;
  int64_t shard_bytes = int64_t{5} << 30;
};

// What is written for one tensor of the source.
struct PlannedTensor {
  enum class How : uint8_t {
    kCopy,  // byte for byte
    kBF16,
    kF32,  // vectors whose values BF16 cannot hold
    kFp8,  // weight, weight_scale_inv
    kInt,  // weight_packed, weight_scale, weight_shape
  };
  const SourceTensor* source = nullptr;
  How how = How::kCopy;
  int bits = 0;       // kInt
  int64_t group = 0;  // kInt: the largest divisor of the columns among group, group / 2, ...;
                      // kFp8: rows and columns of a block
  std::vector<SafetensorsSpec> outputs = {};

  bool quantized() const { return how == How::kFp8 || how == How::kInt; }
  int64_t output_bytes() const;
};

struct PlannedShard {
  std::string file;  // "model-00001-of-00003.safetensors"
  size_t begin = 0;  // tensors
  size_t end = 0;
};

struct QuantPlan {
  PlanOptions options;
  std::vector<PlannedTensor> tensors;  // in the order in which they are written
  std::vector<PlannedShard> shards;
  int64_t output_bytes = 0;     // of all tensors
  int64_t quantized_bytes = 0;  // of those that are quantized, scales included
  int64_t quantized_parameters = 0;
  int64_t parameters = 0;
};

// The matrices of linear layers are quantized; embeddings, norms, biases, the head and routers are
// kept as they are (of a GGUF file: as BF16). InvalidArgument if nothing is left to quantize.
absl::StatusOr<QuantPlan> MakePlan(const Source& source, const PlanOptions& options);

// config.json's quantization_config; null for kBF16. FP8: as DeepSeek writes it. INT: as
// compressed-tensors writes it for `pack-quantized`.
nlohmann::ordered_json QuantizationConfig(const QuantPlan& plan);

// model.safetensors.index.json.
nlohmann::ordered_json ShardIndex(const QuantPlan& plan);

}  // namespace inhouse::engine
