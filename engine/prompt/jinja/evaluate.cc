// Expressions.
#include <algorithm>

#include "engine/prompt/jinja/interpreter.h"
#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/loop.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {

Value Interpreter::Evaluate(const Node& node) {
  const Deeper deeper(this);
  Charge(1);
  switch (node.kind) {
    case NodeKind::kConst:
      return node.value;
    case NodeKind::kName:
      return EvaluateName(node);
    case NodeKind::kTuple:
      return Value::Tuple(EvaluateAll(node, 0));
    case NodeKind::kList:
      return Value::List(EvaluateAll(node, 0));
    case NodeKind::kDict:
      return EvaluateDict(node);
    case NodeKind::kNegate:
    case NodeKind::kPositive:
      return EvaluateUnary(node);
    case NodeKind::kNot:
      return Value::Bool(!Truth(Evaluate(*node.kids[0])));
    case NodeKind::kBinary: {
      const Value left = Evaluate(*node.kids[0]);
      return Binary(node.arithmetic, left, Evaluate(*node.kids[1]));
    }
    case NodeKind::kConcat:
      return EvaluateConcat(node);
    case NodeKind::kAnd: {
      Value left = Evaluate(*node.kids[0]);
      return Truth(left) ? Evaluate(*node.kids[1]) : left;
    }
    case NodeKind::kOr: {
      Value left = Evaluate(*node.kids[0]);
      return Truth(left) ? left : Evaluate(*node.kids[1]);
    }
    case NodeKind::kCompare:
      return EvaluateCompare(node);
    case NodeKind::kCondition:
      if (Truth(Evaluate(*node.kids[0]))) return Evaluate(*node.kids[1]);
      if (node.kids[2] != nullptr) return Evaluate(*node.kids[2]);
      return Value::Undefined(
          "the inline if-expression evaluated to false and no else section was defined.");
    case NodeKind::kGetattr:
      return GetAttr(Evaluate(*node.kids[0]), node.text);
    case NodeKind::kGetitem:
      return EvaluateSubscript(node);
    case NodeKind::kCall:
      return EvaluateCall(node);
    case NodeKind::kFilter:
      return EvaluateFilter(node, Evaluate(*node.kids[0]));
    case NodeKind::kTest: {
      const Function test = FindTest(node.text);
      if (test == nullptr) Fail(Error::Kind::kRuntime, "No test named '" + node.text + "'");
      const Value value = Evaluate(*node.kids[0]);
      Arguments args = EvaluateArguments(node);
      return test(*this, value, args);
    }
    default:
      Fail(Error::Kind::kRuntime, "this is not an expression");
  }
}

Value Interpreter::EvaluateName(const Node& node) {
  for (Scope* scope = scope_.get(); scope != nullptr; scope = scope->parent.get()) {
    if (const Value* found = scope->Find(node.id)) return *found;
  }
  if (const Value* found = variables_.Find(node.text)) return *found;
  if (auto found = FindGlobal(node.text)) return *std::move(found);
  return Value::Undefined("'" + node.text + "' is undefined");
}

std::vector<Value> Interpreter::EvaluateAll(const Node& node, size_t from) {
  std::vector<Value> out;
  out.reserve(node.kids.size());
  for (size_t i = from; i < node.kids.size(); ++i) out.push_back(Evaluate(*node.kids[i]));
  return out;
}

Value Interpreter::EvaluateDict(const Node& node) {
  auto dict = std::make_shared<DictObject>();
  for (size_t i = 0; i < node.kids.size(); i += 2) {
    const Value key = Evaluate(*node.kids[i]);
    dict->Set(key, Evaluate(*node.kids[i + 1]));
  }
  return Value::Dict(std::move(dict));
}

Value Interpreter::EvaluateUnary(const Node& node) {
  const Value value = Evaluate(*node.kids[0]);
  RequireDefined(value);
  if (!value.IsNumber()) {
    TypeError("bad operand type for unary " +
              std::string(node.kind == NodeKind::kNegate ? "-" : "+") + ": '" +
              std::string(TypeName(value)) + "'");
  }
  if (node.kind == NodeKind::kNegate) return Negate(value);
  return value.Is(Kind::kBool) ? Value::Int(value.AsInt()) : value;
}

Value Interpreter::EvaluateConcat(const Node& node) {
  std::vector<Value> parts = EvaluateAll(node, 0);
  const bool markup = autoescape && std::any_of(parts.begin(), parts.end(),
                                                [](const Value& v) { return v.IsMarkup(); });
  std::string out;
  for (const Value& part : parts) {
    std::string text = Str(part);
    ChargeText(text.size());
    CheckText(out.size() + text.size());
    out += markup && !part.IsMarkup() ? EscapeHtml(text) : text;
  }
  return Value::String(std::move(out), markup);
}

bool Interpreter::CompareOnce(Comparison op, const Value& a, const Value& b) {
  switch (op) {
    case Comparison::kEq:
      return Equal(a, b);
    case Comparison::kNe:
      return !Equal(a, b);
    case Comparison::kLt:
      return Compare(a, b, "<") == -1;
    case Comparison::kLe: {
      const int c = Compare(a, b, "<=");
      return c == -1 || c == 0;
    }
    case Comparison::kGt:
      return Compare(a, b, ">") == 1;
    case Comparison::kGe: {
      const int c = Compare(a, b, ">=");
      return c == 1 || c == 0;
    }
    case Comparison::kIn:
      return Contains(b, a);
    case Comparison::kNotIn:
      return !Contains(b, a);
  }
  return false;
}

