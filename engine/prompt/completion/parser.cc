#include "engine/prompt/completion/parser.h"

#include <algorithm>

#include "engine/prompt/completion/call_syntax.h"

namespace inhouse::engine {
namespace {

constexpr std::string_view kThink = "<think>";
constexpr std::string_view kThinkEnd = "</think>";
constexpr const char* kDeepSeekEnd = "<｜end▁of▁sentence｜>";

std::unique_ptr<ContentSplitter> NewSplitter(CallStyle style) {
  switch (style) {
    case CallStyle::kNone:
      return NewPlainSplitter();
    case CallStyle::kFenced:
      return NewFencedSplitter();
    case CallStyle::kBare:
      return NewBareSplitter();
    case CallStyle::kDsmlFunctionCalls:
      return NewDsmlSplitter({.block = "function_calls", .space = ""});
    case CallStyle::kDsmlToolCalls:
      return NewDsmlSplitter({.block = "tool_calls", .space = ""});
    case CallStyle::kDsmlCalls:
      return NewDsmlSplitter({.block = "calls", .space = " "});
    case CallStyle::kQwen:
      return NewQwenSplitter();
  }
  return NewPlainSplitter();
}

// Three stages: the end token cuts the text, </think> splits off the reasoning, the splitter takes
// the calls out of the content.
class Stream : public CompletionStream {
 public:
  Stream(const CompletionStyle& style, bool prompt_ends_in_think,
         std::unique_ptr<ContentSplitter> splitter)
      : style_(style), in_think_(prompt_ends_in_think), splitter_(std::move(splitter)) {}

  CompletionDelta Push(std::string_view text) override {
    CompletionDelta out;
    if (ended_) return out;
    pending_ += text;
    size_t at = pending_.npos;
    size_t keep = 0;
    for (const std::string& token : style_.end_tokens) {
      at = std::min(at, pending_.find(token));
      keep = std::max(keep, PartialMarker(pending_, token));
    }
    ended_ = at != pending_.npos;
    if (!ended_) at = pending_.size() - keep;
    Read(std::string_view(pending_).substr(0, at), &out);
    pending_.erase(0, at);
    if (ended_) Close(&out);
    return out;
  }

  CompletionDelta Finish() override {
    CompletionDelta out;
    if (closed_) return out;
    Read(pending_, &out);
    Close(&out);
    return out;
  }

  // After Finish.
  bool complete() const { return ended_ && state_ != State::kReasoning; }

 private:
  enum class State { kStart, kReasoning, kAfterReasoning, kContent };

  void Read(std::string_view text, CompletionDelta* out) {
    buffer_ += text;
    if (state_ == State::kStart) ReadStart(false);
    if (state_ == State::kReasoning) ReadReasoning(out);
    if (state_ == State::kAfterReasoning) ReadNewlines();
    if (state_ == State::kContent) {
      splitter_->Push(buffer_, out);
      buffer_.clear();
    }
  }

  // Does the text begin with <think>? `last`: no more text comes.
  void ReadStart(bool last) {
    const bool may_open = style_.opens_think;
    if (may_open && !last && buffer_.size() < kThink.size() && kThink.starts_with(buffer_)) return;
    if (may_open && buffer_.starts_with(kThink)) {
      buffer_.erase(0, kThink.size());
      in_think_ = true;
    }
    state_ = in_think_ ? State::kReasoning : State::kContent;
  }

  void ReadReasoning(CompletionDelta* out) {
    const size_t end = buffer_.find(kThinkEnd);
    if (end == buffer_.npos) {
      const size_t keep = PartialMarker(buffer_, kThinkEnd);
      EmitReasoning(std::string_view(buffer_).substr(0, buffer_.size() - keep), out);
      buffer_.erase(0, buffer_.size() - keep);
      return;
    }
    EmitReasoning(std::string_view(buffer_).substr(0, end), out);
    buffer_.erase(0, end + kThinkEnd.size());
    state_ = style_.strip_newlines ? State::kAfterReasoning : State::kContent;
  }

  void EmitReasoning(std::string_view text, CompletionDelta* out) {
    if (!style_.strip_newlines) {
      out->reasoning += text;
      return;
    }
    if (!reasoned_) text.remove_prefix(std::min(text.find_first_not_of('\n'), text.size()));
    if (text.empty()) return;
    reasoned_ = true;
    const size_t last = text.find_last_not_of('\n');
    if (last == text.npos) {
      newlines_ += text;
      return;
    }
    out->reasoning += newlines_;
    out->reasoning += text.substr(0, last + 1);
    newlines_ = text.substr(last + 1);
  }

  void ReadNewlines() {
    buffer_.erase(0, std::min(buffer_.find_first_not_of('\n'), buffer_.size()));
    if (!buffer_.empty()) state_ = State::kContent;
  }

