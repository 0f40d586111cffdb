// Attributes and methods of everything but str. Methods that would change a value do not exist
// here: the sandbox refuses them.
#include <algorithm>
#include <cmath>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

Value CountItem(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("count", args, {"value"}, 1, 1);
  int64_t n = 0;
  for (const Value& item : runtime.Iterate(self)) {
    n += Same(item, bound[0]) || Equal(item, bound[0]) ? 1 : 0;
  }
  return Value::Int(n);
}

Value IndexOf(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("index", args, {"value", "start", "stop"}, 1, 3);
  const std::vector<Value> items = runtime.Iterate(self);
  const auto size = static_cast<int64_t>(items.size());
  const auto adjust = [&](int64_t i) { return i < 0 ? std::max<int64_t>(0, i + size) : i; };
  const int64_t stop = std::min(size, adjust(bound.Int(2, size)));
  for (int64_t i = adjust(bound.Int(1, 0)); i < stop; ++i) {
    const Value& item = items[static_cast<size_t>(i)];
    if (Same(item, bound[0]) || Equal(item, bound[0])) return Value::Int(i);
  }
  ValueError("the value is not in the " + std::string(TypeName(self)));
}

Value Copy(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("copy", args, {});
  return self;  // values do not change
}

template <DictPart kPart>
Value View(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("dict method", args, {});
  auto view = std::make_shared<DictViewObject>();
  view->depth = DepthAround(DepthOf(self));
  view->dict = self;
  view->part = kPart;
  return Value::Of(Kind::kDictView, std::move(view));
}

Value DictGet(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("get", args, {"key", "default"}, 1, 2);
  const Value* found = self.AsDict().Find(bound[0]);
  return found != nullptr ? *found : bound.Or(1, Value::None());
}

Value IsInteger(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  return Value::Bool(std::isfinite(self.AsFloat()) && self.AsFloat() == std::trunc(self.AsFloat()));
}

Value BitLengthMethod(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  return Value::Int(BitLength(self));
}

Value BitCount(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  const std::string bits = IntegerTextBase(self, 2);
  return Value::Int(std::count(bits.begin(), bits.end(), '1'));
}

Value Itself(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  return self.Is(Kind::kBool) ? Value::Int(self.AsInt()) : self;
}

Value CyclerNext(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  auto& cycler = self.As<CyclerObject>();
  const Value current = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return current;
}

Value CyclerReset(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  self.As<CyclerObject>().position = 0;
  return Value::None();
}

constexpr Named kListMethods[] = {{"count", CountItem}, {"index", IndexOf}, {"copy", Copy}};
constexpr Named kTupleMethods[] = {{"count", CountItem}, {"index", IndexOf}};
constexpr Named kDictMethods[] = {{"get", DictGet},
                                  {"items", View<DictPart::kItems>},
                                  {"keys", View<DictPart::kKeys>},
                                  {"values", View<DictPart::kValues>},
                                  {"copy", Copy}};
constexpr Named kIntMethods[] = {
    {"bit_length", BitLengthMethod}, {"bit_count", BitCount}, {"conjugate", Itself}};
constexpr Named kFloatMethods[] = {{"is_integer", IsInteger}, {"conjugate", Itself}};
constexpr Named kCyclerMethods[] = {{"next", CyclerNext}, {"reset", CyclerReset}};

constexpr std::string_view kListMutators[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
constexpr std::string_view kDictMutators[] = {"clear", "pop", "popitem", "setdefault", "update"};

Function FindFunction(const Value& object, std::string_view name) {
  switch (object.kind()) {
    case Kind::kString:
      return FindStringMethod(name);
    case Kind::kList:
      return FindIn(kListMethods, name);
    case Kind::kTuple:
    case Kind::kRange:
      return FindIn(kTupleMethods, name);
    case Kind::kDict:
      return FindIn(kDictMethods, name);
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kBigInt:
      return FindIn(kIntMethods, name);
    case Kind::kFloat:
      return FindIn(kFloatMethods, name);
    case Kind::kCycler:
      return FindIn(kCyclerMethods, name);
    default:
      return nullptr;
  }
}

template <size_t N>
bool IsOneOf(const std::string_view (&names)[N], std::string_view name) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Attributes that are no methods.
std::optional<Value> FindData(const Value& object, std::string_view name) {
  if (object.Is(Kind::kNamespace)) {
    const Value* found = object.As<NamespaceObject>().Find(name);
    if (found != nullptr) return *found;
  }
  if (object.IsNumber()) {
    if (name == "real" || name == "numerator") {
      if (name == "real" || !object.Is(Kind::kFloat)) {
        return object.Is(Kind::kBool) ? Value::Int(object.AsInt()) : object;
      }
    }
    if (name == "imag") return object.Is(Kind::kFloat) ? Value::Float(0) : Value::Int(0);
    if (name == "denominator" && !object.Is(Kind::kFloat)) return Value::Int(1);
  }
  if (object.Is(Kind::kTuple) && object.AsSequence().group) {
    if (name == "grouper") return object.Items()[0];
    if (name == "list") return object.Items()[1];
  }
  if (object.Is(Kind::kRange)) {
    const auto& range = object.As<RangeObject>();
    if (name == "start") return Value::Int(range.start);
    if (name == "stop") return Value::Int(range.stop);
    if (name == "step") return Value::Int(range.step);
  }
  if (object.Is(Kind::kCycler)) {
    const auto& cycler = object.As<CyclerObject>();
    if (name == "current") return cycler.items[cycler.position];
    if (name == "items") return Value::Tuple(cycler.items);
    if (name == "pos") return Value::Int(static_cast<int64_t>(cycler.position));
  }
  if (object.Is(Kind::kJoiner)) {
    const auto& joiner = object.As<JoinerObject>();
    if (name == "sep") return joiner.separator;
    if (name == "used") return Value::Bool(joiner.used);
  }
  return std::nullopt;
}

}  // namespace

std::optional<Value> FindMethod(const Value& object, std::string_view name) {
  if (auto data = FindData(object, name)) return data;
  const bool changes = (object.Is(Kind::kList) && IsOneOf(kListMutators, name)) ||
                       (object.Is(Kind::kDict) && IsOneOf(kDictMutators, name));
  if (changes) {
    return Value::Undefined("access to attribute '" + std::string(name) + "' of '" +
                                std::string(TypeName(object)) + "' object is unsafe.",
                            true);
  }
  const Function function = FindFunction(object, name);
  if (function == nullptr) return std::nullopt;
  auto method = std::make_shared<FunctionObject>();
  method->depth = DepthAround(DepthOf(object));
  method->name = name;
  method->function = function;
  method->self = object;
  return Value::Of(Kind::kFunction, std::move(method));
}

}  // namespace inhouse::engine::jinja
