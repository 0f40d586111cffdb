#include "engine/runtime/bind_options.h"

#include <string>

#include "base/status.h"
#include "engine/runtime/byte_plan.h"

namespace inhouse::engine {
namespace {

std::string LevelNames() {
  std::string names;
  for (const IsaLevel level : SupportedLevels()) {
    names += (names.empty() ? "" : ", ") + std::string(Name(level));
  }
  return names;
}

}  // namespace

absl::StatusOr<BindOptions> BindOptionsOf(const EngineOptions& options) {
  BindOptions out{.kernels = ChooseTable(options.isa)};
  if (out.kernels == nullptr) {
    return base::InvalidInput({.field = "isa",
                               .value = options.isa,
                               .expected = "a level that this CPU has: " + LevelNames()});
  }
  if (options.activation_bits != 16 && options.activation_bits != 8) {
    return base::InvalidInput({.field = "activation_bits",
                               .value = std::to_string(options.activation_bits),
                               .expected = "16 or 8"});
  }
  INHOUSE_ASSIGN_OR_RETURN(out.kv, ParseKvType(options.kv_type));
  out.activations = options.activation_bits == 8 ? ActivationBits::k8 : ActivationBits::k16;
  return out;
}

}  // namespace inhouse::engine
