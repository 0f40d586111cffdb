// Finds the matches of one pre-tokenizer pattern.
//
// Three makers, one meaning (Oniguruma's, by which Hugging Face `tokenizers` splits): classes with
// one quantifier are table look-ups, the word patterns of the known model families are written by
// hand, everything else goes to PCRE2. splitter_test.cc holds them against PCRE2 and against each
// other.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace inhouse::engine {

struct Match {
  size_t begin = static_cast<size_t>(-1);
  size_t end = static_cast<size_t>(-1);
};

// Immutable; any thread may call Find.
class Splitter {
 public:
  virtual ~Splitter() = default;
  // The next match in `piece` (UTF-8) that begins at or after `from`; false if there is none.
  // `match` holds the last match on entry (or nothing): an empty match right behind it is none.
  virtual bool Find(std::string_view piece, size_t from, Match* match) const = 0;
};

// `[class]`, `\p{X}`, each with `+` or `{1,n}` or nothing and with `\s?` or ` ?` in front; `\s+$`.
// Null for any other pattern.
std::unique_ptr<Splitter> MakeClassSplitter(std::string_view pattern);

// The word patterns of GPT-2, Qwen2, Llama 3 and DeepSeek V3. Null for any other pattern.
std::unique_ptr<Splitter> MakeWordSplitter(std::string_view pattern);

// Any pattern, through PCRE2. Errors say what is wrong with the pattern, without a file name.
absl::StatusOr<std::unique_ptr<Splitter>> MakeRegexSplitter(const std::string& pattern);

// Runs of digits, or each digit by itself.
std::unique_ptr<Splitter> MakeDigitSplitter(bool individual);

// The fastest of the above that fits.
absl::StatusOr<std::unique_ptr<Splitter>> MakeSplitter(const std::string& pattern);

inline constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// The file has the line ends themselves where this has \r and \n.
inline constexpr std::string_view kDeepSeekV3Pattern =
    R"re([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)re";

}  // namespace inhouse::engine
