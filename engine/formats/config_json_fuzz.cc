// Any bytes as config.json, as adapter_config.json and as the index of a sharded checkpoint.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/formats/config_json.h"
#include "engine/formats/peft_config.h"
#include "engine/formats/safetensors.h"

using inhouse::engine::ConfigJson;
using inhouse::engine::PeftConfig;

namespace {

void AskEverything(const ConfigJson& config) {
  for (const auto& [key, value] : config.json().items()) {
    (void)config.Int(key, {-5, 5});
    (void)config.Ints(key, {0, 1 << 20});
    (void)config.Double(key, -1, 1);
    (void)config.BoolOr(key, true);
    (void)config.String(key);
    const auto nested = config.Object(key);
    if (nested.ok() && nested->has_value()) AskEverything(**nested);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto config = ConfigJson::Parse("config.json", text); config.ok()) {
    AskEverything(*config);
    if (const auto adapter = PeftConfig::Parse(*config); adapter.ok()) {
      for (const char* module : {"model.layers.1.mlp.up_proj", "lm_head", "."}) {
        (void)adapter->Targets(module);
        (void)adapter->StrengthOf(module);
      }
    }
  }
  (void)inhouse::engine::ParseSafetensorsIndex("model.safetensors.index.json", text);
  return 0;
}
