#include "engine/runtime/grammar_guide.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace inhouse::engine {
namespace {

void Set(TokenId token, TokenMask* mask) {
  const auto bit = static_cast<size_t>(token);
  if (bit / 64 < mask->size()) (*mask)[bit / 64] |= uint64_t{1} << (bit % 64);
}

}  // namespace

GrammarGuide::GrammarGuide(std::shared_ptr<Grammar> grammar, const GenerateRequest& request,
                           const Tokenizer& tokenizer)
    : tokenizer_(tokenizer), matcher_(std::move(grammar)), after_(request.grammar_after) {
  if (after_.empty()) return;
  state_ = State::kFree;
  for (const char* text : {"\n", "\n\n"}) {
    if (const auto id = tokenizer.TokenToId(text)) breaks_.push_back(*id);
  }
  if (request.grammar_opener.empty()) return;
  opener_ = tokenizer.TokenToId(request.grammar_opener);
  state_ = opener_ ? State::kOpening : State::kInside;
}

absl::Status GrammarGuide::FillMask(TokenMask* mask) {
  INHOUSE_RETURN_IF_ERROR(matcher_.FillMask(mask));
  if (state_ == State::kOpening) Set(*opener_, mask);
  if (state_ == State::kBetween) {
    for (const TokenId id : breaks_) Set(id, mask);
  }
  return absl::OkStatus();
}

bool GrammarGuide::Accept(TokenId token) {
  if (state_ == State::kFree) {
    AcceptFree(token);
    return true;
  }
  const State before = std::exchange(state_, State::kInside);
  if (matcher_.Accept(token)) return true;
  // What FillMask added to the grammar's own.
  if (before == State::kOpening && token == *opener_) {
    state_ = State::kFree;
    return true;
  }
  return before == State::kBetween &&
         std::find(breaks_.begin(), breaks_.end(), token) != breaks_.end();
}

void GrammarGuide::AcceptFree(TokenId token) {
  tail_ += tokenizer_.TokenBytes(token);
  const size_t at = tail_.find(after_);
  if (at == tail_.npos) {
    if (tail_.size() >= after_.size()) tail_.erase(0, tail_.size() - after_.size() + 1);
    return;
  }
  state_ = State::kBetween;
  std::string_view rest = std::string_view(tail_).substr(at + after_.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" \n"), rest.size()));
  // A token that ends the reasoning and begins the answer: a model whose marker is one token has
  // none. What the grammar does not take there stays outside of it.
  if (!rest.empty() && matcher_.AcceptText(rest)) state_ = State::kInside;
}

}  // namespace inhouse::engine
