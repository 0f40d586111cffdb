// Loops and macros.
#include <algorithm>

#include "engine/prompt/jinja/interpreter.h"
#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/loop.h"

namespace inhouse::engine::jinja {
namespace {

constexpr const char* kNotRecursive =
    "The loop must have the 'recursive' marker to be called recursively.";

LoopObject& AsLoop(const Value& loop) { return loop.As<LoopObject>(); }

Value LoopCycle(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  if (args.positional.empty()) TypeError("no items for cycling given");
  const auto n = static_cast<int64_t>(args.positional.size());
  return args.positional[static_cast<size_t>(AsLoop(self).index0 % n)];
}

Value LoopChanged(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  LoopObject& loop = AsLoop(self);
  Value now = Value::Tuple(args.positional);
  if (loop.changed && Equal(*loop.changed, now)) return Value::Bool(false);
  loop.depth = std::max(loop.depth, DepthAround(DepthOf(now)));
  loop.changed = std::move(now);
  return Value::Bool(true);
}

}  // namespace

// Pulls the next item that the loop's condition accepts.
bool Interpreter::Advance(LoopObject* loop, Value* item) {
  if (loop->after) {
    *item = *std::exchange(loop->after, std::nullopt);
    return true;
  }
  while (loop->next < loop->items.size()) {
    Charge(1);
    const Value& candidate = loop->items[loop->next++];
    if (!loop->accepts || loop->accepts(candidate)) {
      *item = candidate;
      return true;
    }
  }
  if (loop->failure != nullptr) throw Error(*loop->failure);
  return false;
}

bool Interpreter::Peek(LoopObject* loop) {
  Value item;
  if (!loop->after && Advance(loop, &item)) loop->after = std::move(item);
  return loop->after.has_value();
}

int64_t Interpreter::LoopLength(LoopObject* loop) {
  if (loop->length) return *loop->length;
  if (!loop->accepts) {
    loop->length = static_cast<int64_t>(loop->items.size());
    return *loop->length;
  }
  std::vector<Value> rest;
  const std::optional<Value> after = std::exchange(loop->after, std::nullopt);
  Value item;
  while (Advance(loop, &item)) rest.push_back(item);
  loop->length = static_cast<int64_t>(rest.size()) + loop->index0 + 1 + (after ? 1 : 0);
  loop->after = after;
  loop->accepts = nullptr;
  loop->items = std::move(rest);
  loop->next = 0;
  return *loop->length;
}

void Interpreter::RunFor(const Node& node) {
  const Value iterable = Evaluate(*node.kids[1]);
  RunLoop(node, iterable, 0);
}

void Interpreter::RunLoop(const Node& node, const Value& iterable, int depth0) {
  const Deeper deeper(this);
  auto loop = std::make_shared<LoopObject>();
  loop->depth = DepthAround(DepthOf(iterable));
  loop->depth0 = depth0;
  loop->recursive = node.flag ? &node : nullptr;
  if (node.flag) loop->scope = scope_;
  if (iterable.Is(Kind::kIterator)) {
    auto& iterator = iterable.As<IteratorObject>();
    if (iterator.failure != nullptr) loop->failure = std::make_unique<Error>(*iterator.failure);
    iterator.failure = nullptr;
  }
  loop->items = IterateArgument(iterable);
  const std::shared_ptr<Scope> outer = scope_;
  if (const Node* condition = node.kids[2].get()) {
    loop->accepts = [this, &node, condition, outer](const Value& item) {
      const std::shared_ptr<Scope> inner = std::exchange(scope_, std::make_shared<Scope>(outer));
      Assign(*node.kids[0], item);
      const bool accepted = Truth(Evaluate(*condition));
      scope_ = inner;
      return accepted;
    };
  }
  const bool completed = RunIterations(node, loop.get(), Value::Of(Kind::kLoop, loop));
  loop->accepts = nullptr;
  if (!completed && !node.orelse.empty()) {
    scope_ = NewScope(outer, node.hidden_else);
    Run(node.orelse);
  }
  scope_ = outer;
}

// Returns whether one iteration reached its end: else the `else` branch runs, after `break` and
// `continue` too, as in Jinja's compiled code.
bool Interpreter::RunIterations(const Node& node, LoopObject* loop, const Value& loop_value) {
  const std::shared_ptr<Scope> outer = scope_;
  std::shared_ptr<Scope> scope;
  bool completed = false;
  Value item;
  while (Advance(loop, &item)) {
    Charge(1);
    ++loop->index0;
    loop->before = std::exchange(loop->current, item);
    if (scope != nullptr && scope.use_count() == 2) {  // here and in scope_: nobody else keeps it
      scope->variables.clear();
    } else {
      scope = std::make_shared<Scope>(outer);
    }
    scope_ = scope;
    Hide(node.hidden, scope.get());
    if (loop_id_ >= 0) scope->Set(loop_id_, loop_value);
    Assign(*node.kids[0], item);
    const Flow flow = Run(node.body);
    scope_ = scope;
    if (flow == Flow::kBreak) break;
    completed = completed || flow == Flow::kNext;
  }
  scope_ = outer;
  return completed;
}

Value Interpreter::CallLoop(const Value& loop, Arguments args) {
  const Node* node = AsLoop(loop).recursive;
  if (node == nullptr) TypeError(kNotRecursive);
  if (args.positional.size() != 1 || !args.keywords.empty()) {
    TypeError("loop() takes one argument: what to iterate over");
  }
  std::string text;
  std::string* const outer_out = std::exchange(out_, &text);
  const std::shared_ptr<Scope> outer = std::exchange(scope_, AsLoop(loop).scope);
  RunLoop(*node, args.positional[0], AsLoop(loop).depth0 + 1);
  scope_ = outer;
  out_ = outer_out;
  return NewText(std::move(text), autoescape);
}

std::optional<Value> Interpreter::LoopAttribute(const Value& value, std::string_view name) {
  LoopObject& loop = AsLoop(value);
  if (name == "index") return Value::Int(loop.index0 + 1);
  if (name == "index0") return Value::Int(loop.index0);
  if (name == "first") return Value::Bool(loop.index0 == 0);
  if (name == "last") return Value::Bool(!Peek(&loop));
  if (name == "length") return Value::Int(LoopLength(&loop));
  if (name == "revindex") return Value::Int(LoopLength(&loop) - loop.index0);
  if (name == "revindex0") return Value::Int(LoopLength(&loop) - loop.index0 - 1);
  if (name == "depth") return Value::Int(loop.depth0 + 1);
  if (name == "depth0") return Value::Int(loop.depth0);
  if (name == "previtem") {
    return loop.index0 == 0 ? Value::Undefined("there is no previous item") : loop.before;
  }
  if (name == "nextitem") {
    return Peek(&loop) ? *loop.after : Value::Undefined("there is no next item");
  }
  if (name == "cycle" || name == "changed") {
    auto method = std::make_shared<FunctionObject>();
    method->depth = DepthAround(DepthOf(value));
    method->name = name == "cycle" ? "cycle" : "changed";
    method->function = name == "cycle" ? LoopCycle : LoopChanged;
    method->self = value;
    return Value::Of(Kind::kFunction, std::move(method));
  }
  return std::nullopt;
}

void Interpreter::BindParameters(const Node& node, Arguments* args, Scope* scope) {
  const auto take_keyword = [&](std::string_view name) -> std::optional<Value> {
    for (auto it = args->keywords.begin(); it != args->keywords.end(); ++it) {
      if (it->first != name) continue;
      Value value = std::move(it->second);
      args->keywords.erase(it);
      return value;
    }
    return std::nullopt;
  };
  bool found_caller = false;
  for (size_t i = 0; i < node.parameters.size(); ++i) {
    const Parameter& parameter = node.parameters[i];
    std::optional<Value> value;
    if (i < args->positional.size()) {
      value = args->positional[i];
    } else {
      value = take_keyword(parameter.name);
    }
    found_caller = found_caller || parameter.name == "caller";
    if (!value) {
      value = node.kids[i] != nullptr
                  ? Evaluate(*node.kids[i])
                  : Value::Undefined("parameter '" + parameter.name + "' was not provided");
    }
    scope->Set(parameter.id, *std::move(value));
  }
  if (node.wants_caller && !found_caller) {
    const auto caller = take_keyword("caller");
    scope->Set(caller_id_,
               caller && !caller->IsNone() ? *caller : Value::Undefined("No caller defined"));
  }
}

Value Interpreter::CallMacro(const MacroObject& macro, Arguments args) {
  const Deeper deeper(this);
  const Node& node = *macro.node;
  const std::shared_ptr<Scope> outer = scope_;
  const int outer_line = line_;
  scope_ = NewScope(macro.scope, node.hidden);
  BindParameters(node, &args, scope_.get());
  if (node.wants_kwargs) {
    auto dict = std::make_shared<DictObject>();
    for (auto& [name, value] : args.keywords) dict->Set(Value::String(name), std::move(value));
    scope_->Set(kwargs_id_, Value::Dict(std::move(dict)));
  } else if (!args.keywords.empty()) {
    TypeError("macro '" + node.text + "' takes no keyword argument '" + args.keywords[0].first +
              "'");
  }
  if (node.wants_varargs) {
    const size_t taken = std::min(args.positional.size(), node.parameters.size());
    scope_->Set(varargs_id_, Value::Tuple({args.positional.begin() + static_cast<ptrdiff_t>(taken),
                                           args.positional.end()}));
  } else if (args.positional.size() > node.parameters.size()) {
    TypeError("macro '" + node.text + "' takes not more than " +
              std::to_string(node.parameters.size()) + " argument(s)");
  }
  std::string text = Capture(node.body, scope_);
  scope_ = outer;
  line_ = outer_line;
  return NewText(std::move(text), autoescape);
}

}  // namespace inhouse::engine::jinja
