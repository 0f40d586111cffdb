#include "engine/sampling/grammar/ebnf.h"

#include <algorithm>
#include <map>
#include <string>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/sampling/grammar/char_set.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr NodeId kStart = GrammarBuilder::kStart;
constexpr NodeId kEnd = GrammarBuilder::kEnd;

// Recursive descent; after the first error nothing is read. Every repeated item is a rule of its
// own, so that a bound costs nothing.
class Parser {
 public:
  Parser(GrammarBuilder* builder, std::string_view text) : b_(builder), all_(text), text_(text) {}

  absl::StatusOr<RuleId> Run() {
    Skip(true);
    while (!text_.empty() && status_.ok()) ReadRule();
    for (const auto& [name, rule] : rules_) {
      if (!rule.defined) Fail(fmt::format("no rule is named '{}'", name));
    }
    if (!rules_.contains("root")) Fail("no rule is named 'root'");
    if (!status_.ok()) return status_;
    return rules_["root"].id;
  }

 private:
  struct Named {
    RuleId id = 0;
    bool defined = false;
  };

  void Fail(const std::string& why) {
    if (!status_.ok()) return;
    const auto line =
        1 + std::count(all_.begin(), all_.end() - static_cast<ptrdiff_t>(text_.size()), '\n');
    status_ = base::InvalidInput(
        {.field = fmt::format("line {}", line), .expected = "a grammar in EBNF: " + why});
    text_ = {};
  }

  // Blanks and comments; line breaks only where a rule goes on.
  void Skip(bool lines) {
    while (!text_.empty()) {
      if (text_[0] == '#') {
        text_.remove_prefix(std::min(text_.find('\n'), text_.size()));
      } else if (text_[0] == ' ' || text_[0] == '\t' || text_[0] == '\r' ||
                 (lines && text_[0] == '\n')) {
        text_.remove_prefix(1);
      } else {
        return;
      }
    }
  }

  bool Take(std::string_view what) {
    if (!text_.starts_with(what)) return false;
    text_.remove_prefix(what.size());
    return true;
  }

  static bool IsNameChar(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  }

  std::string ReadName() {
    size_t size = 0;
    while (size < text_.size() && IsNameChar(text_[size])) ++size;
    std::string name(text_.substr(0, size));
    text_.remove_prefix(size);
    return name;
  }

  Named& Find(const std::string& name) {
    const auto [found, is_new] = rules_.try_emplace(name);
    if (is_new) found->second.id = b_->NewRule();
    return found->second;
  }

  void ReadRule() {
    const std::string name = ReadName();
    if (name.empty()) return Fail("a rule begins with its name");
    Skip(false);
    if (!Take("::=") && !Take(":") && !Take("=")) return Fail("'::=' follows the name of a rule");
    Named& rule = Find(name);
    if (rule.defined) return Fail(fmt::format("the rule '{}' stands here twice", name));
    rule.defined = true;
    Skip(true);
    b_->Call(rule.id, kStart, ReadChoice(0, false), kEnd);
    Skip(true);
  }

  RuleId ReadChoice(int depth, bool inside) {
    if (depth > b_->limits().depth) Fail("it is nested too deeply");
    std::vector<RuleId> choices;
    do {
      Skip(true);
      choices.push_back(ReadSequence(depth, inside));
    } while (TakeBar(inside));
    return b_->Choice(choices);
  }

  // | may stand at the beginning of a line.
  bool TakeBar(bool inside) {
    const std::string_view before = text_;
    Skip(true);
    if (Take("|")) return true;
    if (!inside) text_ = before;
    return false;
  }

  RuleId ReadSequence(int depth, bool inside) {
    const RuleId rule = b_->NewRule();
    NodeId node = kStart;
    while (status_.ok()) {
      Skip(inside);
      if (text_.empty() || text_[0] == '|' || text_[0] == ')' || text_[0] == '\n') break;
      node = b_->CallTo(rule, node, ReadItem(depth));
    }
    b_->Empty(rule, node, kEnd);
    return rule;
  }

  RuleId ReadItem(int depth) {
    RuleId rule = ReadAtom(depth);
    while (status_.ok()) {
      uint32_t min = 0;
      uint32_t max = kUnbounded;
      if (Take("+")) {
        min = 1;
      } else if (Take("?")) {
        max = 1;
      } else if (Take("{")) {
        if (!ReadBounds(&min, &max)) return rule;
      } else if (!Take("*")) {
        break;
      }
      rule = b_->NewCounted(rule, min, max);
    }
    return rule;
  }

