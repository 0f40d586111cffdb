// Any bytes as a schema, a regular expression or an EBNF grammar: a message, or a grammar whose
// masks agree with trying each token, and which has an end.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "engine/sampling/grammar/grammar.h"
#include "engine/sampling/grammar/test_vocabulary.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using inhouse::engine::Grammar;
  using inhouse::engine::GrammarMatcher;
  using inhouse::engine::GrammarSpec;
  if (size < 2) return 0;
  static const auto trie = inhouse::engine::TestTrie();
  constexpr GrammarSpec::Kind kKinds[] = {GrammarSpec::Kind::kJsonSchema, GrammarSpec::Kind::kRegex,
                                          GrammarSpec::Kind::kEbnf};
  const GrammarSpec spec{.kind = kKinds[data[0] % 3],
                         .text = std::string(reinterpret_cast<const char*>(data) + 2, size - 2),
                         .strict = (data[0] & 0x80) != 0};
  const auto grammar =
      Grammar::Compile(spec, trie, {.nfa_states = 20'000, .dfa_states = 4'000, .work = 300'000});
  if (!grammar.ok()) {
    INHOUSE_CHECK(!grammar.status().message().empty(), "a refusal without a reason");
    return 0;
  }
  GrammarMatcher matcher(*grammar);
  inhouse::engine::TokenMask mask;
  uint32_t random = data[1];
  for (int step = 0; step < 12 && !matcher.must_end(); ++step) {
    if (!matcher.FillMask(&mask).ok()) return 0;  // too ambiguous
    int32_t chosen = -1;
    uint32_t allowed = 0;
    for (int32_t token = 0; token < trie->vocab_size(); ++token) {
      const bool may = (mask[static_cast<size_t>(token) / 64] >> (token % 64) & 1) != 0;
      if (token % 7 == step % 7) {
        GrammarMatcher copy = matcher;
        INHOUSE_CHECK(copy.Accept(token) == may, "the mask differs from trying");
      }
      random = random * 1664525 + 1013904223;
      if (may && (random >> 8) % ++allowed == 0) chosen = token;
    }
    if (chosen < 0) {
      INHOUSE_CHECK(matcher.may_end(), "no way on and no end");
      return 0;
    }
    INHOUSE_CHECK(matcher.Accept(chosen), "a token of the mask is not accepted");
  }
  return 0;
}
