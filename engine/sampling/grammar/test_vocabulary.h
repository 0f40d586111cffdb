// A small vocabulary for tests: all bytes, pieces that cross the borders of JSON tokens and of
// characters, two markers.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "engine/sampling/grammar/token_trie.h"

namespace inhouse::engine {

inline std::shared_ptr<const TokenTrie> TestTrie() {
  TokenTrie::Vocabulary vocabulary;
  const auto add = [&vocabulary](std::string text) {
    vocabulary.tokens.emplace_back(std::move(text), static_cast<int32_t>(vocabulary.size++));
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (const char* text :
       {"{\"",         "\":",
        "\": ",        "\", \"",
        "\",\"",       "\"}",
        "\"}}",        "\"]",
        "[{\"",        "},{\"",
        "}]",          "]}",
        "true",        "false",
        "null",        "tr",
        "nul",         " \"",
        ", ",          "\n  ",
        "\n\n",        "\n    ",
        "  ",          "10",
        "123",         "0.5",
        "-1",          "e+",
        "00",          "99",
        "name",        "value",
        "field_",      "the",
        " quick",      " brown",
        "é",           "你好",
        "😀",          "\xF0\x9F",
        "\x98\x80",    "\xE4\xBD",
        "\xA0\"",      "\\n",
        "\\u",         "\\\"",
        "abc",         "foo",
        "bar",         "value-",
        "a\": 1, \"b", "1}",
        "1]",          "\"\"",
        "[]",          "{}",
        "[[",          "x_",
        "2024-",       "-02-",
        "@",           ".com",
        "http",        "://",
        "kind\": \"",  "\"a\": ",
        "<think>",     "]]]]]]]]",
        "}}}}}}}}",    "a very long token that makes counters near a bound interesting"}) {
    add(text);
  }
  vocabulary.markers = {{"<call>", static_cast<int32_t>(vocabulary.size)},
                        {"</call>", static_cast<int32_t>(vocabulary.size + 1)}};
  vocabulary.size += 3;  // the last one is the end
  return std::make_shared<const TokenTrie>(std::move(vocabulary));
}

}  // namespace inhouse::engine