Value Interpreter::EvaluateCompare(const Node& node) {
  Value left = Evaluate(*node.kids[0]);
  for (size_t i = 0; i < node.comparisons.size(); ++i) {
    Value right = Evaluate(*node.kids[i + 1]);
    if (!CompareOnce(node.comparisons[i], left, right)) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

Value Interpreter::EvaluateSubscript(const Node& node) {
  const Value object = Evaluate(*node.kids[0]);
  const Node& key = *node.kids[1];
  if (key.kind != NodeKind::kSlice) return GetItem(object, Evaluate(key));
  Value parts[3];
  for (size_t i = 0; i < 3; ++i) {
    parts[i] = key.kids[i] == nullptr ? Value::None() : Evaluate(*key.kids[i]);
  }
  return Slice(object, parts[0], parts[1], parts[2]);
}

std::vector<Value> Interpreter::IterateArgument(const Value& value) {
  if (!value.Is(Kind::kLoop)) return Iterate(value);
  // A loop iterates over what is left of it, in pairs with itself.
  std::vector<Value> out;
  Value item;
  while (Advance(&value.As<LoopObject>(), &item)) out.push_back(Value::Tuple({item, value}));
  return out;
}

Arguments Interpreter::EvaluateArguments(const Node& node) {
  Arguments args;
  args.positional = EvaluateAll(node, 1);
  for (const auto& [name, value] : node.keywords)
    args.keywords.emplace_back(name, Evaluate(*value));
  if (node.star_args != nullptr) {
    const Value star = Evaluate(*node.star_args);
    for (Value& item : IterateArgument(star)) args.positional.push_back(std::move(item));
  }
  if (node.star_kwargs != nullptr) {
    const Value star = Evaluate(*node.star_kwargs);
    if (!star.Is(Kind::kDict)) TypeError("argument after ** must be a mapping");
    for (const auto& [key, value] : star.AsDict().entries) {
      if (!key.IsString()) TypeError("keywords must be strings");
      for (const auto& [name, other] : args.keywords) {
        if (name == key.Text()) {
          TypeError("got multiple values for keyword argument '" + name + "'");
        }
      }
      args.keywords.emplace_back(key.Text(), value);
    }
  }
  return args;
}

Value Interpreter::EvaluateFilter(const Node& node, const Value& input) {
  // The filters of a block begin with a filter that has no input of its own.
  const Value* value = &input;
  Value inner;
  if (node.kids[0] != nullptr && node.kids[0]->kind == NodeKind::kFilter) {
    const Node* head = node.kids[0].get();
    while (head->kind == NodeKind::kFilter && head->kids[0] != nullptr) head = head->kids[0].get();
    if (head->kind == NodeKind::kFilter) {
      inner = EvaluateFilter(*node.kids[0], input);
      value = &inner;
    }
  }
  const Function filter = FindFilter(node.text);
  if (filter == nullptr) Fail(Error::Kind::kRuntime, "No filter named '" + node.text + "'");
  Arguments args = EvaluateArguments(node);
  return filter(*this, *value, args);
}

Value Interpreter::EvaluateCall(const Node& node) {
  const Value callee = Evaluate(*node.kids[0]);
  Arguments args = EvaluateArguments(node);
  line_ = node.line;
  return Call(callee, std::move(args));
}

Value Interpreter::Call(const Value& callee, Arguments args) {
  const Deeper deeper(this);
  Charge(1);
  RequireDefined(callee);
  if (callee.Is(Kind::kMacro)) return CallMacro(callee.As<MacroObject>(), std::move(args));
  if (callee.Is(Kind::kLoop)) return CallLoop(callee, std::move(args));
  if (callee.Is(Kind::kJoiner)) {
    auto& joiner = callee.As<JoinerObject>();
    return std::exchange(joiner.used, true) ? joiner.separator : Value::String("");
  }
  if (!callee.Is(Kind::kFunction)) {
    TypeError("'" + std::string(TypeName(callee)) + "' object is not callable");
  }
  const auto& function = callee.As<FunctionObject>();
  Value result = function.function(*this, function.self, args);
  if (result.Is(Kind::kNamespace)) namespaces_.push_back(result);
  return result;
}

std::optional<Value> Interpreter::Attribute(const Value& object, std::string_view name) {
  if (object.Is(Kind::kLoop)) return LoopAttribute(object, name);
  if (object.Is(Kind::kMacro)) {
    const Node& node = *object.As<MacroObject>().node;
    if (name == "name") return Value::String(node.text);
    if (name == "caller") return Value::Bool(node.wants_caller);
    if (name == "catch_kwargs") return Value::Bool(node.wants_kwargs);
    if (name == "catch_varargs") return Value::Bool(node.wants_varargs);
    if (name == "arguments") {
      std::vector<Value> names;
      for (const Parameter& p : node.parameters) names.push_back(Value::String(p.name));
      return Value::Tuple(std::move(names));
    }
  }
  return Runtime::Attribute(object, name);
}

}  // namespace inhouse::engine::jinja
