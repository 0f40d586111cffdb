#include "engine/prompt/jinja/runtime.h"

#include <algorithm>
#include <limits>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

// Steps that an item of a made list counts: bounds memory, at 32 bytes an item.
constexpr int64_t kItemCost = 4;

constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};

[[noreturn]] void UnsupportedOperands(Arithmetic op, const Value& a, const Value& b) {
  RequireDefined(a);
  RequireDefined(b);
  TypeError(std::string("unsupported operand type(s) for ") + kSymbols[static_cast<size_t>(op)] +
            ": '" + std::string(TypeName(a)) + "' and '" + std::string(TypeName(b)) + "'");
}

// Normalized bounds of a slice: PySlice_AdjustIndices.
struct SliceBounds {
  int64_t start, stop, step, count;
};

SliceBounds Adjust(const Value& start, const Value& stop, const Value& step, int64_t length) {
  const auto index = [](const Value& v) -> std::optional<int64_t> {
    if (v.IsNone()) return std::nullopt;
    if (const auto i = AsIndex(v)) return i;
    RequireDefined(v);
    TypeError("slice indices must be integers or None or have an __index__ method");
  };
  SliceBounds b{};
  b.step = index(step).value_or(1);
  if (b.step == 0) ValueError("slice step cannot be zero");
  b.step = std::max(b.step, -std::numeric_limits<int64_t>::max());
  const bool back = b.step < 0;
  const auto clamp = [&](std::optional<int64_t> i, int64_t otherwise) {
    if (!i) return otherwise;
    int64_t at = *i;
    if (at < 0) at = at < -length ? (back ? -1 : 0) : at + length;
    return std::min(at, back ? length - 1 : length);
  };
  b.start = clamp(index(start), back ? length - 1 : 0);
  b.stop = clamp(index(stop), back ? -1 : length);
  if (back) {
    b.count = b.stop < b.start ? (b.start - b.stop - 1) / -b.step + 1 : 0;
  } else {
    b.count = b.start < b.stop ? (b.stop - b.start - 1) / b.step + 1 : 0;
  }
  return b;
}

Value SliceText(Runtime& runtime, const Value& object, const SliceBounds& b) {
  const StringObject& s = object.AsString();
  if (b.step == 1) {
    const size_t from = ByteOffset(s, b.start);
    const size_t to = b.count == 0 ? from : ByteOffset(s, b.start + b.count);
    return runtime.NewText(s.text.substr(from, to - from), s.markup);
  }
  const std::u32string chars = Decode(s.text);
  std::string out;
  for (int64_t i = 0, at = b.start; i < b.count; ++i, at += b.step) {
    AppendChar(chars[static_cast<size_t>(at)], &out);
  }
  return runtime.NewText(std::move(out), s.markup);
}

bool IsUnsafeName(std::string_view name) {
  return name.size() > 4 && name.substr(0, 2) == "__" && name.substr(name.size() - 2) == "__";
}

std::string Quoted(const Value& key) { return Repr(key); }

}  // namespace

std::optional<int64_t> AsIndex(const Value& value) {
  if (value.Is(Kind::kInt) || value.Is(Kind::kBool)) return value.AsInt();
  if (value.Is(Kind::kBigInt)) {
    return CompareNumbers(value, Value::Int(0)) < 0 ? std::numeric_limits<int64_t>::min()
                                                    : std::numeric_limits<int64_t>::max();
  }
  return std::nullopt;
}

void Runtime::FailSteps() {
  LimitError("the template does not end within " + std::to_string(limits_.steps_max) + " steps");
}

void Runtime::ChargeText(size_t bytes) {
  CheckText(bytes);
  Charge(static_cast<int64_t>(bytes / 32));
}

void Runtime::CheckText(size_t bytes) const {
  if (bytes > limits_.output_bytes_max) {
    LimitError("a text is longer than " + std::to_string(limits_.output_bytes_max) + " bytes");
  }
}

Value Runtime::CallFilter(const std::string& name, const Value& value, Arguments args) {
  const Function filter = FindFilter(name);
  if (filter == nullptr) Fail(Error::Kind::kRuntime, "No filter named '" + name + "'");
  return filter(*this, value, args);
}

