// `value is test`.
#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

Value Remainder(Runtime& runtime, const Value& self, const Value& by) {
  return runtime.Binary(Arithmetic::kMod, self, by);
}

template <int64_t kRest>
Value Parity(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("test", args, {});
  return Value::Bool(Equal(Remainder(runtime, self, Value::Int(2)), Value::Int(kRest)));
}

Value DivisibleBy(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("divisibleby", args, {"num"}, 1);
  return Value::Bool(Equal(Remainder(runtime, self, bound[0]), Value::Int(0)));
}

template <bool (*kHolds)(const Value&)>
Value Check(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("test", args, {});
  return Value::Bool(kHolds(self));
}

bool IsDefined(const Value& v) { return !v.IsUndefined(); }
bool IsUndefined(const Value& v) { return v.IsUndefined(); }
bool IsNone(const Value& v) { return v.IsNone(); }
bool IsBoolean(const Value& v) { return v.Is(Kind::kBool); }
bool IsTrue(const Value& v) { return v.Is(Kind::kBool) && v.AsBool(); }
bool IsFalse(const Value& v) { return v.Is(Kind::kBool) && !v.AsBool(); }
bool IsInteger(const Value& v) { return v.IsInteger(); }
bool IsFloat(const Value& v) { return v.Is(Kind::kFloat); }
bool IsNumber(const Value& v) { return v.IsNumber(); }
bool IsString(const Value& v) { return v.IsString(); }
bool IsMapping(const Value& v) { return v.Is(Kind::kDict); }
bool IsEscaped(const Value& v) { return v.IsMarkup(); }
bool IsSequence(const Value& v) {
  return v.IsUndefined() || v.IsString() || v.IsSequence() || v.Is(Kind::kDict) ||
         v.Is(Kind::kRange);
}
bool IsIterable(const Value& v) {
  return IsSequence(v) || v.Is(Kind::kDictView) || v.Is(Kind::kIterator) || v.Is(Kind::kLoop);
}
bool IsCallable(const Value& v) {
  return v.IsUndefined() || v.Is(Kind::kFunction) || v.Is(Kind::kMacro) || v.Is(Kind::kJoiner) ||
         v.Is(Kind::kLoop);
}

template <const char* kMethod>
Value ByMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("test", args, {});
  const Value text = Value::String(Str(self));
  return FindStringMethod(kMethod)(runtime, text, args);
}
constexpr char kIsLower[] = "islower";
constexpr char kIsUpper[] = "isupper";

Value SameAs(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("sameas", args, {"other"}, 1);
  if (self.IsUndefined() || bound[0].IsUndefined()) {
    return Value::Bool(self.IsUndefined() && bound[0].IsUndefined() &&
                       self.object() == bound[0].object() && self.object() != nullptr);
  }
  return Value::Bool(Same(self, bound[0]));
}

Value In(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("in", args, {"seq"}, 1);
  return Value::Bool(runtime.Contains(bound[0], self));
}

Value IsFilter(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("filter", args, {});
  Hash(self);  // TypeError for what cannot be a name
  return Value::Bool(self.IsString() && FindFilter(self.Text()) != nullptr);
}

Value IsTest(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("test", args, {});
  Hash(self);
  return Value::Bool(self.IsString() && FindTest(self.Text()) != nullptr);
}

template <bool kEqual>
Value Equals(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("eq", args, {"other"}, 1, 1);
  return Value::Bool(Equal(self, bound[0]) == kEqual);
}

// kLow..kHigh: the results of Compare that count.
template <int kLow, int kHigh>
Value Ordered(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("comparison", args, {"other"}, 1, 1);
  const int c = Compare(self, bound[0], kLow < 0 ? "<" : ">");
  return Value::Bool(c >= kLow && c <= kHigh);
}

constexpr Named kTests[] = {
    {"odd", Parity<1>},
    {"even", Parity<0>},
    {"divisibleby", DivisibleBy},
    {"defined", Check<IsDefined>},
    {"undefined", Check<IsUndefined>},
    {"filter", IsFilter},
    {"test", IsTest},
    {"none", Check<IsNone>},
    {"boolean", Check<IsBoolean>},
    {"false", Check<IsFalse>},
    {"true", Check<IsTrue>},
    {"integer", Check<IsInteger>},
    {"float", Check<IsFloat>},
    {"lower", ByMethod<kIsLower>},
    {"upper", ByMethod<kIsUpper>},
    {"string", Check<IsString>},
    {"mapping", Check<IsMapping>},
    {"number", Check<IsNumber>},
    {"sequence", Check<IsSequence>},
    {"iterable", Check<IsIterable>},
    {"callable", Check<IsCallable>},
    {"sameas", SameAs},
    {"escaped", Check<IsEscaped>},
    {"in", In},
    {"==", Equals<true>},
    {"eq", Equals<true>},
    {"equalto", Equals<true>},
    {"!=", Equals<false>},
    {"ne", Equals<false>},
    {">", Ordered<1, 1>},
    {"gt", Ordered<1, 1>},
    {"greaterthan", Ordered<1, 1>},
    {"ge", Ordered<0, 1>},
    {">=", Ordered<0, 1>},
    {"<", Ordered<-1, -1>},
    {"lt", Ordered<-1, -1>},
    {"lessthan", Ordered<-1, -1>},
    {"<=", Ordered<-1, 0>},
    {"le", Ordered<-1, 0>},
};

}  // namespace

Function FindTest(std::string_view name) { return FindIn(kTests, name); }

}  // namespace inhouse::engine::jinja
