#include "engine/prompt/jinja/number.h"

#include <boost/multiprecision/cpp_int.hpp>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>

#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

using boost::multiprecision::cpp_int;

// Python refuses to print integers of more than 4300 digits; so nothing larger is of use.
constexpr unsigned kMaxBits = 14284;

struct BigIntObject : Object {
  cpp_int value;
};

cpp_int Big(const Value& v) {
  if (v.Is(Kind::kBigInt)) return v.As<BigIntObject>().value;
  return cpp_int(v.AsInt());
}

Value FromBig(cpp_int value) {
  if (value >= std::numeric_limits<int64_t>::min() &&
      value <= std::numeric_limits<int64_t>::max()) {
    return Value::Int(static_cast<int64_t>(value));
  }
  if (msb(abs(value)) > kMaxBits) LimitError("an integer has more than 4300 digits");
  auto object = std::make_shared<BigIntObject>();
  object->value = std::move(value);
  return Value::Of(Kind::kBigInt, std::move(object));
}

[[noreturn]] void DivisionByZero() {
  Fail(Error::Kind::kArithmetic, "ZeroDivisionError: division by zero");
}

Value FloorDivMod(const cpp_int& a, const cpp_int& b, bool want_quotient) {
  if (b == 0) DivisionByZero();
  cpp_int quotient, remainder;
  divide_qr(a, b, quotient, remainder);
  if (remainder != 0 && (remainder < 0) != (b < 0)) {
    quotient -= 1;
    remainder += b;
  }
  return FromBig(want_quotient ? std::move(quotient) : std::move(remainder));
}

Value FloatPower(double base, double exponent) {
  if (base == 0.0 && exponent < 0) {
    Fail(Error::Kind::kArithmetic, "ZeroDivisionError: 0.0 cannot be raised to a negative power");
  }
  if (base < 0 && std::floor(exponent) != exponent && std::isfinite(exponent)) {
    Fail(Error::Kind::kArithmetic, "complex numbers are not supported");
  }
  const double result = std::pow(base, exponent);
  if (std::isinf(result) && std::isfinite(base) && std::isfinite(exponent)) {
    Fail(Error::Kind::kArithmetic, "OverflowError: numerical result out of range");
  }
  return Value::Float(result);
}

Value IntegerPower(const Value& a, const Value& b) {
  const cpp_int base = Big(a);
  if (Big(b) < 0) return FloatPower(ToDouble(a), ToDouble(b));
  if (base == 0 || base == 1 || base == -1) {
    if (Big(b) == 0) return Value::Int(1);
    if (base == -1) return Value::Int(Big(b) % 2 == 0 ? 1 : -1);
    return Value::Int(static_cast<int64_t>(base));
  }
  if (!b.Is(Kind::kBigInt) &&
      static_cast<double>(b.AsInt()) * static_cast<double>(msb(abs(base))) <=
          static_cast<double>(kMaxBits)) {
    return FromBig(pow(base, static_cast<unsigned>(b.AsInt())));
  }
  LimitError("an integer has more than 4300 digits");
}

Value ComputeIntegers(Arithmetic op, const Value& a, const Value& b) {
  if (!a.Is(Kind::kBigInt) && !b.Is(Kind::kBigInt)) {
    int64_t r = 0;
    const int64_t x = a.AsInt(), y = b.AsInt();
    if (op == Arithmetic::kAdd && !__builtin_add_overflow(x, y, &r)) return Value::Int(r);
    if (op == Arithmetic::kSub && !__builtin_sub_overflow(x, y, &r)) return Value::Int(r);
    if (op == Arithmetic::kMul && !__builtin_mul_overflow(x, y, &r)) return Value::Int(r);
  }
  switch (op) {
    case Arithmetic::kAdd:
      return FromBig(Big(a) + Big(b));
    case Arithmetic::kSub:
      return FromBig(Big(a) - Big(b));
    case Arithmetic::kMul:
      return FromBig(Big(a) * Big(b));
    case Arithmetic::kDiv: {
      const double divisor = ToDouble(b);
      if (divisor == 0) DivisionByZero();
      return Value::Float(ToDouble(a) / divisor);
    }
    case Arithmetic::kFloorDiv:
      return FloorDivMod(Big(a), Big(b), true);
    case Arithmetic::kMod:
      return FloorDivMod(Big(a), Big(b), false);
    case Arithmetic::kPow:
      return IntegerPower(a, b);
  }
  return {};
}

// Python's float_divmod (Objects/floatobject.c).
double FloatMod(double a, double b) {
  double mod = std::fmod(a, b);
  if (mod != 0) {
    if ((b < 0) != (mod < 0)) mod += b;
    return mod;
  }
  return std::copysign(0.0, b);
}

