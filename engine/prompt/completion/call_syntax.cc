#include "engine/prompt/completion/call_syntax.h"

#include <utility>

#include "base/status.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {
namespace {

using Json = nlohmann::ordered_json;
using Kind = GrammarSpec::Kind;

constexpr int64_t kCallsMax = 32;  // of one answer

const CallSyntax kFencedSyntax = {
    .open = {"<｜tool▁calls▁begin｜>"},
    .call_open = {"<｜tool▁call▁begin｜>", "function", "<｜tool▁sep｜>"},
    .after_name = {"\n```json\n"},
    .call_close = {"\n```", "<｜tool▁call▁end｜>"},
    .separator = "\n",
    .close = {"<｜tool▁calls▁end｜>"}};
const CallSyntax kBareSyntax = {.open = {"<｜tool▁calls▁begin｜>"},
                                .call_open = {"<｜tool▁call▁begin｜>"},
                                .after_name = {"<｜tool▁sep｜>"},
                                .call_close = {"<｜tool▁call▁end｜>"},
                                .close = {"<｜tool▁calls▁end｜>"}};
const CallSyntax kQwenSyntax = {.call_open = {"<tool_call>", "\n{\"name\": \""},
                                .after_name = {"\", \"arguments\": "},
                                .call_close = {"}\n", "</tool_call>"},
                                .separator = "\n",
                                .quoted_name = true};

GrammarSpec Text(std::string text) { return {.kind = Kind::kText, .text = std::move(text)}; }

void Append(const std::vector<std::string>& texts, GrammarSpec* sequence) {
  for (const std::string& text : texts) {
    sequence->parts.push_back(
        {.kind = text.starts_with('<') ? Kind::kMarker : Kind::kText, .text = text});
  }
}

std::string Joined(const std::vector<std::string>& texts) {
  std::string out;
  for (const std::string& text : texts) out += text;
  return out;
}

// The name as it stands in the call.
std::string Spelled(const CallSyntax& syntax, const std::string& name) {
  if (!syntax.quoted_name) return name;
  const std::string quoted = Json(name).dump();
  return quoted.substr(1, quoted.size() - 2);
}

GrammarSpec ArgumentsOf(const Json& function, const std::string& name) {
  const auto parameters = function.find("parameters");
  if (parameters == function.end() || !parameters->is_object() || parameters->empty()) {
    return {.kind = Kind::kJsonObject};
  }
  Json schema = *parameters;
  schema["type"] = "object";  // arguments are an object, whatever else the schema allows
  schema.erase("nullable");
  return {.kind = Kind::kJsonSchema,
          .text = schema.dump(),
          .label = fmt::format("tools['{}'].function.parameters", name.substr(0, 64)),
          .strict = function.value("strict", Json(false)) == true};
}

class ForcedSplitter : public ContentSplitter {
 public:
  explicit ForcedSplitter(const CallSyntax& syntax)
      : begin_(Joined(syntax.call_open)),
        after_name_(Joined(syntax.after_name)),
        quoted_name_(syntax.quoted_name) {}

  void Push(std::string_view text, CompletionDelta* out) override {
    buffer_ += text;
    while (Run(out)) {
    }
  }
  void Finish(CompletionDelta* /*out*/) override {}

 private:
  enum class State { kBetween, kName, kArguments };

  // Whether there may be more to do.
  bool Run(CompletionDelta* out) {
    if (state_ == State::kArguments) return RunArguments(out);
    const std::string& marker = state_ == State::kBetween ? begin_ : after_name_;
    const size_t at = buffer_.find(marker);
    if (at == buffer_.npos) return false;
    if (state_ == State::kName) {
      std::string name = buffer_.substr(0, at);
      if (quoted_name_) {
        const Json json = Json::parse("\"" + name + "\"", nullptr, false);
        if (json.is_string()) name = json.get<std::string>();
      }
      out->call_pieces.push_back({.begins = true, .name = std::move(name)});
      depth_ = 0;
      in_string_ = false;
    }
    buffer_.erase(0, at + marker.size());
    state_ = state_ == State::kBetween ? State::kName : State::kArguments;
    return true;
  }

  // Arguments are one JSON value, an object: they end with the bracket that closes it.
  bool RunArguments(CompletionDelta* out) {
    size_t i = 0;
    bool ended = false;
    for (; i < buffer_.size() && !ended; ++i) {
      const char c = buffer_[i];
      if (in_string_) {
        if (escaped_) {
          escaped_ = false;
        } else if (c == '\\') {
          escaped_ = true;
        } else if (c == '"') {
          in_string_ = false;
        }
      } else if (c == '"') {
        in_string_ = true;
      } else if (c == '{' || c == '[') {
        ++depth_;
      } else if (c == '}' || c == ']') {
        ended = --depth_ == 0;
      }
    }
    if (i > 0) out->call_pieces.push_back({.arguments = buffer_.substr(0, i)});
    buffer_.erase(0, i);
    if (ended) state_ = State::kBetween;
    return ended;
  }

  const std::string begin_, after_name_;
  const bool quoted_name_;
  State state_ = State::kBetween;
  std::string buffer_;
  int depth_ = 0;
  bool in_string_ = false;
  bool escaped_ = false;
};

}  // namespace

const CallSyntax* FindCallSyntax(CallStyle style) {
  switch (style) {
    case CallStyle::kFenced:
      return &kFencedSyntax;
    case CallStyle::kBare:
      return &kBareSyntax;
    case CallStyle::kQwen:
      return &kQwenSyntax;
    case CallStyle::kNone:
    case CallStyle::kDsmlFunctionCalls:
    case CallStyle::kDsmlToolCalls:
    case CallStyle::kDsmlCalls:
      return nullptr;
  }
  return nullptr;
}

absl::StatusOr<GrammarSpec> GrammarOfCalls(const CallSyntax& syntax, const Json& tools,
                                           int64_t calls_max) {
  GrammarSpec any{.kind = Kind::kChoice};
  for (const Json& tool : tools) {
    const Json& function = tool.contains("function") ? tool["function"] : tool;
    const auto name = function.is_object() ? function.find("name") : function.end();
    if (!function.is_object() || name == function.end() || !name->is_string()) {
      return base::InvalidInput({.field = "tools", .expected = "functions with a name"});
    }
    GrammarSpec call{.kind = Kind::kSequence};
    Append(syntax.call_open, &call);
    call.parts.push_back(Text(Spelled(syntax, *name)));
    Append(syntax.after_name, &call);
    call.parts.push_back(ArgumentsOf(function, *name));
    Append(syntax.call_close, &call);
    any.parts.push_back(std::move(call));
  }
  if (any.parts.empty()) {
    return base::InvalidInput({.field = "tools", .expected = "at least one function"});
  }
  GrammarSpec more{.kind = Kind::kSequence, .parts = {Text(syntax.separator), any}};
  GrammarSpec out{.kind = Kind::kSequence};
  Append(syntax.open, &out);
  out.parts.push_back(std::move(any));
  const int64_t further = calls_max < 0 ? kCallsMax - 1 : calls_max - 1;
  if (further > 0) {
    out.parts.push_back({.kind = Kind::kRepeat, .max = further, .parts = {std::move(more)}});
  }
  Append(syntax.close, &out);
  return out;
}

std::unique_ptr<ContentSplitter> NewForcedSplitter(const CallSyntax& syntax) {
  return std::make_unique<ForcedSplitter>(syntax);
}

}  // namespace inhouse::engine