  bool ReadNumber(uint32_t* out) {
    uint32_t value = 0;
    size_t size = 0;
    for (; size < text_.size() && size < 6 && text_[size] >= '0' && text_[size] <= '9'; ++size) {
      value = value * 10 + static_cast<uint32_t>(text_[size] - '0');
    }
    if (size > 0) *out = value;
    text_.remove_prefix(size);
    return size > 0;
  }

  bool ReadBounds(uint32_t* min, uint32_t* max) {
    const bool any = ReadNumber(min);
    if (!Take(",")) {
      *max = *min;
      if (!any) Fail("{ is followed by a number");
    } else {
      ReadNumber(max);
    }
    if (!Take("}") || *max < *min) Fail("bounds are {n}, {n,} or {n,m}");
    return status_.ok();
  }

  RuleId ReadAtom(int depth) {
    if (Take("(")) {
      const RuleId rule = ReadChoice(depth + 1, true);
      if (!Take(")")) Fail("a '(' has no ')'");
      return rule;
    }
    if (Take("\"")) return b_->Literal(ReadText());
    if (text_[0] == '[' || text_[0] == '.') {
      const RuleId rule = b_->NewRule();
      AddChars(b_, rule, kStart, Take(".") ? CharSet::All() : ReadClass(), Spelling::kPlain, kEnd);
      return rule;
    }
    const std::string name = ReadName();
    if (name.empty()) Fail("neither a name, nor a text, nor a class stands here");
    return status_.ok() ? Find(name).id : 0;
  }

  char32_t ReadChar() {
    if (!Take("\\")) {
      const base::Utf8Step step = base::DecodeUtf8(text_);
      text_.remove_prefix(step.size);
      return step.code_point;
    }
    for (const auto& [letter, value] : {std::pair("n", '\n'),
                                        {"t", '\t'},
                                        {"r", '\r'},
                                        {"\\", '\\'},
                                        {"\"", '"'},
                                        {"[", '['},
                                        {"]", ']'},
                                        {"-", '-'},
                                        {"^", '^'},
                                        {"/", '/'}}) {
      if (Take(letter)) return static_cast<char32_t>(value);
    }
    for (const auto& [letter, digits] : {std::pair("x", 2), {"u", 4}, {"U", 8}}) {
      if (!Take(letter)) continue;
      char32_t c = 0;
      for (int i = 0; i < digits && !text_.empty(); ++i) {
        const char h = text_[0];
        const bool digit = h >= '0' && h <= '9';
        if (!digit && !((h | 32) >= 'a' && (h | 32) <= 'f')) {
          Fail("\\x, \\u and \\U are followed by hexadecimal digits");
          return 0;
        }
        c = c * 16 + static_cast<char32_t>(digit ? h - '0' : (h | 32) - 'a' + 10);
        text_.remove_prefix(1);
      }
      return std::min<char32_t>(c, 0x10FFFF);
    }
    Fail("it has no such escape");
    return 0;
  }

  std::string ReadText() {
    std::string out;
    while (!text_.empty() && text_[0] != '"' && text_[0] != '\n')
      base::AppendUtf8(ReadChar(), &out);
    if (!Take("\"")) Fail("a text has no closing quote");
    if (base::IsValidUtf8(out)) return out;
    Fail("a text has a surrogate");
    return {};
  }

  CharSet ReadClass() {
    Take("[");
    const bool negated = Take("^");
    CharSet set;
    while (!text_.empty() && text_[0] != ']') {
      const char32_t low = ReadChar();
      char32_t high = low;
      if (text_.size() >= 2 && text_[0] == '-' && text_[1] != ']') {
        Take("-");
        high = ReadChar();
      }
      set.Add(low, high);
    }
    if (!Take("]")) Fail("a '[' has no ']'");
    return negated ? set.Complement() : set;
  }

  GrammarBuilder* b_;
  const std::string_view all_;
  std::string_view text_;
  std::map<std::string, Named> rules_;
  absl::Status status_ = absl::OkStatus();
};

}  // namespace

absl::StatusOr<RuleId> AddEbnf(GrammarBuilder* builder, std::string_view text) {
  if (!base::IsValidUtf8(text)) return base::InvalidInput({.expected = "a grammar in UTF-8"});
  return Parser(builder, text).Run();
}

}  // namespace inhouse::engine
