// Any text as a template: it compiles or not, renders or not, within its limits.
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/prompt/jinja/json.h"
#include "engine/prompt/jinja/template.h"

namespace {

constexpr const char* kVariables = R"({
  "n": 5, "x": 2.5, "yes": true, "nil": null, "s": "Hello World", "zh": "你好，世界", "nums": [3, 1, 2, 1],
  "nested": [[1, 2], [3], []], "d": {"b": 1, "a": [1, 2.0], "c": {"k": null}}, "tools": null,
  "messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "<think>why</think>yo",
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]}],
  "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"})";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace jinja = inhouse::engine::jinja;
  static const jinja::Value variables = *jinja::ParseJson(kVariables, "variables");
  const std::string source(reinterpret_cast<const char*>(data), size);
  const auto compiled = jinja::Template::Compile(source, "fuzz");
  if (!compiled.ok()) return 0;
  const auto out =
      (*compiled)->Render(variables.AsDict(), {.steps_max = 20'000, .output_bytes_max = 1u << 16});
  if (out.ok() && out->size() > 1u << 16) __builtin_trap();
  return 0;
}
