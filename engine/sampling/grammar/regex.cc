#include "engine/sampling/grammar/regex.h"

#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/sampling/grammar/regex_parser.h"
#include "fmt/format.h"
#include "re2/re2.h"

namespace inhouse::engine {
namespace {

using Kind = RegexNode::Kind;

absl::Status Bad(std::string_view regex, std::string expected) {
  return base::InvalidInput(
      {.value = std::string(regex.substr(0, 100)), .expected = std::move(expected)});
}

// RE2 parses in linear time, refuses what repeats too often, and counts its own memory.
absl::Status CheckWithRe2(std::string_view regex, const GrammarLimits& limits) {
  RE2::Options options;
  options.set_log_errors(false);
  options.set_max_mem(limits.regex_memory);
  // ECMAScript and Python spell a code point \uXXXX, RE2 \x{XXXX}: the caller has changed that.
  const RE2 compiled(re2::StringPiece(regex.data(), regex.size()), options);
  if (compiled.ok()) return absl::OkStatus();
  return Bad(regex, "a regular expression in RE2's syntax: " + compiled.error());
}

// \uXXXX -> \x{XXXX}; \/ and \- are what they escape in both.
std::string WithoutUnicodeEscapes(std::string_view regex) {
  std::string out;
  for (size_t i = 0; i < regex.size(); ++i) {
    if (regex[i] != '\\' || i + 1 == regex.size()) {
      out += regex[i];
    } else if (regex[i + 1] == 'u' && i + 6 <= regex.size()) {
      out += fmt::format("\\x{{{}}}", regex.substr(i + 2, 4));
      i += 5;
    } else {
      out += regex[i];
      out += regex[++i];
    }
  }
  return out;
}

class Emitter {
 public:
  Emitter(GrammarBuilder* builder, RuleId rule, Spelling spelling)
      : b_(builder), rule_(rule), spelling_(spelling) {}

  // What stands around the whole expression.
  void Enclose(bool quoted) {
    first_ = b_->Text(rule_, GrammarBuilder::kStart, quoted ? "\"" : "");
    last_ = b_->NewNode(rule_);
    b_->Empty(rule_, b_->Text(rule_, last_, quoted ? "\"" : ""), GrammarBuilder::kEnd);
  }

  bool misplaced_anchor() const { return misplaced_anchor_; }

  // From `from` to the node that is returned.
  NodeId Emit(const RegexNode& node, NodeId from) {
    switch (node.kind) {
      case Kind::kChars: {
        const NodeId to = b_->NewNode(rule_);
        AddChars(b_, rule_, from, node.chars, spelling_, to);
        return to;
      }
      case Kind::kSequence:
        for (const RegexNode& part : node.parts) from = Emit(part, from);
        return from;
      case Kind::kChoice: {
        const NodeId to = b_->NewNode(rule_);
        for (const RegexNode& part : node.parts) b_->Empty(rule_, Emit(part, from), to);
        return to;
      }
      case Kind::kRepeat:
        return Repeat(node, from);
      case Kind::kBegin:
      case Kind::kEnd:
        misplaced_anchor_ = true;
        return from;
    }
    return from;
  }

  // One alternative of the whole expression, with its anchors.
  void Alternative(const RegexNode& node, bool search) {
    std::vector<RegexNode> parts =
        node.kind == Kind::kSequence ? node.parts : std::vector<RegexNode>{node};
    bool begins = !search;
    bool ends = !search;
    while (!parts.empty() && parts.front().kind == Kind::kBegin) {
      begins = true;
      parts.erase(parts.begin());
    }
    while (!parts.empty() && parts.back().kind == Kind::kEnd) {
      ends = true;
      parts.pop_back();
    }
    NodeId at = b_->NewNode(rule_);
    b_->Empty(rule_, first_, at);
    if (!begins) Anything(at);
    // Edges lead out of a node that others may reach: a new one keeps loops apart.
    for (const RegexNode& part : parts) at = Emit(part, at);
    const NodeId last = b_->NewNode(rule_);
    b_->Empty(rule_, at, last);
    if (!ends) Anything(last);
    b_->Empty(rule_, last, last_);
  }

 private:
  void Anything(NodeId node) { AddChars(b_, rule_, node, CharSet::All(), spelling_, node); }

  NodeId Repeat(const RegexNode& node, NodeId from) {
    const RegexNode& part = node.parts[0];
    for (int64_t i = 0; i < node.min && b_->status().ok(); ++i) from = Emit(part, from);
    if (node.max < 0) {
      const NodeId loop = b_->NewNode(rule_);
      b_->Empty(rule_, from, loop);
      b_->Empty(rule_, Emit(part, loop), loop);
      const NodeId to = b_->NewNode(rule_);
      b_->Empty(rule_, loop, to);
      return to;
    }
    const NodeId to = b_->NewNode(rule_);
    for (int64_t i = node.min; i < node.max && b_->status().ok(); ++i) {
      b_->Empty(rule_, from, to);
      const NodeId next = b_->NewNode(rule_);
      b_->Empty(rule_, from, next);
      from = Emit(part, next);
    }
    b_->Empty(rule_, from, to);
    return to;
  }

  GrammarBuilder* b_;
  RuleId rule_;
  Spelling spelling_;
  NodeId first_ = GrammarBuilder::kStart;
  NodeId last_ = GrammarBuilder::kEnd;
  bool misplaced_anchor_ = false;
};

}  // namespace

absl::StatusOr<RuleId> AddRegex(GrammarBuilder* builder, std::string_view regex,
                                const RegexOptions& options) {
  const GrammarLimits& limits = builder->limits();
  if (regex.size() > limits.regex_bytes) {
    return Bad(regex, fmt::format("a regular expression of at most {} bytes", limits.regex_bytes));
  }
  if (!base::IsValidUtf8(regex)) return Bad("", "a regular expression in UTF-8");
  const std::string text = WithoutUnicodeEscapes(regex);
  INHOUSE_RETURN_IF_ERROR(CheckWithRe2(text, limits));
  INHOUSE_ASSIGN_OR_RETURN(RegexNode node, ParseRegex(text, limits));
  const RuleId rule = builder->NewRule();
  Emitter emitter(builder, rule, options.spelling);
  emitter.Enclose(options.quoted);
  if (node.kind != Kind::kChoice) {
    emitter.Alternative(node, options.search);
  } else {
    for (const RegexNode& part : node.parts) emitter.Alternative(part, options.search);
  }
  if (emitter.misplaced_anchor()) {
    return Bad(regex, "^ and $ only at the two ends of an expression or of its alternatives");
  }
  return rule;
}

}  // namespace inhouse::engine
