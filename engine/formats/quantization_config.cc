#include "engine/formats/quantization_config.h"

#include <algorithm>
#include <array>

#include "base/status.h"
#include "engine/formats/json_events.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Wider than any matrix: larger numbers are taken for damage.
constexpr int64_t kGroupMax = 1 << 24;

class Reader {
 public:
  Reader(const ConfigJson& section, std::string field) : section_(section) {
    out_.file = section.path();
    out_.field = std::move(field);
  }

  absl::StatusOr<QuantizationConfig> Read() {
    INHOUSE_ASSIGN_OR_RETURN(const std::string method, section_.String("quant_method"));
    if (method == "fp8") {
      INHOUSE_RETURN_IF_ERROR(ReadFp8());
    } else if (method == "compressed-tensors") {
      INHOUSE_RETURN_IF_ERROR(ReadCompressedTensors());
    } else if (method == "awq") {
      INHOUSE_RETURN_IF_ERROR(ReadAwq());
    } else if (method == "gptq") {
      INHOUSE_RETURN_IF_ERROR(ReadGptq());
    } else {
      return Bad("quant_method", method, "fp8, compressed-tensors, awq or gptq");
    }
    return std::move(out_);
  }

 private:
  absl::Status Bad(std::string_view key, std::string value, std::string expected) const {
    return base::InvalidInput({.file = out_.file,
                               .field = fmt::format("{}.{}", out_.field, key),
                               .value = Printable(value),
                               .expected = std::move(expected)});
  }

