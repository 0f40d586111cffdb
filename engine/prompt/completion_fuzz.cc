// Any text as a completion of any style, cut anywhere: the pieces must say what the whole says.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "engine/prompt/completion/parser.h"

namespace {

using inhouse::engine::CompletionDelta;
using inhouse::engine::ParsedCompletion;

constexpr std::string_view kStyles[] = {"plain",         "deepseek-r1",   "deepseek-v3.1",
                                        "deepseek-v3.2", "deepseek-v4.1", "qwen3",
                                        "deepseek-v4",   "deepseek-coder"};

void Append(const CompletionDelta& delta, std::string* reasoning, ParsedCompletion* out) {
  *reasoning += delta.reasoning;
  out->content += delta.content;
  out->tool_calls.insert(out->tool_calls.end(), delta.tool_calls.begin(), delta.tool_calls.end());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto* style = inhouse::engine::FindCompletionStyle(kStyles[data[0] % std::size(kStyles)]);
  const bool think = (data[0] & 0x80) != 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const ParsedCompletion whole = inhouse::engine::ParseCompletion(*style, text, think);
  const auto stream = inhouse::engine::NewCompletionStream(*style, think);
  ParsedCompletion joined;
  std::string reasoning;
  uint32_t state = data[1] + 1U;  // the lengths of the pieces
  for (size_t at = 0; at < text.size();) {
    state = state * 1664525U + 1013904223U;
    const size_t n = 1 + (state >> 24) % 16;
    Append(stream->Push(text.substr(at, n)), &reasoning, &joined);
    at += n;
  }
  Append(stream->Finish(), &reasoning, &joined);
  INHOUSE_CHECK(reasoning == whole.reasoning.value_or(""), "reasoning differs");
  INHOUSE_CHECK(joined.content == whole.content, "content differs");
  INHOUSE_CHECK(joined.tool_calls.size() == whole.tool_calls.size(), "calls differ");
  for (size_t i = 0; i < joined.tool_calls.size(); ++i) {
    INHOUSE_CHECK(joined.tool_calls[i].name == whole.tool_calls[i].name &&
                      joined.tool_calls[i].arguments == whole.tool_calls[i].arguments,
                  "a call differs");
  }
  return 0;
}
