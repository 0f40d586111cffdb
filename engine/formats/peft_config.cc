#include "engine/formats/peft_config.h"

#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "engine/formats/json_events.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr double kAlphaMax = 1e6;
constexpr int64_t kLayerMax = 1'000'000;
constexpr size_t kNamesMax = 100'000;

// Fields that change what an adapter computes in a way that is not built here. They may be there
// with a value that switches them off.
constexpr std::string_view kUnsupported[] = {
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "kasa_config",
    "monteclora_config",
    "arrow_config",
    "megatron_config",
    "layer_replication",
    "trainable_token_indices",
    "modules_to_save",
    "target_parameters",
    "alora_invocation_tokens",
    "ensure_weight_tying",
};

bool IsOff(const nlohmann::json& value) {
  return value.is_null() || value == false ||
         ((value.is_array() || value.is_object()) && value.empty());
}

absl::Status Bad(const ConfigJson& config, std::string_view key, std::string expected) {
  const auto found = config.json().find(key);
  return base::InvalidInput({.file = config.path(),
                             .field = Printable(key),
                             .value = found == config.json().end() ? "" : JsonText(*found),
                             .expected = std::move(expected)});
}

absl::Status CheckSupported(const ConfigJson& config) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string type, config.String("peft_type"));
  if (type != "LORA") return Bad(config, "peft_type", "LORA");
  INHOUSE_ASSIGN_OR_RETURN(const std::string task, config.StringOr("task_type", "CAUSAL_LM"));
  if (task != "CAUSAL_LM") return Bad(config, "task_type", "CAUSAL_LM");
  for (const auto& [key, value] : config.json().items()) {
    const bool listed =
        std::find(std::begin(kUnsupported), std::end(kUnsupported), key) != std::end(kUnsupported);
    // A variant of a later PEFT is a switch, too, and would be missed silently.
    const bool unknown_variant = key.starts_with("use_") && key != "use_rslora";
    if ((listed || unknown_variant) && !IsOff(value)) {
      return Bad(config, key, "null or false: this variant of LoRA is not supported");
    }
  }
  // PiSSA and its like change the base's weights; PEFT's save_pretrained can convert such an
  // adapter.
  const auto init = config.json().find("init_lora_weights");
  if (init != config.json().end() && !init->is_null() && !init->is_boolean() &&
      *init != "gaussian" && *init != "eva" && *init != "orthogonal") {
    return Bad(config, "init_lora_weights",
               "true, false, gaussian, eva or orthogonal: others change the weights of the base "
               "model (save_pretrained with path_initial_model_for_weight_conversion makes a "
               "plain adapter)");
  }
  return absl::OkStatus();
}

absl::StatusOr<NamePatterns> Expression(const ConfigJson& config, std::string_view key,
                                        const std::string& expression) {
  absl::StatusOr<NamePatterns> pattern = NamePatterns::Parse({"re:" + expression});
  if (!pattern.ok()) return Bad(config, key, base::Message(pattern.status()));
  return pattern;
}

// A name equals one of `names` or ends in a dot and one of them.
bool EndsInOne(std::string_view module, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [module](const std::string& name) {
    return module.ends_with(name) &&
           (module.size() == name.size() || module[module.size() - name.size() - 1] == '.');
  });
}

// A string is an expression for the whole name, a list has names.
struct Modules {
  std::optional<NamePatterns> expression;
  std::vector<std::string> names;
};

absl::StatusOr<Modules> ReadModules(const ConfigJson& config, std::string_view key) {
  Modules out;
  if (!config.Has(key)) return out;
  if (config.json().find(key)->is_string()) {
    INHOUSE_ASSIGN_OR_RETURN(const std::string text, config.String(key));
    INHOUSE_ASSIGN_OR_RETURN(out.expression, Expression(config, key, "(?:" + text + ")\\z"));
    return out;
  }
  INHOUSE_ASSIGN_OR_RETURN(out.names, config.Strings(key));
  const bool empty = std::any_of(out.names.begin(), out.names.end(),
                                 [](const std::string& name) { return name.empty(); });
  if (empty || out.names.size() > kNamesMax) {
    return Bad(config, key, fmt::format("at most {} names, none of them empty", kNamesMax));
  }
  return out;
}