  void Close(CompletionDelta* out) {
    closed_ = true;
    if (state_ == State::kStart) {
      ReadStart(true);
      if (state_ == State::kContent) {
        splitter_->Push(buffer_, out);
        buffer_.clear();
      }
    }
    if (state_ == State::kReasoning) EmitReasoning(std::exchange(buffer_, {}), out);
    splitter_->Finish(out);
  }

  const CompletionStyle style_;
  bool in_think_;
  const std::unique_ptr<ContentSplitter> splitter_;
  State state_ = State::kStart;
  std::string pending_;  // may be the beginning of an end token
  std::string buffer_;
  std::string newlines_;
  bool reasoned_ = false;
  bool ended_ = false, closed_ = false;
};

void Append(CompletionDelta delta, std::string* reasoning, ParsedCompletion* out) {
  *reasoning += delta.reasoning;
  out->content += delta.content;
  for (ToolCall& call : delta.tool_calls) out->tool_calls.push_back(std::move(call));
}

struct NamedStyle {
  std::string_view name;
  CompletionStyle style;
};

const std::vector<NamedStyle>& Styles() {
  static const std::vector<NamedStyle> styles = [] {
    const CompletionStyle plain = {
        .end_tokens = {kDeepSeekEnd, "<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|EOT|>"}};
    const std::vector<std::string> eos = {kDeepSeekEnd};
    const auto deepseek = [&](CallStyle calls) {
      return CompletionStyle{.end_tokens = eos, .calls = calls};
    };
    const auto dsml = [&](CallStyle calls) {
      return CompletionStyle{
          .end_tokens = eos, .opens_think = false, .strip_newlines = false, .calls = calls};
    };
    return std::vector<NamedStyle>{
        {"plain", plain},
        {"deepseek-llm", deepseek(CallStyle::kNone)},
        {"deepseek-v2", deepseek(CallStyle::kNone)},
        {"deepseek-coder", {.end_tokens = {"<|EOT|>", kDeepSeekEnd}}},
        {"deepseek-v2.5", deepseek(CallStyle::kFenced)},
        {"deepseek-v3", deepseek(CallStyle::kFenced)},
        {"deepseek-r1", deepseek(CallStyle::kFenced)},
        {"deepseek-r1-distill", deepseek(CallStyle::kFenced)},
        {"deepseek-v3.1", deepseek(CallStyle::kBare)},
        {"deepseek-v3.1-terminus", deepseek(CallStyle::kBare)},
        {"deepseek-v3.2", dsml(CallStyle::kDsmlFunctionCalls)},
        {"deepseek-v4", dsml(CallStyle::kDsmlToolCalls)},
        {"deepseek-v4.1", dsml(CallStyle::kDsmlCalls)},
        {"qwen3", {.end_tokens = {"<|im_end|>", "<|endoftext|>"}, .calls = CallStyle::kQwen}},
    };
  }();
  return styles;
}

}  // namespace

const CompletionStyle* FindCompletionStyle(std::string_view name) {
  for (const NamedStyle& entry : Styles()) {
    if (entry.name == name) return &entry.style;
  }
  return nullptr;
}

std::string_view StyleOfTemplate(std::string_view source) {
  const auto has = [&](std::string_view what) { return source.find(what) != source.npos; };
  if (has("DSML")) {
    if (has("function_calls")) return "deepseek-v3.2";
    return has("tool_calls>") ? "deepseek-v4" : "deepseek-v4.1";
  }
  if (has("<｜tool▁calls▁begin｜>")) return has("```json") ? "deepseek-r1" : "deepseek-v3.1";
  // Calls as JSON; Qwen3-Coder writes <function=...> between the same tags.
  if (has("<tool_call>") && !has("<function=")) return "qwen3";
  return "plain";
}

ParsedCompletion ParseCompletion(const CompletionStyle& style, std::string_view text,
                                 bool prompt_ends_in_think) {
  Stream stream(style, prompt_ends_in_think, NewSplitter(style.calls));
  ParsedCompletion out;
  std::string reasoning;
  Append(stream.Push(text), &reasoning, &out);
  Append(stream.Finish(), &reasoning, &out);
  if (!reasoning.empty()) out.reasoning = std::move(reasoning);
  out.complete = stream.complete();
  return out;
}

std::unique_ptr<CompletionStream> NewCompletionStream(const CompletionStyle& style,
                                                      bool prompt_ends_in_think) {
  return std::make_unique<Stream>(style, prompt_ends_in_think, NewSplitter(style.calls));
}

std::unique_ptr<CompletionStream> NewForcedCompletionStream(const CompletionStyle& style,
                                                            bool prompt_ends_in_think) {
  return std::make_unique<Stream>(style, prompt_ends_in_think,
                                  NewForcedSplitter(*FindCallSyntax(style.calls)));
}

}  // namespace inhouse::engine
