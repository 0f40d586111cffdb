// GrammarSpec -> Grammar.
#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/sampling/grammar/ebnf.h"
#include "engine/sampling/grammar/grammar.h"
#include "engine/sampling/grammar/json_rules.h"
#include "engine/sampling/grammar/json_shape.h"
#include "engine/sampling/grammar/regex.h"
#include "engine/sampling/grammar/schema_compiler.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using Kind = GrammarSpec::Kind;

constexpr NodeId kStart = GrammarBuilder::kStart;
constexpr NodeId kEnd = GrammarBuilder::kEnd;
constexpr size_t kMembersMax = 1024;  // ordered objects look keys up one after another

// Of all texts, each counted once: the tools of a request stand in it as often as it allows calls.
size_t TextBytes(const GrammarSpec& spec, std::set<std::string_view>* seen) {
  size_t bytes = seen->insert(spec.text).second ? spec.text.size() : 0;
  for (const GrammarSpec& part : spec.parts) bytes += TextBytes(part, seen);
  return bytes;
}

class SpecCompiler {
 public:
  SpecCompiler(GrammarBuilder* builder, const TokenTrie& trie)
      : b_(builder), trie_(trie), json_(builder) {}

  absl::StatusOr<RuleId> Compile(const GrammarSpec& spec, int depth) {
    if (depth > b_->limits().depth) return Bad(spec, "", "a grammar of fewer levels");
    switch (spec.kind) {
      case Kind::kNone:
        return b_->Literal("");
      case Kind::kText:
        return Text(spec);
      case Kind::kMarker:
        return Marker(spec);
      case Kind::kJsonValue:
        return json_.Value();
      case Kind::kJsonObject:
        return json_.Object();
      case Kind::kJsonSchema:
        return Schema(spec);
      case Kind::kRegex: {
        auto rule = AddRegex(b_, spec.text, {});
        if (rule.ok()) return rule;
        return Bad(spec, "", base::Message(rule.status()));
      }
      case Kind::kEbnf: {
        auto rule = AddEbnf(b_, spec.text);
        if (rule.ok()) return rule;
        return Bad(spec, "", base::Message(rule.status()));
      }
      case Kind::kSequence:
        return Sequence(spec, depth);
      case Kind::kChoice:
        return Choice(spec, depth);
      case Kind::kRepeat:
        return Repeat(spec, depth);
    }
    return b_->Literal("");
  }

 private:
  static absl::Status Bad(const GrammarSpec& spec, std::string value, std::string expected) {
    return base::InvalidInput({.file = spec.label.empty() ? "grammar" : spec.label,
                               .value = std::move(value),
                               .expected = std::move(expected)});
  }

  absl::StatusOr<RuleId> Text(const GrammarSpec& spec) {
    if (!base::IsValidUtf8(spec.text)) return Bad(spec, "", "text in UTF-8");
    return b_->Literal(spec.text);
  }

  absl::StatusOr<RuleId> Marker(const GrammarSpec& spec) {
    const auto token = trie_.marker(spec.text);
    if (!token) return Text(spec);
    const RuleId rule = b_->NewRule();
    b_->Token(rule, kStart, *token, kEnd);
    return rule;
  }

  absl::StatusOr<RuleId> Schema(const GrammarSpec& spec) {
    const JsonShape shape = ShapeOf(spec.text);
    const auto depth_max = static_cast<size_t>(2 * b_->limits().depth);
    if (shape.depth > depth_max) {
      return Bad(spec, "",
                 fmt::format("a schema that is nested at most {} levels deep, not {}", depth_max,
                             shape.depth));
    }
    if (shape.members > kMembersMax) {
      return Bad(spec, "",
                 fmt::format("objects of at most {} members, not {}", kMembersMax, shape.members));
    }
    const auto found = schemas_.find({spec.text, spec.strict});
    if (found != schemas_.end()) return found->second;
    INHOUSE_ASSIGN_OR_RETURN(
        const RuleId rule,
        AddSchema(b_, &json_, {.text = spec.text, .label = spec.label, .strict = spec.strict}));
    schemas_[{spec.text, spec.strict}] = rule;
    return rule;
  }

