// Rules for JSON numbers between bounds.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/sampling/grammar/nfa.h"

namespace inhouse::engine {

// Numbers are written with at most so many digits before and behind the point, so that no answer is
// lost in digits and every reader can hold them.
inline constexpr int kIntegerDigits = 18;
inline constexpr int kFractionDigits = 16;
inline constexpr int64_t kIntegerMax = 999'999'999'999'999'999;

// Integers from `min` to `max`, both within +-kIntegerMax; nothing if max < min.
RuleId AddIntegerRule(GrammarBuilder* builder, int64_t min, int64_t max);

// A non-negative decimal number.
struct Decimal {
  int64_t whole = 0;
  std::string fraction = {};  // digits without zeros at the end
  bool excluded = false;      // as a bound: not this number itself
};

struct NumberBound {
  bool negative = false;
  Decimal magnitude = {};
};

// Reads the text of a JSON number ("-0.25", "1e3"). Nothing if its digits exceed the limits.
std::optional<NumberBound> ReadBound(const std::string& text);

// Numbers between the bounds, without exponents; with no bound at all, also with them.
// `fraction_digits` bounds the digits behind the point.
RuleId AddNumberRule(GrammarBuilder* builder, const std::optional<NumberBound>& min,
                     const std::optional<NumberBound>& max, int fraction_digits = kFractionDigits);

}  // namespace inhouse::engine
