// Python's numbers: integers without bound (to a limit of 4300 digits, as Python's own conversion
// has it), floats, and bool as an integer.
#pragma once

#include <string>
#include <string_view>

#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

enum class Arithmetic { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };

// Both operands must be numbers.
Value Compute(Arithmetic op, const Value& a, const Value& b);
Value Negate(const Value& a);
int CompareNumbers(const Value& a, const Value& b);  // NaN compares as 2: neither less nor equal
double ToDouble(const Value& number);                // OverflowError for huge integers
uint64_t HashNumber(const Value& number);

// Decimal digits of an integer (also of a bool).
std::string IntegerText(const Value& integer);
// The digits in base 2, 8 or 16, lower case, with a sign and without a prefix.
std::string IntegerTextBase(const Value& integer, int base);
// int(text, base) of Python: white space, sign, underscores, prefix. False if it is not one.
bool ParseInteger(std::string_view text, int base, Value* out);
// float(text) of Python.
bool ParseFloat(std::string_view text, double* out);
// int(float): truncation; ValueError or OverflowError for NaN and infinity.
Value Truncate(double value);
// round(number, digits) of Python: half to even on the exact decimal value.
Value Round(const Value& number, int64_t digits);
// repr(float).
std::string FloatRepr(double value);
int64_t BitLength(const Value& integer);

}  // namespace inhouse::engine::jinja
