// <tool_call> JSON </tool_call>, each judged by itself.
#include "engine/prompt/completion/splitter.h"
#include "engine/prompt/jinja/json.h"

namespace inhouse::engine {
namespace {

constexpr std::string_view kBegin = "<tool_call>";
constexpr std::string_view kEnd = "</tool_call>";

// The call that the text between the markers says, if it is one.
bool ReadCall(std::string_view text, ToolCall* call) {
  const auto json = jinja::ParseJson(text, "tool_call");
  if (!json.ok() || !json->Is(jinja::Kind::kDict)) return false;
  const jinja::Value* name = json->AsDict().Find("name");
  const jinja::Value* arguments = json->AsDict().Find("arguments");
  if (name == nullptr || !name->IsString() || name->Text().empty() || arguments == nullptr ||
      !arguments->Is(jinja::Kind::kDict)) {
    return false;
  }
  call->name = name->Text();
  call->arguments = jinja::ToJson(*arguments);
  return true;
}

class QwenSplitter : public ContentSplitter {
 public:
  void Push(std::string_view text, CompletionDelta* out) override {
    buffer_ += text;
    while (inside_ ? RunCall(out) : RunText(out)) {
    }
  }

  void Finish(CompletionDelta* out) override {
    Emit((inside_ ? std::string(kBegin) : "") + buffer_, out);
    buffer_.clear();
    // Newlines at the very end stay, unless a call stands right before them.
    if (!strip_front_) out->content += newlines_;
    newlines_.clear();
  }

 private:
  bool RunText(CompletionDelta* out) {
    const size_t at = buffer_.find(kBegin);
    if (at == buffer_.npos) {
      const size_t keep = PartialMarker(buffer_, kBegin);
      Emit(buffer_.substr(0, buffer_.size() - keep), out);
      buffer_.erase(0, buffer_.size() - keep);
      return false;
    }
    Emit(buffer_.substr(0, at), out);
    buffer_.erase(0, at + kBegin.size());
    inside_ = true;
    searched_ = 0;
    return true;
  }

  bool RunCall(CompletionDelta* out) {
    const size_t at = buffer_.find(kEnd, searched_);
    if (at == buffer_.npos) {
      searched_ = buffer_.size() - std::min(buffer_.size(), kEnd.size() - 1);
      return false;
    }
    const std::string body = buffer_.substr(0, at);
    buffer_.erase(0, at + kEnd.size());
    inside_ = false;
    ToolCall call;
    if (ReadCall(body, &call)) {
      out->tool_calls.push_back(std::move(call));
      newlines_.clear();
      strip_front_ = true;
    } else {
      Emit(std::string(kBegin) + body + std::string(kEnd), out);
    }
    return true;
  }

  // Gives text out, but holds back newlines at its end: a call may follow and take them away.
  void Emit(std::string_view text, CompletionDelta* out) {
    if (strip_front_) {  // behind a call
      const size_t first = text.find_first_not_of('\n');
      if (first == text.npos) return;
      text.remove_prefix(first);
      strip_front_ = false;
      if (any_text_) out->content += '\n';
    }
    const size_t last = text.find_last_not_of('\n');
    if (last == text.npos) {
      newlines_ += text;
      return;
    }
    out->content += newlines_;
    out->content += text.substr(0, last + 1);
    newlines_ = text.substr(last + 1);
    any_text_ = true;
  }

  std::string buffer_;
  bool inside_ = false;
  size_t searched_ = 0;
  std::string newlines_;
  bool strip_front_ = false;
  bool any_text_ = false;
};

class PlainSplitter : public ContentSplitter {
 public:
  void Push(std::string_view text, CompletionDelta* out) override { out->content += text; }
  void Finish(CompletionDelta* /*out*/) override {}
};

}  // namespace

std::unique_ptr<ContentSplitter> NewQwenSplitter() { return std::make_unique<QwenSplitter>(); }
std::unique_ptr<ContentSplitter> NewPlainSplitter() { return std::make_unique<PlainSplitter>(); }

size_t PartialMarker(std::string_view text, std::string_view marker) {
  for (size_t n = std::min(text.size(), marker.size() - 1); n > 0; --n) {
    if (marker.starts_with(text.substr(text.size() - n))) return n;
  }
  return 0;
}

bool IsJson(std::string_view text) { return jinja::ParseJson(text, "").ok(); }

bool IsJsonObject(std::string_view text) {
  const auto json = jinja::ParseJson(text, "");
  return json.ok() && json->Is(jinja::Kind::kDict);
}

}  // namespace inhouse::engine
