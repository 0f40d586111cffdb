#include "base/status.h"
#include "base/utf8.h"
#include "engine/prompt/chat.h"
#include "engine/prompt/format_base.h"
#include "engine/prompt/native/conversation.h"

namespace inhouse::engine {
namespace {

using Encoder = std::string (*)(const Conversation&);

struct NativeEntry {
  std::string_view name;
  Encoder encode;
  bool developer;  // the format has the role "developer"
};

constexpr NativeEntry kFormats[] = {
    {"deepseek-llm", EncodePlain, false},
    {"deepseek-coder", EncodeCoder, false},
    {"deepseek-v2", EncodePlain, false},
    {"deepseek-v2.5", [](const Conversation& c) { return EncodeV3(c, {}); }, false},
    {"deepseek-v3", [](const Conversation& c) { return EncodeV3(c, {}); }, false},
    {"deepseek-r1",
     [](const Conversation& c) {
       return EncodeV3(c, {.thinks = true, .newline_in_results = false});
     },
     false},
    {"deepseek-r1-distill",
     [](const Conversation& c) { return EncodeV3(c, {.last_system_only = true, .thinks = true}); },
     false},
    {"deepseek-v3.1", [](const Conversation& c) { return EncodeV31(c, false); }, false},
    {"deepseek-v3.1-terminus", [](const Conversation& c) { return EncodeV31(c, true); }, false},
    {"qwen3", EncodeQwen3, false},
};

class NativeFormat : public FormatBase {
 public:
  explicit NativeFormat(const NativeEntry& entry)
      : FormatBase(std::string(entry.name), *FindCompletionStyle(entry.name)), entry_(entry) {
    style_.developer = entry.developer;
    AddToolPrompt(false);
  }

 private:
  absl::StatusOr<std::string> RenderVariables(const jinja::DictObject& variables) const override {
    try {
      return entry_.encode(ReadConversation(variables));
    } catch (const jinja::Error& error) {
      return base::InvalidInput({.file = std::string(entry_.name), .field = error.message});
    }
  }

  const NativeEntry& entry_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ChatFormat>> CreateNativeFormat(std::string_view name) {
  std::string known;
  for (const NativeEntry& entry : kFormats) {
    if (entry.name == name) return std::unique_ptr<ChatFormat>(new NativeFormat(entry));
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  return base::InputError(
      absl::StatusCode::kNotFound,
      {.field = "format", .value = std::string(name), .expected = "one of " + known});
}

std::vector<std::string> NativeFormatNames() {
  std::vector<std::string> names;
  for (const NativeEntry& entry : kFormats) names.emplace_back(entry.name);
  return names;
}

}  // namespace inhouse::engine