bool Runtime::CallTest(const std::string& name, const Value& value, Arguments args) {
  const Function test = FindTest(name);
  if (test == nullptr) Fail(Error::Kind::kRuntime, "No test named '" + name + "'");
  return Truth(test(*this, value, args));
}

Value Runtime::Iterator(std::vector<Value> items, const char* type) {
  auto object = std::make_shared<IteratorObject>();
  object->depth = DepthAround(DepthOf(items));
  object->items = std::move(items);
  object->type = type;
  return Value::Of(Kind::kIterator, std::move(object));
}

std::vector<Value> Runtime::Iterate(const Value& value) {
  std::vector<Value> out;
  switch (value.kind()) {
    case Kind::kUndefined:
      return out;
    case Kind::kList:
    case Kind::kTuple:
      out = value.Items();
      break;
    case Kind::kString: {
      const std::string& text = value.Text();
      Charge(value.AsString().length);
      for (size_t at = 0; at < text.size();) {
        const size_t before = at;
        NextChar(text, &at);
        out.push_back(Value::String(text.substr(before, at - before)));
      }
      return out;
    }
    case Kind::kDict:
      for (const auto& [key, item] : value.AsDict().entries) out.push_back(key);
      break;
    case Kind::kDictView: {
      const auto& view = value.As<DictViewObject>();
      for (const auto& [key, item] : view.dict.AsDict().entries) {
        if (view.part == DictPart::kKeys) out.push_back(key);
        if (view.part == DictPart::kValues) out.push_back(item);
        if (view.part == DictPart::kItems) out.push_back(Value::Tuple({key, item}));
      }
      break;
    }
    case Kind::kRange: {
      const auto& range = value.As<RangeObject>();
      Charge(range.size());
      for (int64_t i = 0; i < range.size(); ++i) out.push_back(Value::Int(range.At(i)));
      return out;
    }
    case Kind::kIterator: {
      auto& iterator = value.As<IteratorObject>();
      out.assign(iterator.items.begin() + static_cast<ptrdiff_t>(iterator.next),
                 iterator.items.end());
      iterator.next = iterator.items.size();
      if (iterator.failure != nullptr) throw Error(*iterator.failure);
      break;
    }
    default:
      TypeError("'" + std::string(TypeName(value)) + "' object is not iterable");
  }
  Charge(static_cast<int64_t>(out.size()));
  return out;
}

int64_t Runtime::Length(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return value.AsString().length;
    case Kind::kList:
    case Kind::kTuple:
      return static_cast<int64_t>(value.Items().size());
    case Kind::kDict:
      return static_cast<int64_t>(value.AsDict().entries.size());
    case Kind::kDictView:
      return static_cast<int64_t>(value.As<DictViewObject>().dict.AsDict().entries.size());
    case Kind::kRange:
      return value.As<RangeObject>().size();
    default:
      TypeError("object of type '" + std::string(TypeName(value)) + "' has no len()");
  }
}

bool Runtime::Contains(const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kString:
      if (!item.IsString()) {
        TypeError("'in <string>' requires string as left operand, not " +
                  std::string(TypeName(item)));
      }
      Charge(static_cast<int64_t>(container.Text().size() / 32));
      return container.Text().find(item.Text()) != std::string::npos;
    case Kind::kDict:
      return container.AsDict().Find(item) != nullptr;
    case Kind::kDictView:
      if (container.As<DictViewObject>().part == DictPart::kKeys) {
        return container.As<DictViewObject>().dict.AsDict().Find(item) != nullptr;
      }
      break;
    case Kind::kList:
    case Kind::kTuple:
      Charge(static_cast<int64_t>(container.Items().size()));
      return std::any_of(container.Items().begin(), container.Items().end(),
                         [&](const Value& v) { return Same(v, item) || Equal(v, item); });
    case Kind::kIterator: {  // consumes up to the item
      auto& iterator = container.As<IteratorObject>();
      while (iterator.next < iterator.items.size()) {
        Charge(1);
        if (Equal(iterator.items[iterator.next++], item)) return true;
      }
      if (iterator.failure != nullptr) throw Error(*iterator.failure);
      return false;
    }
    case Kind::kRange:
      break;
    default:
      TypeError("argument of type '" + std::string(TypeName(container)) + "' is not iterable");
  }
  for (const Value& v : Iterate(container)) {
    if (Equal(v, item)) return true;
  }
  return false;
}

