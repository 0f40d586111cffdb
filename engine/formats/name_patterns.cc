#define PCRE2_CODE_UNIT_WIDTH 8
#include "engine/formats/name_patterns.h"

#include "engine/formats/printable.h"
#include "fmt/format.h"
#include "pcre2.h"

namespace inhouse::engine {
namespace {

constexpr std::string_view kExpression = "re:";
constexpr size_t kPatternBytesMax = 4096;
constexpr size_t kPatternsMax = 1000;
// A name of a hundred characters needs a few hundred steps.
constexpr uint32_t kMatchLimit = 100'000;

struct CodeDeleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct MatchDataDeleter {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct MatchContextDeleter {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

}  // namespace

class NamePattern {
 public:
  explicit NamePattern(pcre2_code* code) : code_(code) {}
  bool Matches(std::string_view name) const {
    const std::unique_ptr<pcre2_match_data, MatchDataDeleter> data(
        pcre2_match_data_create(1, nullptr));
    const std::unique_ptr<pcre2_match_context, MatchContextDeleter> context(
        pcre2_match_context_create(nullptr));
    pcre2_set_match_limit(context.get(), kMatchLimit);
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, 0,
                       data.get(), context.get()) >= 0;
  }

 private:
  std::unique_ptr<pcre2_code, CodeDeleter> code_;
};

NamePatterns::NamePatterns() = default;
NamePatterns::~NamePatterns() = default;
NamePatterns::NamePatterns(NamePatterns&&) noexcept = default;
NamePatterns& NamePatterns::operator=(NamePatterns&&) noexcept = default;

absl::StatusOr<NamePatterns> NamePatterns::Parse(const std::vector<std::string>& entries) {
  NamePatterns out;
  for (const std::string& entry : entries) {
    if (!entry.starts_with(kExpression)) {
      out.names_.insert(entry);
      continue;
    }
    const std::string_view pattern = std::string_view(entry).substr(kExpression.size());
    if (pattern.size() > kPatternBytesMax || out.patterns_.size() == kPatternsMax) {
      return absl::InvalidArgumentError(fmt::format("at most {} expressions of at most {} bytes",
                                                    kPatternsMax, kPatternBytesMax));
    }
    int error = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                     PCRE2_UTF | PCRE2_ANCHORED | PCRE2_NEVER_BACKSLASH_C, &error,
                                     &offset, nullptr);
    if (code == nullptr) {
      PCRE2_UCHAR text[256];
      pcre2_get_error_message(error, text, sizeof(text));
      return absl::InvalidArgumentError(
          fmt::format("a regular expression; '{}' has at offset {}: {}", Printable(pattern), offset,
                      reinterpret_cast<const char*>(text)));
    }
    out.patterns_.push_back(std::make_unique<NamePattern>(code));
  }
  return out;
}

bool NamePatterns::Matches(std::string_view name) const {
  if (Lists(name)) return true;
  for (const std::unique_ptr<NamePattern>& pattern : patterns_) {
    if (pattern->Matches(name)) return true;
  }
  return false;
}

}  // namespace inhouse::engine
