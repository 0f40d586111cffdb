// Filters on numbers.
#include <cmath>
#include <cstdio>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"

namespace inhouse::engine::jinja {
namespace {

const Value& RequireNumber(const Value& value, const char* what) {
  RequireDefined(value);
  if (!value.IsNumber()) {
    TypeError(std::string(what) + ": a number is required, not '" + std::string(TypeName(value)) +
              "'");
  }
  return value;
}

Value Abs(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("abs", args, {});
  RequireNumber(self, "abs()");
  if (self.Is(Kind::kFloat)) return Value::Float(std::fabs(self.AsFloat()));
  if (CompareNumbers(self, Value::Int(0)) < 0) return Negate(self);
  return self.Is(Kind::kBool) ? Value::Int(self.AsInt()) : self;
}

Value Int(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("int", args, {"default", "base"});
  const Value otherwise = bound.Or(0, Value::Int(0));
  RequireDefined(self);
  if (self.Is(Kind::kFloat)) {
    return std::isnan(self.AsFloat()) ? otherwise : Truncate(self.AsFloat());
  }
  if (self.IsNumber()) return self.Is(Kind::kBool) ? Value::Int(self.AsInt()) : self;
  if (!self.IsString()) return otherwise;
  Value result;
  const int64_t base = bound.Int(1, 10);
  const bool valid_base = base == 0 || (base >= 2 && base <= 36);
  if (valid_base && ParseInteger(self.Text(), static_cast<int>(base), &result)) return result;
  double number = 0;
  if (ParseFloat(self.Text(), &number) && std::isfinite(number)) return Truncate(number);
  return otherwise;
}

Value Float(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("float", args, {"default"});
  RequireDefined(self);
  if (self.IsNumber()) return Value::Float(ToDouble(self));
  double number = 0;
  if (self.IsString() && ParseFloat(self.Text(), &number)) return Value::Float(number);
  return bound.Or(0, Value::Float(0.0));
}

Value RoundFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("round", args, {"precision", "method"});
  const std::string method = bound.Has(1) ? bound.Text(1) : "common";
  if (method != "common" && method != "ceil" && method != "floor") {
    Fail(Error::Kind::kRuntime, "method must be common, ceil or floor");
  }
  RequireNumber(self, "round()");
  if (method == "common") {
    if (bound.Has(0) && bound[0].IsNone()) {
      return self.Is(Kind::kFloat) ? Truncate(Round(self, 0).AsFloat()) : Round(self, 0);
    }
    return Round(self, bound.Int(0, 0));
  }
  const Value unit = Compute(Arithmetic::kPow, Value::Int(10), Value::Int(bound.Int(0, 0)));
  const Value scaled = runtime.Binary(Arithmetic::kMul, self, unit);
  Value whole = scaled;
  if (scaled.Is(Kind::kFloat)) {
    whole = Truncate(method == "ceil" ? std::ceil(scaled.AsFloat()) : std::floor(scaled.AsFloat()));
  }
  return Compute(Arithmetic::kDiv, whole, unit);
}

Value FileSizeFormat(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("filesizeformat", args, {"binary"});
  const bool binary = bound.Bool(0, false);
  RequireDefined(self);
  double bytes = 0;
  if (self.IsNumber()) {
    bytes = ToDouble(self);
  } else if (!self.IsString() || !ParseFloat(self.Text(), &bytes)) {
    ValueError("could not convert to float: " + Repr(self));
  }
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return Value::String("1 Byte");
  if (bytes < base) return Value::String(Str(Truncate(bytes)) + " Bytes");
  constexpr char kPrefixes[] = "kMGTPEZY";
  double unit = base;
  size_t i = 0;
  while (i < 7 && bytes >= unit * base) {
    unit *= base;
    ++i;
  }
  char text[400];
  std::snprintf(text, sizeof(text), "%.1f %c%sB", bytes / unit,
                binary && i == 0 ? 'K' : kPrefixes[i], binary ? "i" : "");
  return runtime.NewText(text);
}

constexpr Named kFilters[] = {
    {"abs", Abs},
    {"int", Int},
    {"float", Float},
    {"round", RoundFilter},
    {"filesizeformat", FileSizeFormat},
};

}  // namespace

Function FindNumberFilter(std::string_view name) { return FindIn(kFilters, name); }

Function FindFilter(std::string_view name) {
  if (const Function function = FindTextFilter(name)) return function;
  if (const Function function = FindSequenceFilter(name)) return function;
  return FindNumberFilter(name);
}

}  // namespace inhouse::engine::jinja