Value Runtime::Undefined(const Value& object, const Value& key) {
  const std::string type(object.IsNone() ? "None" : TypeName(object));
  if (key.IsString()) {
    return Value::Undefined("'" + type + " object' has no attribute " + Quoted(key));
  }
  return Value::Undefined(type + " object has no element " + Quoted(key));
}

std::optional<Value> Runtime::Subscript(const Value& object, const Value& key) {
  if (object.Is(Kind::kDict)) {
    if (key.Is(Kind::kList) || key.Is(Kind::kDict) || key.Is(Kind::kDictView)) return std::nullopt;
    try {
      const Value* found = object.AsDict().Find(key);
      return found == nullptr ? std::nullopt : std::optional<Value>(*found);
    } catch (const Error& e) {
      if (e.kind == Error::Kind::kType) return std::nullopt;
      throw;
    }
  }
  const auto index = AsIndex(key);
  if (!index) return std::nullopt;
  const bool indexed = object.IsString() || object.IsSequence() || object.Is(Kind::kRange);
  if (!indexed) return std::nullopt;
  const int64_t length = Length(object);
  if (*index < -length || *index >= length) return std::nullopt;
  const int64_t at = *index < 0 ? *index + length : *index;
  if (object.Is(Kind::kRange)) return Value::Int(object.As<RangeObject>().At(at));
  if (object.IsSequence()) return object.Items()[static_cast<size_t>(at)];
  const StringObject& s = object.AsString();
  if (!s.ascii()) Charge(at / 32);
  const size_t from = ByteOffset(s, at);
  size_t to = from;
  NextChar(s.text, &to);
  return Value::String(s.text.substr(from, to - from), s.markup);
}

std::optional<Value> Runtime::Attribute(const Value& object, std::string_view name) {
  // Of what every Python object has, an undefined value gives these and raises for the rest.
  const bool of_undefined = name == "__class__" || name == "__init__" || name == "__doc__";
  if (!of_undefined) RequireDefined(object);
  if (IsUnsafeName(name)) {
    // Every Python object has some of these, and the sandbox gives none away. A dict may have such
    // a key.
    if (object.Is(Kind::kDict) && object.AsDict().Find(name) != nullptr) return std::nullopt;
    return Value::Undefined("access to attribute '" + std::string(name) + "' of '" +
                                std::string(TypeName(object)) + "' object is unsafe.",
                            true);
  }
  return FindMethod(object, name);
}

Value Runtime::GetItem(const Value& object, const Value& key) {
  RequireDefined(object);
  if (auto found = Subscript(object, key)) return *std::move(found);
  if (key.IsString()) {
    if (auto found = Attribute(object, key.Text())) return *std::move(found);
  }
  return Undefined(object, key);
}

Value Runtime::GetAttr(const Value& object, const std::string& name) {
  if (auto found = Attribute(object, name)) return *std::move(found);
  if (object.Is(Kind::kDict)) {
    if (const Value* found = object.AsDict().Find(name)) return *found;
  }
  return Undefined(object, Value::String(name));
}

Value Runtime::GetPath(const Value& object, const Value& path) {
  if (path.IsNone()) return object;
  if (!path.IsString()) return GetItem(object, path);
  Value value = object;
  for (const std::string& part : Split(path.Text(), ".", -1, false)) {
    Value index;
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == part.npos;
    if (digits && ParseInteger(part, 10, &index)) {
      value = GetItem(value, index);
    } else {
      value = GetItem(value, Value::String(part));
    }
  }
  return value;
}

