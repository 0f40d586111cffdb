#include "engine/sampling/grammar/number_rules.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>

#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr NodeId kStart = GrammarBuilder::kStart;
constexpr NodeId kEnd = GrammarBuilder::kEnd;

uint8_t Digit(char c) { return static_cast<uint8_t>(c); }

class NumberEmitter {
 public:
  NumberEmitter(GrammarBuilder* builder, RuleId rule, int fraction_digits)
      : b_(builder), rule_(rule), fraction_digits_(fraction_digits) {}

  // Whole numbers low..high (low >= 0), without leading zeros.
  void Whole(NodeId from, int64_t low, int64_t high, NodeId to) {
    int64_t first = 0;  // of the numbers with that many digits
    int64_t last = 9;
    for (int digits = 1; digits <= kIntegerDigits; ++digits) {
      const int64_t begin = std::max(low, first);
      const int64_t end = std::min(high, last);
      if (begin <= end) SameLength(from, std::to_string(begin), std::to_string(end), to);
      if (digits == kIntegerDigits) break;  // more would not fit into 64 bits
      first = last + 1;
      last = last * 10 + 9;
    }
  }

  // Numbers low..high, both >= 0; without `high` there is no upper bound.
  void Between(NodeId from, const Decimal& low, const Decimal* high, NodeId to) {
    const int64_t last = high != nullptr ? high->whole : kIntegerMax + 1;
    if (low.whole > last) return;
    if (last > low.whole + 1) {
      const NodeId node = b_->NewNode(rule_);
      Whole(from, low.whole + 1, last - 1, node);
      AnyFraction(node, to);
    }
    const NodeId node = b_->NewNode(rule_);
    Whole(from, low.whole, low.whole, node);
    if (last > low.whole) {
      AtLeast(node, low, to);
      if (high == nullptr) return;
      const NodeId top = b_->NewNode(rule_);
      Whole(from, last, last, top);
      AtMost(top, *high, to);
      return;
    }
    // Both bounds meet in the fraction.
    const RuleId above = b_->NewRule();
    NumberEmitter(b_, above, fraction_digits_).AtLeast(kStart, low, kEnd);
    const RuleId below = b_->NewRule();
    NumberEmitter(b_, below, fraction_digits_).AtMost(kStart, *high, kEnd);
    b_->Call(rule_, node, b_->NewBoth(above, below), to);
  }

  void AnyFraction(NodeId from, NodeId to) {
    b_->Empty(rule_, from, to);
    if (fraction_digits_ == 0) return;
    const NodeId point = b_->Text(rule_, from, ".");
    const NodeId first = b_->NewNode(rule_);
    b_->Bytes(rule_, point, '0', '9', first);
    Digits(first, '9', 1, to);
  }

  // e or E, a sign, one or two digits, or nothing.
  void Exponent(NodeId from, NodeId to) {
    b_->Empty(rule_, from, to);
    const NodeId sign = b_->NewNode(rule_);
    b_->Bytes(rule_, from, 'e', 'e', sign);
    b_->Bytes(rule_, from, 'E', 'E', sign);
    const NodeId digits = b_->NewNode(rule_);
    b_->Empty(rule_, sign, digits);
    b_->Bytes(rule_, sign, '+', '+', digits);
    b_->Bytes(rule_, sign, '-', '-', digits);
    const NodeId one = b_->NewNode(rule_);
    b_->Bytes(rule_, digits, '0', '9', one);
    b_->Empty(rule_, one, to);
    b_->Bytes(rule_, one, '0', '9', to);
  }

 private:
  // Decimal texts of one length between `low` and `high`.
  void SameLength(NodeId from, std::string_view low, std::string_view high, NodeId to) {
    if (low.empty()) return b_->Empty(rule_, from, to);
    const bool all =
        low.find_first_not_of('0') == low.npos && high.find_first_not_of('9') == high.npos;
    if (all) {
      for (size_t i = 0; i < low.size(); ++i) {
        const NodeId next = b_->NewNode(rule_);
        b_->Bytes(rule_, from, '0', '9', next);
        from = next;
      }
      return b_->Empty(rule_, from, to);
    }
    const std::string zeros(low.size() - 1, '0');
    const std::string nines(low.size() - 1, '9');
    const auto step = [&](char first, char last, std::string_view l, std::string_view h) {
      if (first > last) return;
      const NodeId next = b_->NewNode(rule_);
      b_->Bytes(rule_, from, Digit(first), Digit(last), next);
      SameLength(next, l, h, to);
    };
    if (low[0] == high[0]) return step(low[0], low[0], low.substr(1), high.substr(1));
    step(low[0], low[0], low.substr(1), nines);
    step(static_cast<char>(low[0] + 1), static_cast<char>(high[0] - 1), zeros, nines);
    step(high[0], high[0], zeros, high.substr(1));
  }

  // Up to what is left of the digits behind the point, each '0' to `high`. `used` digits are there.
  void Digits(NodeId from, char high, int used, NodeId to) {
    b_->Empty(rule_, from, to);
    for (int i = used; i < fraction_digits_; ++i) {
      const NodeId next = b_->NewNode(rule_);
      b_->Bytes(rule_, from, '0', Digit(high), next);
      b_->Empty(rule_, next, to);
      from = next;
    }
  }

