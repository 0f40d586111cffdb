// What config.json says about how the weights are quantized: `quantization_config`, or
// `compression_config` of old files. Fields and their meaning: docs/file-formats.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/config_json.h"
#include "engine/formats/name_patterns.h"

namespace inhouse::engine {

enum class QuantMethod : uint8_t { kNone, kFp8, kCompressedTensors, kAwq, kGptq };

std::string_view Name(QuantMethod method);  // "fp8", as in `quant_method`

// How far a scale reaches.
enum class ScaleStrategy : uint8_t { kTensor, kChannel, kGroup, kBlock };

// A config group of compressed-tensors.
struct CompressedScheme {
  std::string field;   // "quantization_config.config_groups.group_0", for messages
  std::string format;  // "pack-quantized"
  NamePatterns targets;
  int bits = 8;
  bool is_float = false;
  bool symmetric = true;
  ScaleStrategy strategy = ScaleStrategy::kTensor;
  int64_t group_columns = 0;  // kGroup
  int64_t block_rows = 0;     // kBlock
  int64_t block_columns = 0;
};

// Immutable; any thread may read.
struct QuantizationConfig {
  QuantMethod method = QuantMethod::kNone;
  std::string file;   // config.json, for messages
  std::string field;  // "quantization_config"

  // fp8: rows and columns of a block, if said; modules that were left as they are.
  std::optional<std::pair<int64_t, int64_t>> weight_block;
  std::vector<std::string> kept_modules;

  // compressed-tensors
  std::vector<CompressedScheme> schemes;
  NamePatterns ignore;

  // awq, gptq
  int bits = 4;
  int64_t group_columns = -1;  // -1: one group a row
  bool zeros_less_one = false;
  bool per_module = false;  // some modules have bits and groups of their own (gptqmodel: dynamic)

  // The scheme of a module, or null: it is ignored or no target names it.
  const CompressedScheme* SchemeOf(std::string_view module) const;
  bool Keeps(std::string_view module) const;  // in kept_modules
};

// A config without such a section gives kNone. Errors name file, field, value and expectation.
absl::StatusOr<QuantizationConfig> ReadQuantizationConfig(const ConfigJson& config);

}  // namespace inhouse::engine