  absl::Status ReadFp8() {
    out_.method = QuantMethod::kFp8;
    INHOUSE_ASSIGN_OR_RETURN(const std::string fmt, section_.StringOr("fmt", "e4m3"));
    if (fmt != "e4m3") return Bad("fmt", fmt, "e4m3");
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<int64_t> block,
                             section_.Ints("weight_block_size", {1, kGroupMax}));
    if (!block.empty()) {
      if (block.size() != 2) {
        return Bad("weight_block_size", fmt::format("{} numbers", block.size()), "[rows, columns]");
      }
      out_.weight_block = {block[0], block[1]};
    }
    for (const char* key : {"modules_to_not_convert", "ignored_layers"}) {
      INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> names, section_.Strings(key));
      out_.kept_modules.insert(out_.kept_modules.end(), names.begin(), names.end());
    }
    return absl::OkStatus();
  }

  absl::Status ReadGroupSize(const char* key, const char* other) {
    const char* found = section_.Has(key) ? key : other;
    INHOUSE_ASSIGN_OR_RETURN(out_.group_columns, section_.IntOr(found, 128, {-1, kGroupMax}));
    if (out_.group_columns == 0) return Bad(found, "0", "-1 (a whole row) or a positive number");
    return absl::OkStatus();
  }

  // A field that must have one of these values where it is there.
  absl::StatusOr<std::string> OneOf(const char* key, const char* fallback,
                                    std::initializer_list<std::string_view> values) const {
    INHOUSE_ASSIGN_OR_RETURN(std::string value, section_.StringOr(key, fallback));
    std::transform(value.begin(), value.end(), value.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    if (std::find(values.begin(), values.end(), value) != values.end()) return value;
    return Bad(key, value, fmt::format("{}", fmt::join(values, " or ")));
  }

  absl::Status ReadAwq() {
    out_.method = QuantMethod::kAwq;
    const char* key = section_.Has("bits") ? "bits" : "w_bit";
    INHOUSE_ASSIGN_OR_RETURN(const int64_t bits, section_.IntOr(key, 4, {1, 8}));
    if (bits != 4) return Bad(key, fmt::format("{}", bits), "4");
    INHOUSE_RETURN_IF_ERROR(OneOf("version", "gemm", {"gemm"}).status());
    INHOUSE_RETURN_IF_ERROR(OneOf("checkpoint_format", "gemm", {"gemm"}).status());
    return ReadGroupSize("group_size", "q_group_size");
  }

  absl::Status ReadGptq() {
    out_.method = QuantMethod::kGptq;
    INHOUSE_ASSIGN_OR_RETURN(const int64_t bits, section_.Int("bits", {2, 8}));
    out_.bits = static_cast<int>(bits);
    if (bits > 4 && bits != 8) return Bad("bits", fmt::format("{}", bits), "2, 3, 4 or 8");
    INHOUSE_ASSIGN_OR_RETURN(const std::string format,
                             OneOf("checkpoint_format", "gptq", {"gptq", "gptq_v2"}));
    INHOUSE_RETURN_IF_ERROR(OneOf("pack_dtype", "int32", {"int32"}).status());
    INHOUSE_ASSIGN_OR_RETURN(const bool marlin, section_.BoolOr("is_marlin_format", false));
    if (marlin) return Bad("is_marlin_format", "true", "false");
    out_.zeros_less_one = format == "gptq";
    INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> dynamic, section_.Object("dynamic"));
    out_.per_module = dynamic && !dynamic->json().empty();
    return ReadGroupSize("group_size", "group_size");
  }

  absl::Status ReadCompressedTensors() {
    out_.method = QuantMethod::kCompressedTensors;
    INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> sparsity,
                             section_.Object("sparsity_config"));
    if (sparsity) {
      INHOUSE_ASSIGN_OR_RETURN(const std::string format, sparsity->StringOr("format", "dense"));
      if (format != "dense") return Bad("sparsity_config.format", format, "dense");
    }
    // Rotations of activations at run time, without which the weights mean something else.
    INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> transforms,
                             section_.Object("transform_config"));
    if (transforms) {
      INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> groups,
                               transforms->Object("config_groups"));
      if (groups && !groups->json().empty()) {
        return Bad("transform_config.config_groups", groups->json().begin().key(),
                   "none: transforms of activations are not supported");
      }
    }
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> ignore, section_.Strings("ignore"));
    INHOUSE_ASSIGN_OR_RETURN(out_.ignore, Patterns("ignore", ignore));
    INHOUSE_ASSIGN_OR_RETURN(const std::string format, section_.StringOr("format", ""));
    INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> groups,
                             section_.Object("config_groups"));
    if (!groups) return Bad("config_groups", "", "an object of groups, it is missing");
    for (const auto& [name, unused] : groups->json().items()) {
      INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> group, groups->Object(name));
      if (!group) continue;
      INHOUSE_RETURN_IF_ERROR(
          ReadGroup(*group, fmt::format("config_groups.{}", Printable(name)), format));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<NamePatterns> Patterns(std::string_view key,
                                        const std::vector<std::string>& entries) const {
    absl::StatusOr<NamePatterns> patterns = NamePatterns::Parse(entries);
    if (patterns.ok()) return patterns;
    return Bad(key, "", base::Message(patterns.status()));
  }

  absl::Status ReadGroup(const ConfigJson& group, const std::string& field,
                         const std::string& format) {
    INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> weights, group.Object("weights"));
    if (!weights) return absl::OkStatus();  // activations only, the weights are as they are
    CompressedScheme scheme;
    scheme.field = fmt::format("{}.{}", out_.field, field);
    INHOUSE_ASSIGN_OR_RETURN(scheme.format, group.StringOr("format", format));
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> targets, group.Strings("targets"));
    INHOUSE_ASSIGN_OR_RETURN(scheme.targets, Patterns(field + ".targets", targets));
    INHOUSE_ASSIGN_OR_RETURN(const int64_t bits, weights->IntOr("num_bits", 8, {1, 8}));
    scheme.bits = static_cast<int>(bits);
    INHOUSE_ASSIGN_OR_RETURN(const std::string type, weights->StringOr("type", "int"));
    if (type != "int" && type != "float") {
      return Bad(field + ".weights.type", type, "int or float");
    }
    scheme.is_float = type == "float";
    INHOUSE_ASSIGN_OR_RETURN(scheme.symmetric, weights->BoolOr("symmetric", true));
    INHOUSE_RETURN_IF_ERROR(ReadStrategy(*weights, field + ".weights", &scheme));
    out_.schemes.push_back(std::move(scheme));
    return absl::OkStatus();
  }

  absl::Status ReadStrategy(const ConfigJson& weights, const std::string& field,
                            CompressedScheme* scheme) const {
    INHOUSE_ASSIGN_OR_RETURN(const int64_t group, weights.IntOr("group_size", -1, {-1, kGroupMax}));
    const char* guess = !weights.Has("group_size") ? "tensor" : group > 0 ? "group" : "channel";
    INHOUSE_ASSIGN_OR_RETURN(const std::string strategy, weights.StringOr("strategy", guess));
    if (strategy == "tensor") {
      scheme->strategy = ScaleStrategy::kTensor;
    } else if (strategy == "channel") {
      scheme->strategy = ScaleStrategy::kChannel;
    } else if (strategy == "group") {
      if (group < 1) {
        return Bad(field + ".group_size", fmt::format("{}", group), "a positive number");
      }
      scheme->strategy = ScaleStrategy::kGroup;
      scheme->group_columns = group;
    } else if (strategy == "block") {
      scheme->strategy = ScaleStrategy::kBlock;
      INHOUSE_ASSIGN_OR_RETURN(const std::vector<int64_t> block, BlockOf(weights, field));
      scheme->block_rows = block[0];
      scheme->block_columns = block[1];
    } else {
      return Bad(field + ".strategy", strategy, "tensor, channel, group or block");
    }
    return absl::OkStatus();
  }

  // [128, 128], or "128x128" in old files.
  absl::StatusOr<std::vector<int64_t>> BlockOf(const ConfigJson& weights,
                                               const std::string& field) const {
    const auto found = weights.json().find("block_structure");
    if (found != weights.json().end() && found->is_string()) {
      const auto text = found->get<std::string>();
      std::array<int, 2> sides{};
      char rest = 0;
      if (std::sscanf(text.c_str(), "%7dx%7d%c", &sides[0], &sides[1], &rest) != 2 ||
          sides[0] < 1 || sides[1] < 1) {
        return Bad(field + ".block_structure", text, "[rows, columns]");
      }
      return std::vector<int64_t>{sides[0], sides[1]};
    }
    INHOUSE_ASSIGN_OR_RETURN(std::vector<int64_t> block,
                             weights.Ints("block_structure", {1, kGroupMax}));
    if (block.size() == 2) return block;
    return Bad(field + ".block_structure", fmt::format("{} numbers", block.size()),
               "[rows, columns]");
  }

  const ConfigJson& section_;
  QuantizationConfig out_;
};

}  // namespace