Value Runtime::Slice(const Value& object, const Value& start, const Value& stop,
                     const Value& step) {
  RequireDefined(object);
  if (object.Is(Kind::kDict)) TypeError("unhashable type: 'slice'");
  const bool sliceable = object.IsString() || object.IsSequence() || object.Is(Kind::kRange);
  if (!sliceable) TypeError("'" + std::string(TypeName(object)) + "' object is not subscriptable");
  const SliceBounds b = Adjust(start, stop, step, Length(object));
  Charge(b.count / 8);
  if (object.IsString()) return SliceText(*this, object, b);
  if (object.Is(Kind::kRange)) {
    const auto& range = object.As<RangeObject>();
    auto out = std::make_shared<RangeObject>();
    out->start = range.At(b.start);
    out->step = range.step * std::clamp<int64_t>(b.step, -200000, 200000);
    out->stop = out->start + b.count * out->step;
    return Value::Of(Kind::kRange, std::move(out));
  }
  std::vector<Value> items;
  for (int64_t i = 0, at = b.start; i < b.count; ++i, at += b.step) {
    items.push_back(object.Items()[static_cast<size_t>(at)]);
  }
  return object.Is(Kind::kList) ? Value::List(std::move(items)) : Value::Tuple(std::move(items));
}

Value Runtime::Multiply(const Value& sequence, const Value& times) {
  const int64_t n = std::max<int64_t>(0, *AsIndex(times));
  if (sequence.IsString()) {
    const std::string& text = sequence.Text();
    if (!text.empty() && n > static_cast<int64_t>(limits_.output_bytes_max / text.size())) {
      LimitError("a text is longer than " + std::to_string(limits_.output_bytes_max) + " bytes");
    }
    std::string out;
    for (int64_t i = 0; i < n && !text.empty(); ++i) out += text;
    return NewText(std::move(out), sequence.IsMarkup());
  }
  const auto& items = sequence.Items();
  std::vector<Value> out;
  if (!items.empty()) {
    if (n > limits_.steps_max) FailSteps();
    Charge(kItemCost * n);  // first, so that the product below is small
    Charge(kItemCost * n * static_cast<int64_t>(items.size()));
    for (int64_t i = 0; i < n; ++i) out.insert(out.end(), items.begin(), items.end());
  }
  return sequence.Is(Kind::kList) ? Value::List(std::move(out)) : Value::Tuple(std::move(out));
}

Value Runtime::Add(const Value& a, const Value& b) {
  if (a.IsString() && b.IsString()) {
    if (!a.IsMarkup() && !b.IsMarkup()) {
      ChargeText(a.Text().size() + b.Text().size());
      return Value::String(a.Text() + b.Text());
    }
    // Markup escapes what it is joined with.
    return NewText((a.IsMarkup() ? a.Text() : EscapeHtml(a.Text())) +
                       (b.IsMarkup() ? b.Text() : EscapeHtml(b.Text())),
                   true);
  }
  if (a.kind() == b.kind() && a.IsSequence()) {
    Charge(kItemCost * static_cast<int64_t>(a.Items().size() + b.Items().size()));
    std::vector<Value> items = a.Items();
    items.insert(items.end(), b.Items().begin(), b.Items().end());
    return a.Is(Kind::kList) ? Value::List(std::move(items)) : Value::Tuple(std::move(items));
  }
  if (a.IsString() && !b.IsUndefined()) {
    TypeError("can only concatenate str (not \"" + std::string(TypeName(b)) + "\") to str");
  }
  UnsupportedOperands(Arithmetic::kAdd, a, b);
}

Value Runtime::Binary(Arithmetic op, const Value& a, const Value& b) {
  if (a.IsNumber() && b.IsNumber()) return Compute(op, a, b);
  if (op == Arithmetic::kMod && a.IsString()) {
    return NewText(FormatPercent(*this, a, b), a.IsMarkup());
  }
  if (op == Arithmetic::kAdd) return Add(a, b);
  if (op == Arithmetic::kMul) {
    const bool a_repeats = a.IsString() || a.IsSequence();
    const bool b_repeats = b.IsString() || b.IsSequence();
    if (a_repeats && AsIndex(b)) return Multiply(a, b);
    if (b_repeats && AsIndex(a)) return Multiply(b, a);
  }
  UnsupportedOperands(op, a, b);
}

}  // namespace inhouse::engine::jinja