  // Digits that are not all zero.
  void Positive(NodeId from, int used, NodeId to) {
    for (int i = used; i < fraction_digits_; ++i) {
      const NodeId some = b_->NewNode(rule_);
      b_->Bytes(rule_, from, '1', '9', some);
      Digits(some, '9', i + 1, to);
      const NodeId zero = b_->NewNode(rule_);
      b_->Bytes(rule_, from, '0', '0', zero);
      from = zero;
    }
  }

  // Behind the whole part of `low`: a fraction that is not below its fraction.
  void AtLeast(NodeId from, const Decimal& low, NodeId to) {
    const std::string& digits = low.fraction;
    if (digits.empty() && !low.excluded) return AnyFraction(from, to);
    NodeId node = b_->Text(rule_, from, ".");
    int used = 0;
    for (const char d : digits) {
      if (used == fraction_digits_) return;  // what would be enough has too many digits
      if (d < '9') {
        const NodeId above = b_->NewNode(rule_);
        b_->Bytes(rule_, node, Digit(static_cast<char>(d + 1)), '9', above);
        Digits(above, '9', used + 1, to);
      }
      node = b_->Text(rule_, node, std::string_view(&d, 1));
      ++used;
    }
    if (low.excluded) {
      Positive(node, used, to);
    } else {
      Digits(node, '9', used, to);
    }
  }

  // Behind the whole part of `high`: a fraction that is not above its fraction.
  void AtMost(NodeId from, const Decimal& high, NodeId to) {
    const std::string& digits = high.fraction;
    if (digits.empty() && high.excluded) return;
    b_->Empty(rule_, from, to);
    if (fraction_digits_ == 0) return;
    NodeId node = b_->Text(rule_, from, ".");
    int used = 0;
    for (const char d : digits) {
      if (used > 0) b_->Empty(rule_, node, to);
      if (used == fraction_digits_) return;
      if (d > '0') {
        const NodeId below = b_->NewNode(rule_);
        b_->Bytes(rule_, node, '0', Digit(static_cast<char>(d - 1)), below);
        Digits(below, '9', used + 1, to);
      }
      node = b_->Text(rule_, node, std::string_view(&d, 1));
      ++used;
    }
    if (high.excluded) return;
    if (used == 0) {
      node = b_->Text(rule_, node, "0");
      ++used;
    }
    Digits(node, '0', used, to);
  }

  GrammarBuilder* b_;
  RuleId rule_;
  int fraction_digits_;
};

}  // namespace

RuleId AddIntegerRule(GrammarBuilder* builder, int64_t min, int64_t max) {
  const RuleId rule = builder->NewRule();
  NumberEmitter emitter(builder, rule, 0);
  if (max >= 0) emitter.Whole(kStart, std::max<int64_t>(min, 0), max, kEnd);
  if (min < 0) {
    const NodeId minus = builder->Text(rule, kStart, "-");
    emitter.Whole(minus, std::max<int64_t>(-max, 1), -min, kEnd);
  }
  return rule;
}

std::optional<NumberBound> ReadBound(const std::string& text) {
  std::string plain = text;
  if (text.find_first_of("eE") != text.npos) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || std::fabs(value) > static_cast<double>(kIntegerMax)) return {};
    plain = fmt::format("{:.{}f}", value, kFractionDigits);
  }
  NumberBound bound;
  bound.negative = plain.starts_with('-');
  if (bound.negative) plain.erase(0, 1);
  const size_t point = std::min(plain.find('.'), plain.size());
  if (point > static_cast<size_t>(kIntegerDigits)) return {};
  for (const char c : plain.substr(0, point)) {
    if (c < '0' || c > '9') return {};
    bound.magnitude.whole = bound.magnitude.whole * 10 + (c - '0');
  }
  if (point < plain.size()) bound.magnitude.fraction = plain.substr(point + 1);
  std::string& fraction = bound.magnitude.fraction;
  while (fraction.ends_with('0')) fraction.pop_back();
  if (fraction.size() > static_cast<size_t>(kFractionDigits)) return {};
  if (bound.magnitude.whole == 0 && fraction.empty()) bound.negative = false;
  return bound;
}

RuleId AddNumberRule(GrammarBuilder* builder, const std::optional<NumberBound>& min,
                     const std::optional<NumberBound>& max, int fraction_digits) {
  const RuleId rule = builder->NewRule();
  NumberEmitter emitter(builder, rule, fraction_digits);
  if (!min && !max) {
    const NodeId whole = builder->NewNode(rule);
    const NodeId minus = builder->Text(rule, kStart, "-");
    emitter.Whole(kStart, 0, kIntegerMax, whole);
    emitter.Whole(minus, 0, kIntegerMax, whole);
    const NodeId fraction = builder->NewNode(rule);
    emitter.AnyFraction(whole, fraction);
    if (fraction_digits == kFractionDigits) {
      emitter.Exponent(fraction, kEnd);
    } else {
      builder->Empty(rule, fraction, kEnd);
    }
    return rule;
  }
  if (!max || !max->negative) {
    const Decimal zero;
    const Decimal& low = min && !min->negative ? min->magnitude : zero;
    emitter.Between(kStart, low, max ? &max->magnitude : nullptr, kEnd);
  }
  if (!min || min->negative) {
    const NodeId minus = builder->Text(rule, kStart, "-");
    const Decimal above_zero{.excluded = true};
    const Decimal& low = max && max->negative ? max->magnitude : above_zero;
    emitter.Between(minus, low, min ? &min->magnitude : nullptr, kEnd);
  }
  return rule;
}

}  // namespace inhouse::engine