std::string_view Name(QuantMethod method) {
  switch (method) {
    case QuantMethod::kNone:
      return "none";
    case QuantMethod::kFp8:
      return "fp8";
    case QuantMethod::kCompressedTensors:
      return "compressed-tensors";
    case QuantMethod::kAwq:
      return "awq";
    case QuantMethod::kGptq:
      return "gptq";
  }
  return "none";
}

const CompressedScheme* QuantizationConfig::SchemeOf(std::string_view module) const {
  if (ignore.Matches(module) || ignore.Lists("Linear")) return nullptr;
  for (const CompressedScheme& scheme : schemes) {
    if (scheme.targets.Matches(module)) return &scheme;
  }
  // A class: all of our products are nn.Linear.
  for (const CompressedScheme& scheme : schemes) {
    if (scheme.targets.Lists("Linear")) return &scheme;
  }
  return nullptr;
}

bool QuantizationConfig::Keeps(std::string_view module) const {
  // As transformers reads the list: a module, all below it, or the end of a name.
  return std::any_of(kept_modules.begin(), kept_modules.end(), [module](std::string_view kept) {
    return !kept.empty() &&
           (module.ends_with(kept) ||
            (module.starts_with(kept) && module.substr(kept.size()).starts_with('.')));
  });
}

absl::StatusOr<QuantizationConfig> ReadQuantizationConfig(const ConfigJson& config) {
  for (const char* key : {"quantization_config", "compression_config"}) {
    INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> section, config.Object(key));
    if (section) return Reader(*section, key).Read();
  }
  return QuantizationConfig();
}

}  // namespace inhouse::engine
