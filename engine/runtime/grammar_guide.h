// Keeps one answer to its grammar: which tokens may be sampled, and when the answer is complete.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/sampling/grammar/grammar.h"

namespace inhouse::engine {

// Reasoning is free: the grammar waits for GenerateRequest::grammar_after. Engine thread only.
class GrammarGuide {
 public:
  GrammarGuide(std::shared_ptr<Grammar> grammar, const GenerateRequest& request,
               const Tokenizer& tokenizer);

  // Whether every token but the end tokens may come (`mask` is not filled then).
  bool is_free() const { return state_ == State::kFree; }
  // The tokens that may come, without end tokens. An error ends the request.
  absl::Status FillMask(TokenMask* mask);
  bool may_end() const { return state_ != State::kFree && matcher_.may_end(); }
  bool must_end() const { return state_ == State::kInside && matcher_.must_end(); }

  // False if the token has no place there: an end token, or one that the mask offered wrongly.
  bool Accept(TokenId token);

 private:
  enum class State {
    kOpening,  // the first token may open the reasoning
    kFree,     // reasoning
    kBetween,  // behind the reasoning: a line break may come
    kInside
  };

  void AcceptFree(TokenId token);

  const Tokenizer& tokenizer_;
  GrammarMatcher matcher_;
  State state_ = State::kInside;
  std::string after_;
  std::string tail_;  // of the reasoning, where `after_` may have begun
  std::optional<TokenId> opener_;
  std::vector<TokenId> breaks_;  // tokens that are line breaks
};

}  // namespace inhouse::engine
