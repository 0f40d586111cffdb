// Patterns of one class: `\s?[...]+`, `\p{N}{1,3}`, `[...]`, `\s+$` and their like.
#include <charconv>
#include <optional>
#include <vector>

#include "base/utf8.h"
#include "engine/tokenizer/code_points.h"
#include "engine/tokenizer/splitter.h"

namespace inhouse::engine {
namespace {

using Ranges = std::vector<CodePointRange>;

enum class Lead { kNone, kSpace, kAnySpace };  // nothing, ` ?`, `\s?`

struct ClassPattern {
  Lead lead = Lead::kNone;
  Ranges members = {};
  size_t count_max = 1;
};

// Reads the small part of the regex syntax that the header names; fails on all the rest.
class ClassPatternParser {
 public:
  explicit ClassPatternParser(std::string_view text) : text_(text) {}

  std::optional<ClassPattern> Parse() {
    ClassPattern out;
    if (Take("\\s?")) {
      out.lead = Lead::kAnySpace;
    } else if (Take(" ?")) {
      out.lead = Lead::kSpace;
    }
    if (!(Take("[") ? ReadBracket(&out.members) : ReadEscape(&out.members))) return std::nullopt;
    if (Take("+")) {
      out.count_max = static_cast<size_t>(-1);
    } else if (Take("{1,")) {
      if (text_.size() < 2 || text_[0] < '1' || text_[0] > '9' || text_[1] != '}')
        return std::nullopt;
      out.count_max = static_cast<size_t>(text_[0] - '0');
      text_.remove_prefix(2);
    }
    if (!text_.empty()) return std::nullopt;
    return out;
  }

 private:
  bool Take(std::string_view token) {
    if (text_.substr(0, token.size()) != token) return false;
    text_.remove_prefix(token.size());
    return true;
  }

  bool ReadBracket(Ranges* members) {
    while (!text_.empty()) {
      if (Take("]")) return !members->empty();
      if (text_[0] == '\\' && ReadEscape(members)) continue;
      const std::optional<char32_t> first = ReadMember();
      if (!first.has_value()) return false;
      char32_t last = *first;
      if (text_.size() >= 2 && text_[0] == '-' && text_[1] != ']') {
        text_.remove_prefix(1);
        const std::optional<char32_t> end = ReadMember();
        if (!end.has_value() || *end < *first) return false;
        last = *end;
      }
      members->push_back({*first, last});
    }
    return false;
  }

  // A category or white space.
  bool ReadEscape(Ranges* members) {
    Ranges ranges;
    size_t size = 2;
    if (text_.substr(0, 2) == "\\s") {
      ranges = SpaceRanges();
    } else if (text_.substr(0, 3) == "\\p{") {
      const size_t close = text_.find('}');
      if (close == std::string_view::npos) return false;
      ranges = CategoryRanges(text_.substr(3, close - 3));
      size = close + 1;
    }
    if (ranges.empty()) return false;
    members->insert(members->end(), ranges.begin(), ranges.end());
    text_.remove_prefix(size);
    return true;
  }

  // A character inside brackets. What could mean something else there (`^`, `[`, `&&`, `\w`) fails.
  std::optional<char32_t> ReadMember() {
    if (text_.empty()) return std::nullopt;
    if (text_[0] == '\\') {
      if (Take("\\r")) return U'\r';
      if (Take("\\n")) return U'\n';
      if (Take("\\t")) return U'\t';
      if (Take("\\x{")) return ReadHex();
      const std::string_view literals = "-[]\\^$.*+?{}()|/'\"&~#!@%,;:<>=_`";
      if (text_.size() < 2 || literals.find(text_[1]) == std::string_view::npos)
        return std::nullopt;
      const char32_t c = static_cast<unsigned char>(text_[1]);
      text_.remove_prefix(2);
      return c;
    }
    if (text_[0] == '^' || text_[0] == '[' || text_[0] == ']' || text_[0] == '&')
      return std::nullopt;
    const base::Utf8Step step = base::DecodeUtf8(text_);
    if (!step.valid) return std::nullopt;
    text_.remove_prefix(step.size);
    return step.code_point;
  }

  std::optional<char32_t> ReadHex() {
    const size_t close = text_.find('}');
    if (close == 0 || close == std::string_view::npos || close > 6) return std::nullopt;
    uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data(), text_.data() + close, value, /*base=*/16);
    if (error != std::errc() || end != text_.data() + close || value > kCodePointMax) {
      return std::nullopt;
    }
    text_.remove_prefix(close + 1);
    return value;
  }

  std::string_view text_;
};

class ClassSplitter : public Splitter {
 public:
  explicit ClassSplitter(const ClassPattern& pattern)
      : table_(Assignments(pattern)), count_max_(pattern.count_max) {}

