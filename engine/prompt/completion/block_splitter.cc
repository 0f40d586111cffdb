#include "engine/prompt/completion/block_splitter.h"

#include <algorithm>

#include "engine/prompt/jinja/text.h"

namespace inhouse::engine {

void BlockSplitter::Push(std::string_view text, CompletionDelta* out) {
  if (state_ == State::kRest) {
    out->content += text;
    return;
  }
  buffer_ += text;
  if (state_ == State::kText) RunText(out);
  while (state_ == State::kBlock && RunBlock(out)) {
  }
}

void BlockSplitter::Finish(CompletionDelta* out) {
  if (state_ == State::kBlock) {
    GiveUp(out);
  } else {
    out->content += buffer_;
    buffer_.clear();
  }
  state_ = State::kRest;
}

void BlockSplitter::RunText(CompletionDelta* out) {
  const size_t at = buffer_.find(opener_);
  if (at == buffer_.npos) {
    const size_t keep = PartialMarker(buffer_, opener_);
    out->content += buffer_.substr(0, buffer_.size() - keep);
    buffer_.erase(0, buffer_.size() - keep);
    return;
  }
  out->content += buffer_.substr(0, at);
  buffer_.erase(0, at + opener_.size());
  state_ = State::kBlock;
}

void BlockSplitter::GiveUp(CompletionDelta* out) {
  if (!any_call_) out->content += opener_;
  // A newline behind a call belongs to the call, also where no call follows.
  if (any_call_ && NeedsNewline() && buffer_.starts_with('\n')) buffer_.erase(0, 1);
  out->content += buffer_;
  buffer_.clear();
  state_ = State::kRest;
}

bool BlockSplitter::RunBlock(CompletionDelta* out) {
  if (!wait_for_.empty()) {
    if (buffer_.find(wait_for_, wait_from_) == buffer_.npos) {
      const size_t overlap = wait_for_.size() - 1;
      wait_from_ = std::max(wait_from_, buffer_.size() - std::min(buffer_.size(), overlap));
      return false;
    }
    wait_for_.clear();
  }
  std::string_view rest = buffer_;
  if (space_between_) rest = jinja::Strip(rest, jinja::Side::kLeft);
  bool newline = true;
  if (NeedsNewline() && any_call_) {
    if (rest.empty()) return false;
    newline = rest[0] == '\n';
    if (newline) rest.remove_prefix(1);
  }
  if (rest.starts_with(closer_)) {
    const size_t consumed = static_cast<size_t>(rest.data() - buffer_.data()) + closer_.size();
    out->content += buffer_.substr(consumed);
    buffer_.clear();
    state_ = State::kRest;
    return false;
  }
  if (rest.empty() || closer_.starts_with(rest)) return false;
  const Trial trial = newline ? TryCall(rest) : Trial{.verdict = Verdict::kNoCall};
  switch (trial.verdict) {
    case Verdict::kNeedMore:
      wait_for_ = trial.wait_for;
      wait_from_ = 0;
      if (!wait_for_.empty()) {
        const size_t overlap = wait_for_.size() - 1;
        wait_from_ = buffer_.size() - std::min(buffer_.size(), overlap);
      }
      return false;
    case Verdict::kNoCall:
      GiveUp(out);
      return false;
    case Verdict::kCall:
      out->tool_calls.push_back(trial.call);
      any_call_ = true;
      buffer_.erase(0, static_cast<size_t>(rest.data() - buffer_.data()) + trial.size);
      return true;
  }
  return false;
}

}  // namespace inhouse::engine
