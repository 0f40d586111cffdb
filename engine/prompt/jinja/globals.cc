// The global functions of a chat template's environment.
#include <ctime>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"

namespace inhouse::engine::jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // MAX_RANGE of Jinja's sandbox

Value RangeFunction(Runtime& /*runtime*/, const Value& /*self*/, Arguments& args) {
  const Bound bound("range", args, {"start", "stop", "step"}, 1, 3);
  auto range = std::make_shared<RangeObject>();
  if (bound.Has(1)) {
    range->start = bound.Int(0, 0);
    range->stop = bound.Int(1, 0);
  } else {
    range->stop = bound.Int(0, 0);
  }
  range->step = bound.Int(2, 1);
  if (range->step == 0) ValueError("range() arg 3 must not be zero");
  const Value span =
      Compute(Arithmetic::kFloorDiv,
              Compute(Arithmetic::kSub, Value::Int(range->stop), Value::Int(range->start)),
              Value::Int(range->step));
  if (CompareNumbers(span, Value::Int(kMaxRange)) > 0) {
    LimitError("OverflowError: Range too big. The sandbox blocks ranges larger than 100000.");
  }
  if (CompareNumbers(span, Value::Int(0)) < 0) range->stop = range->start;  // empty
  return Value::Of(Kind::kRange, std::move(range));
}

std::shared_ptr<DictObject> MakeDict(Runtime& runtime, const Arguments& args) {
  auto dict = std::make_shared<DictObject>();
  if (args.positional.size() > 1) TypeError("dict expected at most 1 argument");
  if (args.positional.size() == 1) {
    const Value& source = args.positional[0];
    if (source.Is(Kind::kDict)) {
      for (const auto& [key, value] : source.AsDict().entries) dict->Set(key, value);
    } else {
      for (const Value& pair : runtime.Iterate(source)) {
        const std::vector<Value> parts = runtime.Iterate(pair);
        if (parts.size() != 2)
          ValueError("dictionary update sequence element: length 2 is required");
        dict->Set(parts[0], parts[1]);
      }
    }
  }
  for (const auto& [name, value] : args.keywords) dict->Set(Value::String(name), value);
  runtime.Charge(static_cast<int64_t>(dict->entries.size()));
  return dict;
}

Value DictFunction(Runtime& runtime, const Value& /*self*/, Arguments& args) {
  return Value::Dict(MakeDict(runtime, args));
}

Value NamespaceFunction(Runtime& runtime, const Value& /*self*/, Arguments& args) {
  auto ns = std::make_shared<NamespaceObject>();
  const auto dict = MakeDict(runtime, args);
  for (const auto& [key, value] : dict->entries) {
    if (!key.IsString()) continue;  // cannot be reached
    if (key.Text().starts_with('_')) {
      Fail(Error::Kind::kSecurity,
           "underscore-prefixed attributes cannot be stored on a namespace: " + key.Text());
    }
    ns->Set(key.Text(), value);
  }
  return Value::Of(Kind::kNamespace, std::move(ns));
}

Value CyclerFunction(Runtime& /*runtime*/, const Value& /*self*/, Arguments& args) {
  if (args.positional.empty()) {
    Fail(Error::Kind::kRuntime, "at least one item has to be provided");
  }
  auto cycler = std::make_shared<CyclerObject>();
  cycler->depth = DepthAround(DepthOf(args.positional));
  cycler->items = args.positional;
  return Value::Of(Kind::kCycler, std::move(cycler));
}

Value JoinerFunction(Runtime& /*runtime*/, const Value& /*self*/, Arguments& args) {
  const Bound bound("joiner", args, {"sep"});
  auto joiner = std::make_shared<JoinerObject>();
  joiner->separator = bound.Or(0, Value::String(", "));
  joiner->depth = DepthAround(DepthOf(joiner->separator));
  return Value::Of(Kind::kJoiner, std::move(joiner));
}

Value RaiseException(Runtime& /*runtime*/, const Value& /*self*/, Arguments& args) {
  const Bound bound("raise_exception", args, {"message"}, 1);
  Fail(Error::Kind::kRaised, Str(bound[0]));
}

Value StrftimeNow(Runtime& runtime, const Value& /*self*/, Arguments& args) {
  const Bound bound("strftime_now", args, {"format"}, 1);
  return runtime.NewText(FormatNow(bound.Text(0)));
}

constexpr Named kGlobals[] = {
    {"range", RangeFunction},      {"dict", DictFunction},     {"namespace", NamespaceFunction},
    {"cycler", CyclerFunction},    {"joiner", JoinerFunction}, {"raise_exception", RaiseException},
    {"strftime_now", StrftimeNow},
};

}  // namespace

std::optional<Value> FindGlobal(std::string_view name) {
  for (const Named& entry : kGlobals) {
    if (entry.name != name) continue;
    auto function = std::make_shared<FunctionObject>();
    function->name = entry.name;
    function->function = entry.function;
    return Value::Of(Kind::kFunction, std::move(function));
  }
  return std::nullopt;
}

std::string FormatNow(const std::string& format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  if (format.empty()) return "";
  if (format.size() > 1000) LimitError("strftime_now: the format is longer than 1000 bytes");
  std::string out(format.size() * 40 + 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
  return out;
}

}  // namespace inhouse::engine::jinja