double FloatFloorDiv(double a, double b) {
  double mod = std::fmod(a, b);
  double div = (a - mod) / b;
  if (mod != 0 && (b < 0) != (mod < 0)) div -= 1.0;
  if (div == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(div);
  return div - floored > 0.5 ? floored + 1.0 : floored;
}

Value ComputeFloats(Arithmetic op, double a, double b) {
  switch (op) {
    case Arithmetic::kAdd:
      return Value::Float(a + b);
    case Arithmetic::kSub:
      return Value::Float(a - b);
    case Arithmetic::kMul:
      return Value::Float(a * b);
    case Arithmetic::kDiv:
      if (b == 0) DivisionByZero();
      return Value::Float(a / b);
    case Arithmetic::kFloorDiv:
      if (b == 0) DivisionByZero();
      return Value::Float(FloatFloorDiv(a, b));
    case Arithmetic::kMod:
      if (b == 0) DivisionByZero();
      return Value::Float(FloatMod(a, b));
    case Arithmetic::kPow:
      return FloatPower(a, b);
  }
  return {};
}

}  // namespace

Value Compute(Arithmetic op, const Value& a, const Value& b) {
  if (a.Is(Kind::kFloat) || b.Is(Kind::kFloat)) return ComputeFloats(op, ToDouble(a), ToDouble(b));
  return ComputeIntegers(op, a, b);
}

Value Negate(const Value& a) {
  if (a.Is(Kind::kFloat)) return Value::Float(-a.AsFloat());
  return FromBig(-Big(a));
}

int CompareNumbers(const Value& a, const Value& b) {
  if (!a.Is(Kind::kFloat) && !b.Is(Kind::kFloat)) {
    if (!a.Is(Kind::kBigInt) && !b.Is(Kind::kBigInt)) {
      return a.AsInt() < b.AsInt() ? -1 : a.AsInt() > b.AsInt() ? 1 : 0;
    }
    return Big(a).compare(Big(b)) < 0 ? -1 : Big(a) == Big(b) ? 0 : 1;
  }
  if (a.Is(Kind::kFloat) && b.Is(Kind::kFloat)) {
    const double x = a.AsFloat(), y = b.AsFloat();
    return x < y ? -1 : x > y ? 1 : x == y ? 0 : 2;
  }
  if (b.Is(Kind::kFloat)) {  // integer against float, exactly
    const double y = b.AsFloat();
    if (std::isnan(y)) return 2;
    if (std::isinf(y)) return y > 0 ? -1 : 1;
    const double whole = std::trunc(y);
    const int c = Big(a).compare(cpp_int(whole));
    if (c != 0) return c < 0 ? -1 : 1;
    return whole < y ? -1 : whole > y ? 1 : 0;
  }
  const int c = CompareNumbers(b, a);
  return c == 2 ? 2 : -c;
}

double ToDouble(const Value& number) {
  if (number.Is(Kind::kFloat)) return number.AsFloat();
  if (!number.Is(Kind::kBigInt)) return static_cast<double>(number.AsInt());
  const cpp_int& value = number.As<BigIntObject>().value;
  // cpp_int throws where the exponent does not fit.
  const double result =
      msb(abs(value)) > 1023 ? std::numeric_limits<double>::infinity() : value.convert_to<double>();
  if (std::isinf(result)) {
    Fail(Error::Kind::kArithmetic, "OverflowError: int too large to convert to float");
  }
  return result;
}

uint64_t HashNumber(const Value& number) {
  if (number.Is(Kind::kFloat)) {
    const double f = number.AsFloat();
    // Whole floats are equal to integers, so they hash as integers.
    if (f == std::trunc(f) && std::fabs(f) < 9.2e18) {
      return std::hash<int64_t>{}(static_cast<int64_t>(f));
    }
    return f == std::trunc(f) ? 13 : std::hash<double>{}(f);
  }
  if (number.Is(Kind::kBigInt)) return 13;
  // Beyond 2^62.99 a whole float may be equal: one bucket for all of them.
  const int64_t i = number.AsInt();
  return std::fabs(static_cast<double>(i)) < 9.2e18 ? std::hash<int64_t>{}(i) : 13;
}

std::string IntegerText(const Value& integer) {
  if (integer.Is(Kind::kBigInt)) return integer.As<BigIntObject>().value.str();
  return std::to_string(integer.AsInt());
}