std::string_view LastSegment(std::string_view module) {
  const size_t dot = module.rfind('.');
  return dot == std::string_view::npos ? module : module.substr(dot + 1);
}

}  // namespace

absl::StatusOr<PeftConfig> PeftConfig::Load(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(const ConfigJson config, ConfigJson::Load(path));
  return Parse(config);
}

absl::StatusOr<PeftConfig> PeftConfig::Parse(const ConfigJson& config) {
  PeftConfig out;
  out.path_ = config.path();
  INHOUSE_RETURN_IF_ERROR(CheckSupported(config));
  INHOUSE_ASSIGN_OR_RETURN(out.base_model_, config.StringOr("base_model_name_or_path", ""));
  INHOUSE_ASSIGN_OR_RETURN(out.rank_, config.IntOr("r", 8, {1, kAdapterRankMax}));
  INHOUSE_ASSIGN_OR_RETURN(out.alpha_, config.DoubleOr("lora_alpha", 8, -kAlphaMax, kAlphaMax));
  INHOUSE_ASSIGN_OR_RETURN(out.root_of_rank_, config.BoolOr("use_rslora", false));
  INHOUSE_ASSIGN_OR_RETURN(const std::string bias, config.StringOr("bias", "none"));
  if (bias != "none" && bias != "all" && bias != "lora_only") {
    return Bad(config, "bias", "none, all or lora_only");
  }
  out.trains_biases_ = bias != "none";
  // Tells how the base keeps its weights, which the adapter's own do not depend on.
  INHOUSE_RETURN_IF_ERROR(config.BoolOr("fan_in_fan_out", false).status());
  INHOUSE_RETURN_IF_ERROR(out.ReadTargets(config));
  INHOUSE_RETURN_IF_ERROR(out.ReadLayers(config));
  INHOUSE_ASSIGN_OR_RETURN(out.ranks_, out.ReadOverrides(config, "rank_pattern", 1,
                                                         static_cast<double>(kAdapterRankMax)));
  INHOUSE_ASSIGN_OR_RETURN(out.alphas_,
                           out.ReadOverrides(config, "alpha_pattern", -kAlphaMax, kAlphaMax));
  return out;
}

absl::Status PeftConfig::ReadTargets(const ConfigJson& config) {
  if (!config.Has("target_modules")) {
    return Bad(config, "target_modules", "a list of module names, an expression or all-linear");
  }
  const nlohmann::json& value = *config.json().find("target_modules");
  std::string text = value.is_string() ? value.get<std::string>() : "";
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  all_linear_ = text == "all-linear";
  if (!all_linear_) {
    INHOUSE_ASSIGN_OR_RETURN(Modules targets, ReadModules(config, "target_modules"));
    target_expression_ = std::move(targets.expression);
    target_names_ = std::move(targets.names);
    if (!target_expression_ && target_names_.empty()) {
      return Bad(config, "target_modules", "at least one module");
    }
  }
  INHOUSE_ASSIGN_OR_RETURN(Modules excluded, ReadModules(config, "exclude_modules"));
  excluded_expression_ = std::move(excluded.expression);
  excluded_names_ = std::move(excluded.names);
  return absl::OkStatus();
}

absl::Status PeftConfig::ReadLayers(const ConfigJson& config) {
  INHOUSE_ASSIGN_OR_RETURN(layers_, config.Ints("layers_to_transform", {0, kLayerMax}));
  std::vector<std::string> patterns;
  if (config.Has("layers_pattern")) {
    if (config.json().find("layers_pattern")->is_string()) {
      INHOUSE_ASSIGN_OR_RETURN(const std::string pattern, config.String("layers_pattern"));
      if (!pattern.empty()) patterns.push_back(pattern);
    } else {
      INHOUSE_ASSIGN_OR_RETURN(patterns, config.Strings("layers_pattern"));
    }
  }
  if ((!layers_.empty() || !patterns.empty()) && (target_expression_ || all_linear_)) {
    return Bad(config, layers_.empty() ? "layers_pattern" : "layers_to_transform",
               "null where target_modules is a string");
  }
  if (layers_.empty() && !patterns.empty()) {
    return Bad(config, "layers_pattern", "null without layers_to_transform");
  }
  for (const std::string& pattern : patterns) {
    INHOUSE_ASSIGN_OR_RETURN(NamePatterns parsed, Expression(config, "layers_pattern",
                                                             "(?:.*?\\.)?(?:" + pattern + ")\\z"));
    layers_patterns_.push_back(std::move(parsed));
  }
  return absl::OkStatus();
}

