// The general splitter: an Oniguruma pattern, rewritten for PCRE2 where the two differ.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/tokenizer/code_points.h"
#include "engine/tokenizer/splitter.h"
#include "fmt/format.h"
#include "pcre2.h"

namespace inhouse::engine {
namespace {

constexpr size_t kPatternBytesMax = 64 << 10;
// Oniguruma gives up after ten million retries by default; so does this.
constexpr uint32_t kMatchLimit = 10'000'000;
constexpr size_t kJitStackBytesMax = 1 << 20;

std::string InClass(std::span<const CodePointRange> ranges) {
  std::string out;
  for (const CodePointRange& range : ranges) {
    out += fmt::format("\\x{{{:X}}}-\\x{{{:X}}}", static_cast<uint32_t>(range.first),
                       static_cast<uint32_t>(range.last));
  }
  return out;
}

// Rewrites `\d`, `\s` (PCRE2 counts U+180E in), `\h` (a hex digit in Oniguruma) and `\p{X}`
// (PCRE2's tables are older). Everything else means the same in both as far as tokenizers use it.
class PatternTranslator {
 public:
  explicit PatternTranslator(std::string_view pattern) : rest_(pattern) {}

  // Nothing for what PCRE2 would read as something else.
  std::optional<std::string> Translate() {
    while (!rest_.empty()) {
      if (depth_ > 0 && rest_.substr(0, 2) == "&&") return std::nullopt;
      if (rest_[0] == '\\' && rest_.size() >= 2) {
        Escape();
      } else {
        if (rest_[0] == '[') {
          ++depth_;
        } else if (rest_[0] == ']' && depth_ > 0) {
          --depth_;
        }
        Copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  void Copy(size_t size) {
    out_ += rest_.substr(0, size);
    rest_.remove_prefix(size);
  }

  // Puts the members of a class in place of `size` bytes of the pattern.
  void Replace(size_t size, const std::string& members) {
    rest_.remove_prefix(size);
    out_ += depth_ > 0 ? members : fmt::format("[{}]", members);
  }

  void Escape() {
    const std::vector<CodePointRange> space = SpaceRanges();
    switch (rest_[1]) {
      case 's':
        return Replace(2, InClass(space));
      case 'S':
        return Replace(2, InClass(Complement(space)));
      case 'd':
      case 'D':
        return Category("Nd", 2, rest_[1] == 'D');
      case 'h':
        return Replace(2, "0-9A-Fa-f");
      case 'p':
      case 'P':
        return Property();
      default:
        return Copy(2);
    }
  }

  void Property() {
    const size_t close = rest_.find('}');
    if (rest_.size() < 5 || rest_[2] != '{' || close == std::string_view::npos) return Copy(2);
    std::string_view name = rest_.substr(3, close - 3);
    const bool negated = (rest_[1] == 'P') != (name[0] == '^');
    if (name[0] == '^') name.remove_prefix(1);
    if (CategoryRanges(name).empty()) return Copy(close + 1);  // a script, say: PCRE2's own
    Category(name, close + 1, negated);
  }

  void Category(std::string_view name, size_t size, bool negated) {
    if (negated) return Replace(size, InClass(Complement(CategoryRanges(name))));
    const std::string newer = InClass(CategoryRangesNewerThanPcre2(name));
    Replace(size, fmt::format("\\p{{{}}}{}", name, newer));
  }

  std::string_view rest_;
  std::string out_;
  int depth_ = 0;  // of brackets
};

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct JitStackDeleter {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// What one thread needs to match; shared by all patterns, since only the whole match is read.
struct MatchScratch {
  std::unique_ptr<pcre2_match_data, MatchDataDeleter> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_jit_stack, JitStackDeleter> stack{
      pcre2_jit_stack_create(32 << 10, kJitStackBytesMax, nullptr)};
  std::unique_ptr<pcre2_match_context, MatchContextDeleter> context{
      pcre2_match_context_create(nullptr)};

  MatchScratch() {
    pcre2_set_match_limit(context.get(), kMatchLimit);
    pcre2_jit_stack_assign(context.get(), nullptr, stack.get());
  }
};

class RegexSplitter : public Splitter {
 public:
  explicit RegexSplitter(pcre2_code* code) : code_(code) {}

  // A pattern that exceeds the match limit finds nothing more in this piece.
  bool Find(std::string_view piece, size_t from, Match* match) const override {
    thread_local MatchScratch scratch;
    const auto* subject = reinterpret_cast<PCRE2_SPTR>(piece.data());
    size_t start = from;
    while (start <= piece.size()) {
      int found = pcre2_match(code_.get(), subject, piece.size(), start, PCRE2_NO_UTF_CHECK,
                              scratch.data.get(), scratch.context.get());
      if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
        found = pcre2_match(code_.get(), subject, piece.size(), start,
                            PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, scratch.data.get(),
                            scratch.context.get());
      }
      if (found < 0) return false;
      const PCRE2_SIZE* span = pcre2_get_ovector_pointer(scratch.data.get());
      // An empty match right after the last match is no match: go on behind the next character.
      if (span[0] == span[1] && span[0] == match->end) {
        if (start >= piece.size()) return false;
        start += DecodeValidUtf8(piece.data() + start).size;
        continue;
      }
      *match = {span[0], span[1]};
      return true;
    }
    return false;
  }

 private:
  std::unique_ptr<pcre2_code, CodeDeleter> code_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Splitter>> MakeRegexSplitter(const std::string& pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return absl::InvalidArgumentError(fmt::format("a pattern of {} bytes; at most {} are read",
                                                  pattern.size(), kPatternBytesMax));
  }
  if (!base::IsValidUtf8(pattern)) return absl::InvalidArgumentError("the pattern is not UTF-8");
  const std::optional<std::string> translated = PatternTranslator(pattern).Translate();
  if (!translated.has_value()) {
    return absl::InvalidArgumentError("the class intersection && is not supported");
  }
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(translated->data()), translated->size(),
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR text[256];
    pcre2_get_error_message(error, text, sizeof(text));
    return absl::InvalidArgumentError(
        fmt::format("{} near offset {}", reinterpret_cast<const char*>(text), offset));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without JIT (riscv64) it interprets
  return std::make_unique<RegexSplitter>(code);
}

}  // namespace inhouse::engine
