#include "engine/sampling/grammar/json_rules.h"

#include "engine/sampling/grammar/char_set.h"
#include "engine/sampling/grammar/number_rules.h"

namespace inhouse::engine {
namespace {

constexpr NodeId kStart = GrammarBuilder::kStart;
constexpr NodeId kEnd = GrammarBuilder::kEnd;
constexpr int kIndentMax = 16;

CharSet RawChars() {
  CharSet set(0x20, 0x21);
  set.Add(0x23, 0x5B);
  set.Add(0x5D, 0x10FFFF);
  return set;
}

void Hex(GrammarBuilder* b, RuleId rule, NodeId from, NodeId to) {
  b->Bytes(rule, from, '0', '9', to);
  b->Bytes(rule, from, 'a', 'f', to);
  b->Bytes(rule, from, 'A', 'F', to);
}

NodeId Hexes(GrammarBuilder* b, RuleId rule, NodeId from, int count) {
  for (int i = 0; i < count; ++i) {
    const NodeId next = b->NewNode(rule);
    Hex(b, rule, from, next);
    from = next;
  }
  return from;
}

// \uXXXX; surrogates only in pairs.
void UnicodeEscape(GrammarBuilder* b, RuleId rule, NodeId from, NodeId to) {
  const NodeId first = b->Text(rule, from, "\\u");
  const NodeId plain = b->NewNode(rule);
  b->Bytes(rule, first, '0', '9', plain);
  for (const auto& [low, high] : {std::pair('a', 'c'), {'e', 'f'}, {'A', 'C'}, {'E', 'F'}}) {
    b->Bytes(rule, first, static_cast<uint8_t>(low), static_cast<uint8_t>(high), plain);
  }
  b->Empty(rule, Hexes(b, rule, plain, 3), to);
  const NodeId d = b->NewNode(rule);
  b->Bytes(rule, first, 'd', 'd', d);
  b->Bytes(rule, first, 'D', 'D', d);
  const NodeId below = b->NewNode(rule);  // U+D000 to U+D7FF
  b->Bytes(rule, d, '0', '7', below);
  b->Empty(rule, Hexes(b, rule, below, 2), to);
  const NodeId high = b->NewNode(rule);
  b->Bytes(rule, d, '8', '9', high);
  b->Bytes(rule, d, 'a', 'b', high);
  b->Bytes(rule, d, 'A', 'B', high);
  const NodeId second = b->Text(rule, Hexes(b, rule, high, 2), "\\u");
  const NodeId low = b->NewNode(rule);
  b->Bytes(rule, second, 'd', 'd', low);
  b->Bytes(rule, second, 'D', 'D', low);
  const NodeId kind = b->NewNode(rule);
  b->Bytes(rule, low, 'c', 'f', kind);
  b->Bytes(rule, low, 'C', 'F', kind);
  b->Empty(rule, Hexes(b, rule, kind, 2), to);
}

void AnyStringChar(GrammarBuilder* b, RuleId rule, NodeId from, NodeId to) {
  AddChars(b, rule, from, RawChars(), Spelling::kPlain, to);
  const NodeId escape = b->Text(rule, from, "\\");
  for (const char c : {'"', '\\', '/', 'b', 'f', 'n', 'r', 't'}) {
    b->Bytes(rule, escape, static_cast<uint8_t>(c), static_cast<uint8_t>(c), to);
  }
  UnicodeEscape(b, rule, from, to);
}

}  // namespace

RuleId JsonRules::Space() {
  if (space_) return *space_;
  space_ = b_->NewRule();
  b_->Empty(*space_, kStart, kEnd);
  b_->Bytes(*space_, kStart, ' ', ' ', kEnd);
  NodeId node = b_->Text(*space_, kStart, "\n");
  for (int i = 0; i < kIndentMax; ++i) {
    b_->Empty(*space_, node, kEnd);
    const NodeId next = b_->NewNode(*space_);
    b_->Bytes(*space_, node, ' ', ' ', next);
    b_->Bytes(*space_, node, '\t', '\t', next);
    node = next;
  }
  b_->Empty(*space_, node, kEnd);
  return *space_;
}

RuleId JsonRules::Value() {
  if (value_) return *value_;
  value_ = b_->NewRule();  // known before what it contains: arrays contain values
  for (const RuleId one : {Object(), Array(), String(), Number(), Boolean(), Null()}) {
    b_->Call(*value_, kStart, one, kEnd);
  }
  return *value_;
}

RuleId JsonRules::Object() {
  if (!object_) object_ = ObjectOf(String(), Value(), 0, kUnbounded);
  return *object_;
}

RuleId JsonRules::Array() {
  if (!array_) array_ = ArrayOf({.rest = Value()});
  return *array_;
}

RuleId JsonRules::String() {
  if (string_) return *string_;
  string_ = b_->NewRule();
  const NodeId inside = b_->Text(*string_, kStart, "\"");
  AnyStringChar(b_, *string_, inside, inside);
  b_->Bytes(*string_, inside, '"', '"', kEnd);
  return *string_;
}

RuleId JsonRules::StringChar() {
  if (char_) return *char_;
  char_ = b_->NewRule();
  AnyStringChar(b_, *char_, kStart, kEnd);
  return *char_;
}

RuleId JsonRules::StringOfLength(uint32_t min, uint32_t max) {
  if (min == 0 && max == kUnbounded) return String();
  const RuleId rule = b_->NewRule();
  NodeId node = b_->Text(rule, kStart, "\"");
  if (max > 0) node = b_->CallTo(rule, node, b_->NewCounted(StringChar(), min, max));
  b_->Bytes(rule, node, '"', '"', kEnd);
  return rule;
}

RuleId JsonRules::Key() {
  if (key_) return *key_;
  key_ = b_->NewRule();
  const NodeId inside = b_->Text(*key_, kStart, "\"");
  AddChars(b_, *key_, inside, CharSet(0x20, 0x10FFFF), Spelling::kJson, inside);
  b_->Bytes(*key_, inside, '"', '"', kEnd);
  return *key_;
}

RuleId JsonRules::Number() {
  if (!number_) number_ = AddNumberRule(b_, std::nullopt, std::nullopt);
  return *number_;
}

RuleId JsonRules::Integer() {
  if (!integer_) integer_ = AddIntegerRule(b_, -kIntegerMax, kIntegerMax);
  return *integer_;
}

RuleId JsonRules::Boolean() {
  if (!boolean_) boolean_ = b_->Choice({b_->Literal("true"), b_->Literal("false")});
  return *boolean_;
}

RuleId JsonRules::Null() {
  if (!null_) null_ = b_->Literal("null");
  return *null_;
}

NodeId JsonRules::Member(RuleId rule, NodeId from, RuleId key, RuleId value) {
  const NodeId colon = b_->Text(rule, b_->CallTo(rule, from, key), ":");
  const NodeId node = b_->NewNode(rule);
  b_->Empty(rule, colon, node);
  b_->Bytes(rule, colon, ' ', ' ', node);
  return b_->CallTo(rule, node, value);
}

NodeId JsonRules::Comma(RuleId rule, NodeId from) {
  return b_->CallTo(rule, b_->Text(rule, from, ","), Space());
}

void JsonRules::Close(RuleId rule, NodeId from, char bracket) {
  const NodeId node = b_->CallTo(rule, from, Space());
  b_->Bytes(rule, node, static_cast<uint8_t>(bracket), static_cast<uint8_t>(bracket), kEnd);
}

RuleId JsonRules::ArrayOf(const ArrayShape& shape) {
  const RuleId rule = b_->NewRule();
  const NodeId open = b_->Text(rule, kStart, "[");
  if (shape.min == 0) b_->Bytes(rule, open, ']', ']', kEnd);
  if (shape.max == 0) return rule;
  NodeId node = b_->CallTo(rule, open, Space());
  uint32_t count = 0;
  for (const RuleId item : shape.first) {
    if (count == shape.max) break;
    if (count > 0) node = Comma(rule, node);
    node = b_->CallTo(rule, node, item);
    if (++count >= shape.min) Close(rule, node, ']');
  }
  if (!shape.rest || count == shape.max) return rule;
  if (count == 0) {
    node = b_->CallTo(rule, node, *shape.rest);
    ++count;
  }
  const RuleId more = b_->NewRule();
  b_->Call(more, Comma(more, kStart), *shape.rest, kEnd);
  const uint32_t min = shape.min > count ? shape.min - count : 0;
  const uint32_t max = shape.max == kUnbounded ? kUnbounded : shape.max - count;
  if (max > 0) node = b_->CallTo(rule, node, b_->NewCounted(more, min, max));
  Close(rule, node, ']');
  return rule;
}

RuleId JsonRules::ObjectOf(RuleId key, RuleId value, uint32_t min, uint32_t max) {
  const RuleId rule = b_->NewRule();
  const NodeId open = b_->Text(rule, kStart, "{");
  if (min == 0) b_->Bytes(rule, open, '}', '}', kEnd);
  if (max == 0) return rule;
  NodeId node = Member(rule, b_->CallTo(rule, open, Space()), key, value);
  const RuleId more = b_->NewRule();
  b_->Empty(more, Member(more, Comma(more, kStart), key, value), kEnd);
  const uint32_t rest_max = max == kUnbounded ? kUnbounded : max - 1;
  if (rest_max > 0) {
    node = b_->CallTo(rule, node, b_->NewCounted(more, min > 1 ? min - 1 : 0, rest_max));
  }
  Close(rule, node, '}');
  return rule;
}

}  // namespace inhouse::engine