  absl::StatusOr<RuleId> Sequence(const GrammarSpec& spec, int depth) {
    const RuleId rule = b_->NewRule();
    NodeId node = kStart;
    for (const GrammarSpec& part : spec.parts) {
      INHOUSE_ASSIGN_OR_RETURN(const RuleId inner, Compile(part, depth + 1));
      node = b_->CallTo(rule, node, inner);
    }
    b_->Empty(rule, node, kEnd);
    return rule;
  }

  absl::StatusOr<RuleId> Choice(const GrammarSpec& spec, int depth) {
    if (spec.parts.empty() || spec.parts.size() > b_->limits().enum_values) {
      return Bad(spec, std::to_string(spec.parts.size()),
                 fmt::format("1 to {} choices", b_->limits().enum_values));
    }
    const RuleId rule = b_->NewRule();
    for (const GrammarSpec& part : spec.parts) {
      if (part.kind == Kind::kText) {  // one automaton for all: they often begin alike
        if (!base::IsValidUtf8(part.text)) return Bad(spec, "", "text in UTF-8");
        b_->Empty(rule, b_->Text(rule, kStart, part.text), kEnd);
        continue;
      }
      INHOUSE_ASSIGN_OR_RETURN(const RuleId inner, Compile(part, depth + 1));
      b_->Call(rule, kStart, inner, kEnd);
    }
    return rule;
  }

  absl::StatusOr<RuleId> Repeat(const GrammarSpec& spec, int depth) {
    const int64_t limit = b_->limits().items;
    if (spec.parts.size() != 1 || spec.min < 0 || spec.min > limit || spec.max > limit ||
        (spec.max >= 0 && spec.max < spec.min)) {
      return Bad(spec, fmt::format("{} to {}", spec.min, spec.max),
                 fmt::format("bounds from 0 to {}", limit));
    }
    INHOUSE_ASSIGN_OR_RETURN(const RuleId inner, Compile(spec.parts[0], depth + 1));
    return b_->NewCounted(inner, static_cast<uint32_t>(spec.min),
                          spec.max < 0 ? kUnbounded : static_cast<uint32_t>(spec.max));
  }

  GrammarBuilder* b_;
  const TokenTrie& trie_;
  JsonRules json_;
  std::map<std::pair<std::string, bool>, RuleId> schemas_;  // by text and strictness
};

std::string LabelOf(const GrammarSpec& spec) {
  if (!spec.label.empty()) return spec.label;
  for (const GrammarSpec& part : spec.parts) {
    if (std::string label = LabelOf(part); !label.empty()) return label;
  }
  return "grammar";
}

}  // namespace

absl::StatusOr<std::shared_ptr<Grammar>> Grammar::Compile(const GrammarSpec& spec,
                                                          std::shared_ptr<const TokenTrie> trie,
                                                          const GrammarLimits& limits) {
  std::set<std::string_view> seen;
  const size_t bytes = TextBytes(spec, &seen);
  if (bytes > limits.text_bytes) {
    return base::InvalidInput({.file = LabelOf(spec),
                               .value = fmt::format("{} bytes", bytes),
                               .expected = fmt::format("at most {} bytes", limits.text_bytes)});
  }
  GrammarBuilder builder(limits);
  INHOUSE_ASSIGN_OR_RETURN(const RuleId root, SpecCompiler(&builder, *trie).Compile(spec, 0));
  auto automaton = Automaton::Compile(builder, root);
  if (!automaton.ok()) {
    // What no single keyword is to blame for.
    std::string why = base::Message(automaton.status());
    constexpr std::string_view kPrefix = "grammar: expected ";
    if (why.starts_with(kPrefix)) why.erase(0, kPrefix.size());
    return base::InvalidInput({.file = LabelOf(spec), .expected = std::move(why)});
  }
  if (automaton->rule(root).need >= FramePool::kDepthMax) {
    return base::InvalidInput({.file = LabelOf(spec), .expected = "less nesting"});
  }
  return std::shared_ptr<Grammar>(new Grammar(*std::move(automaton), std::move(trie)));
}

}  // namespace inhouse::engine