// PEFT takes the first key that matches, in the order of the file, which it writes sorted.
absl::StatusOr<std::vector<PeftConfig::Override>> PeftConfig::ReadOverrides(
    const ConfigJson& config, std::string_view key, double min, double max) const {
  std::vector<Override> out;
  INHOUSE_ASSIGN_OR_RETURN(const std::optional<ConfigJson> patterns, config.Object(key));
  if (!patterns) return out;
  const bool ranks = key == "rank_pattern";
  for (const auto& [name, value] : patterns->json().items()) {
    Override entry;
    INHOUSE_ASSIGN_OR_RETURN(entry.pattern, Expression(config, key, "(?:.*\\.)?(?:" + name + ")$"));
    if (ranks) {
      INHOUSE_ASSIGN_OR_RETURN(const int64_t rank, patterns->Int(name, {1, kAdapterRankMax}));
      entry.value = static_cast<double>(rank);
    } else {
      INHOUSE_ASSIGN_OR_RETURN(entry.value, patterns->Double(name, min, max));
    }
    out.push_back(std::move(entry));
  }
  return out;
}

bool PeftConfig::Targets(std::string_view module) const {
  if (excluded_expression_ && excluded_expression_->Matches(module)) return false;
  if (EndsInOne(module, excluded_names_)) return false;
  if (target_expression_) return target_expression_->Matches(module);
  // The output embedding is no target of all-linear.
  const bool named = all_linear_
                         ? LastSegment(module) != "lm_head" && LastSegment(module) != "embed_tokens"
                         : EndsInOne(module, target_names_);
  // PEFT takes whole names at their word.
  const bool exact =
      std::find(target_names_.begin(), target_names_.end(), module) != target_names_.end();
  return named && (exact || InLayers(module));
}

// The index of a layer is the first number between dots; with patterns, the first behind one.
bool PeftConfig::InLayers(std::string_view module) const {
  if (layers_.empty()) return true;
  const auto has = [this](std::string_view digits) {
    if (digits.size() > 9) return false;
    int64_t index = 0;
    for (const char c : digits) index = index * 10 + (c - '0');
    return std::find(layers_.begin(), layers_.end(), index) != layers_.end();
  };
  size_t segments = 0;
  for (size_t begin = 0; begin < module.size(); ++segments) {
    const size_t end = module.find('.', begin);
    if (end == std::string_view::npos) break;  // the last segment is the module's own
    const std::string_view segment = module.substr(begin, end - begin);
    const bool number = !segment.empty() && std::all_of(segment.begin(), segment.end(), [](char c) {
      return c >= '0' && c <= '9';
    });
    if (number && layers_patterns_.empty() && segments >= 2) return has(segment);
    if (number && begin > 0) {
      const std::string_view before = module.substr(0, begin - 1);
      for (const NamePatterns& pattern : layers_patterns_) {
        if (pattern.Matches(before)) return has(segment);
      }
    }
    begin = end + 1;
  }
  return false;
}

PeftConfig::Strength PeftConfig::StrengthOf(std::string_view module) const {
  const auto find = [module](const std::vector<Override>& overrides, double otherwise) {
    const auto found =
        std::find_if(overrides.begin(), overrides.end(),
                     [module](const Override& entry) { return entry.pattern.Matches(module); });
    return found == overrides.end() ? otherwise : found->value;
  };
  const double rank = find(ranks_, static_cast<double>(rank_));
  const double alpha = find(alphas_, alpha_);
  return {.rank = static_cast<int64_t>(rank),
          .scale = alpha / (root_of_rank_ ? std::sqrt(rank) : rank)};
}

}  // namespace inhouse::engine