  bool Find(std::string_view piece, size_t from, Match* match) const override {
    for (size_t i = from; i < piece.size();) {
      const DecodedChar c = DecodeValidUtf8(piece.data() + i);
      const uint8_t bits = table_[c.code_point];
      const size_t next = i + c.size;
      if (bits != 0) {
        if ((bits & kLeadBit) != 0 && next < piece.size() && IsMember(piece, next)) {
          *match = {i, RunFrom(piece, next)};
          return true;
        }
        if ((bits & kMemberBit) != 0) {
          *match = {i, RunFrom(piece, i)};
          return true;
        }
      }
      i = next;
    }
    return false;
  }

 private:
  static constexpr uint8_t kMemberBit = 1;
  static constexpr uint8_t kLeadBit = 2;

  static std::vector<CodePointTable::Assignment> Assignments(const ClassPattern& pattern) {
    std::vector<CodePointTable::Assignment> bits;
    for (const CodePointRange& range : pattern.members) bits.push_back({range, kMemberBit});
    if (pattern.lead == Lead::kSpace) bits.push_back({{U' ', U' '}, kLeadBit});
    if (pattern.lead == Lead::kAnySpace) {
      for (const CodePointRange& range : SpaceRanges()) bits.push_back({range, kLeadBit});
    }
    return bits;
  }

  bool IsMember(std::string_view piece, size_t i) const {
    return (table_[DecodeValidUtf8(piece.data() + i).code_point] & kMemberBit) != 0;
  }

  size_t RunFrom(std::string_view piece, size_t i) const {
    for (size_t count = 0; count < count_max_ && i < piece.size(); ++count) {
      const DecodedChar c = DecodeValidUtf8(piece.data() + i);
      if ((table_[c.code_point] & kMemberBit) == 0) break;
      i += c.size;
    }
    return i;
  }

  CodePointTable table_;
  size_t count_max_;
};

// `\s+$`. In Oniguruma `$` also stands before a line feed, so the run may end before its last one.
class TrailingSpaceSplitter : public Splitter {
 public:
  bool Find(std::string_view piece, size_t from, Match* match) const override {
    for (size_t i = from; i < piece.size();) {
      size_t end = i;        // of the run of white space
      size_t line_feed = i;  // the last line feed of the run that has white space before it
      while (end < piece.size()) {
        const DecodedChar c = DecodeValidUtf8(piece.data() + end);
        if ((traits_[c.code_point] & kSpace) == 0) break;
        if (c.code_point == U'\n' && end > i) line_feed = end;
        end += c.size;
      }
      if (end > i && (end == piece.size() || line_feed > i)) {
        *match = {i, end == piece.size() ? end : line_feed};
        return true;
      }
      i = end > i ? end : end + DecodeValidUtf8(piece.data() + end).size;
    }
    return false;
  }

 private:
  const CodePointTable& traits_ = CharTraits();
};

class DigitSplitter : public Splitter {
 public:
  explicit DigitSplitter(bool individual) : individual_(individual) {}

  bool Find(std::string_view piece, size_t from, Match* match) const override {
    for (size_t i = from; i < piece.size();) {
      const DecodedChar c = DecodeValidUtf8(piece.data() + i);
      if ((traits_[c.code_point] & kNumeric) != 0) {
        size_t end = i + c.size;
        while (!individual_ && end < piece.size()) {
          const DecodedChar more = DecodeValidUtf8(piece.data() + end);
          if ((traits_[more.code_point] & kNumeric) == 0) break;
          end += more.size;
        }
        *match = {i, end};
        return true;
      }
      i += c.size;
    }
    return false;
  }

 private:
  const CodePointTable& traits_ = CharTraits();
  bool individual_;
};

}  // namespace

std::unique_ptr<Splitter> MakeClassSplitter(std::string_view pattern) {
  if (pattern == "\\s+$") return std::make_unique<TrailingSpaceSplitter>();
  const std::optional<ClassPattern> parsed = ClassPatternParser(pattern).Parse();
  if (!parsed.has_value()) return nullptr;
  return std::make_unique<ClassSplitter>(*parsed);
}

std::unique_ptr<Splitter> MakeDigitSplitter(bool individual) {
  return std::make_unique<DigitSplitter>(individual);
}

absl::StatusOr<std::unique_ptr<Splitter>> MakeSplitter(const std::string& pattern) {
  if (auto splitter = MakeWordSplitter(pattern)) return splitter;
  if (auto splitter = MakeClassSplitter(pattern)) return splitter;
  return MakeRegexSplitter(pattern);
}

}  // namespace inhouse::engine