std::string IntegerTextBase(const Value& integer, int base) {
  const cpp_int value = Big(integer);
  const cpp_int magnitude = abs(value);
  std::string digits;
  if (base == 2) {
    for (cpp_int rest = magnitude; rest != 0; rest >>= 1) {
      digits.insert(digits.begin(), (rest & 1) != 0 ? '1' : '0');
    }
    if (digits.empty()) digits = "0";
  } else {
    digits = magnitude.str(0, base == 16 ? std::ios_base::hex : std::ios_base::oct);
    for (char& c : digits) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return value < 0 ? "-" + digits : digits;
}

bool ParseInteger(std::string_view text, int base, Value* out) {
  // Unicode decimal digits count as digits; the ones that templates meet are ASCII.
  text = Strip(text, Side::kBoth);
  if (base != 0 && (base < 2 || base > 36)) {
    ValueError("int() base must be >= 2 and <= 36, or 0");
  }
  bool negative = false;
  if (!text.empty() && (text[0] == '+' || text[0] == '-')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  const bool zero_base = base == 0;
  auto prefix = [&](char lower, int prefix_base) {
    if (text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == lower &&
        (base == prefix_base || base == 0)) {
      base = prefix_base;
      text.remove_prefix(2);
      if (!text.empty() && text[0] == '_') text.remove_prefix(1);
      return true;
    }
    return false;
  };
  const bool prefixed = prefix('x', 16) || prefix('o', 8) || prefix('b', 2);
  if (base == 0) base = 10;
  if (text.empty() || text.front() == '_' || text.back() == '_') return false;
  if (text.size() > 5000) return false;  // more than 4300 digits: a ValueError in Python too
  cpp_int value = 0;
  char before = 0;
  for (const char c : text) {
    if (c == '_') {
      if (before == '_') return false;
    } else {
      int digit = 99;
      if (c >= '0' && c <= '9') digit = c - '0';
      if ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') digit = (c | 0x20) - 'a' + 10;
      if (digit >= base) return false;
      value = value * base + digit;
    }
    before = c;
  }
  if (zero_base && !prefixed && text[0] == '0' && value != 0) return false;  // "012"
  *out = FromBig(negative ? cpp_int(-value) : value);
  return true;
}

bool ParseFloat(std::string_view text, double* out) {
  text = Strip(text, Side::kBoth);
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '_') {
      const bool between = i > 0 && i + 1 < text.size() && std::isdigit(text[i - 1] & 0xFF) &&
                           std::isdigit(text[i + 1] & 0xFF);
      if (!between) return false;
      continue;
    }
    plain.push_back(text[i]);
  }
  std::string_view rest = plain;
  bool negative = false;
  if (!rest.empty() && (rest[0] == '+' || rest[0] == '-')) {
    negative = rest[0] == '-';
    rest.remove_prefix(1);
  }
  if (rest.empty() || rest[0] == '+' || rest[0] == '-') return false;
  std::string lower(rest);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (lower == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (!std::isdigit(lower[0] & 0xFF) && lower[0] != '.') return false;
    const auto [end, error] = std::from_chars(lower.data(), lower.data() + lower.size(), value);
    if (end != lower.data() + lower.size()) return false;
    if (error == std::errc::result_out_of_range)
      value = std::strtod(lower.c_str(), nullptr);
    else if (error != std::errc())
      return false;
  }
  *out = negative ? -value : value;
  return true;
}

Value Truncate(double value) {
  if (std::isnan(value)) ValueError("cannot convert float NaN to integer");
  if (std::isinf(value)) {
    Fail(Error::Kind::kArithmetic, "OverflowError: cannot convert float infinity to integer");
  }
  return FromBig(cpp_int(std::trunc(value)));
}

Value Round(const Value& number, int64_t digits) {
  if (!number.Is(Kind::kFloat)) {
    if (digits >= 0) return number.Is(Kind::kBool) ? Value::Int(number.AsInt()) : number;
    if (digits < -5000) return Value::Int(0);
    const cpp_int unit = pow(cpp_int(10), static_cast<unsigned>(-digits));
    const cpp_int value = Big(number);
    cpp_int quotient, remainder;
    divide_qr(abs(value), unit, quotient, remainder);
    const int half = cpp_int(remainder * 2).compare(unit);
    if (half > 0 || (half == 0 && quotient % 2 != 0)) quotient += 1;
    return FromBig(value < 0 ? cpp_int(-quotient * unit) : cpp_int(quotient * unit));
  }
  const double value = number.AsFloat();
  if (!std::isfinite(value) || digits > 323) return number;
  if (digits < -308) return Value::Float(std::copysign(0.0, value));
  if (digits >= 0) {
    // glibc prints the exact decimal value correctly rounded, half to even: what round() does.
    std::string text(static_cast<size_t>(digits) + 400, '\0');
    const int n = std::snprintf(text.data(), text.size(), "%.*f", static_cast<int>(digits), value);
    text.resize(static_cast<size_t>(n));
    return Value::Float(std::strtod(text.c_str(), nullptr));
  }
  const double unit = std::pow(10.0, static_cast<double>(-digits));
  const double scaled = value / unit;
  return Value::Float(std::nearbyint(scaled) * unit);
}

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[64];
  const auto result =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(result.ptr - buffer));
  std::string out;
  if (text[0] == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const size_t e = text.find('e');
  std::string digits(text.substr(0, 1));
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  const char* first = text.data() + e + 1;
  if (*first == '+') ++first;
  std::from_chars(first, text.data() + text.size(), exponent);
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (digits.size() > 1) out += "." + digits.substr(1);
    std::snprintf(buffer, sizeof(buffer), "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
    return out + buffer;
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

int64_t BitLength(const Value& integer) {
  const cpp_int magnitude = abs(Big(integer));
  return magnitude == 0 ? 0 : static_cast<int64_t>(msb(magnitude)) + 1;
}

}  // namespace inhouse::engine::jinja
