// Finds the tokens that a tokenizer file adds to its vocabulary, literally, in text.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/tokenizer_spec.h"

namespace inhouse::engine {

// Leftmost-longest, as the Aho-Corasick automaton of Hugging Face `tokenizers` is set up, with its
// rules for lstrip, rstrip and single_word. Immutable after the last Add.
class AddedTokenMatcher {
 public:
  // Matches `content`, which differs from token.content if that is normalized.
  void Add(const AddedToken& token, std::string_view content);

  // Calls text(piece) for what stands between added tokens, where it is not empty, and token(id)
  // for each added token, in order.
  template <typename Text, typename Token>
  void Split(std::string_view input, Text&& text, Token&& token) const {
    size_t done = 0;
    size_t from = 0;
    Found found;
    while (Next(input, from, done, &found)) {
      if (done < found.begin) text(input.substr(done, found.begin - done));
      token(found.id);
      done = found.end;
      from = found.search_end;
    }
    if (done < input.size()) text(input.substr(done));
  }

 private:
  struct Node {
    std::vector<std::pair<uint8_t, uint32_t>> children = {};  // by byte
    int32_t token = -1;                                       // an index into tokens_
  };
  struct Flags {
    int32_t id;
    bool lstrip;
    bool rstrip;
    bool single_word;
  };
  struct Found {
    int32_t id;
    size_t begin;  // of what the token takes, white space included
    size_t end;
    size_t search_end;  // of its literal text: the next search starts here
  };

  bool Next(std::string_view input, size_t from, size_t done, Found* found) const;
  // The longest token at `i`: its length, or 0.
  size_t MatchAt(std::string_view input, size_t i, int32_t* token) const;

  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::array<uint32_t, 256> roots_ = {};  // children of the first node; 0 = none
  std::vector<Flags> tokens_;
};

}  // namespace inhouse::engine
