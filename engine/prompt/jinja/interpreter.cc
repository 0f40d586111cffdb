#include "engine/prompt/jinja/interpreter.h"

#include <algorithm>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/loop.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {

Value* Scope::Find(int id) {
  for (auto& [key, value] : variables) {
    if (key == id) return &value;
  }
  return nullptr;
}

void Scope::Set(int id, Value value) {
  if (Value* old = Find(id)) {
    *old = std::move(value);
  } else {
    variables.emplace_back(id, std::move(value));
  }
}

Interpreter::Interpreter(const Tree& tree, const DictObject& variables, const Limits& limits)
    : Runtime(limits), tree_(tree), variables_(variables) {
  const auto id_of = [&](std::string_view name) {
    const auto it = std::find(tree.names.begin(), tree.names.end(), name);
    return it == tree.names.end() ? -1 : static_cast<int>(it - tree.names.begin());
  };
  loop_id_ = id_of("loop");
  caller_id_ = id_of("caller");
  varargs_id_ = id_of("varargs");
  kwargs_id_ = id_of("kwargs");
  root_ = scope_ = std::make_shared<Scope>(nullptr);
}

Interpreter::~Interpreter() {
  for (const Value& ns : namespaces_) ns.As<NamespaceObject>().attributes.clear();
  for (const auto& scope : closures_) scope->variables.clear();
}

std::string Interpreter::Render() {
  std::string out;
  out_ = &out;
  Hide(tree_.root->hidden, root_.get());
  Run(tree_.root->body);
  return out;
}

void Interpreter::Write(std::string_view text) {
  if (text.size() + out_->size() > limits_.output_bytes_max) {
    LimitError("the output is longer than " + std::to_string(limits_.output_bytes_max) + " bytes");
  }
  Charge(static_cast<int64_t>(text.size() / 32));
  out_->append(text);
}

Interpreter::Flow Interpreter::Run(const std::vector<NodePtr>& body) {
  for (const NodePtr& node : body) {
    const Flow flow = RunStatement(*node);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Interpreter::Flow Interpreter::RunStatement(const Node& node) {
  const Deeper deeper(this);
  Charge(1);
  line_ = node.line;
  switch (node.kind) {
    case NodeKind::kData:
      Write(node.value.Text());
      return Flow::kNext;
    case NodeKind::kOutput:
      RunOutput(node);
      return Flow::kNext;
    case NodeKind::kSet:
      Assign(*node.kids[0], Evaluate(*node.kids[1]));
      return Flow::kNext;
    case NodeKind::kSetBlock:
      RunSetBlock(node);
      return Flow::kNext;
    case NodeKind::kFor:
      RunFor(node);
      return Flow::kNext;
    case NodeKind::kIf:
      return RunIf(node);
    case NodeKind::kMacro:
      DefineMacro(node);
      return Flow::kNext;
    case NodeKind::kCallBlock:
      RunCallBlock(node);
      return Flow::kNext;
    case NodeKind::kFilterBlock: {
      const std::string text = Capture(node.body, NewScope(scope_, node.hidden));
      Write(Str(EvaluateFilter(*node.kids[0], NewText(text))));
      return Flow::kNext;
    }
    case NodeKind::kWith:
      RunWith(node);
      return Flow::kNext;
    case NodeKind::kScope:
      Write(Capture(node.body, NewScope(scope_, node.hidden)));
      return Flow::kNext;
    case NodeKind::kAutoescape: {
      const bool outer = autoescape;
      autoescape = Truth(Evaluate(*node.kids[0]));
      const auto outer_scope = scope_;
      scope_ = NewScope(outer_scope, node.hidden);
      const Flow flow = Run(node.body);
      scope_ = outer_scope;
      autoescape = outer;
      return flow;
    }
    case NodeKind::kBlock:
      RunBlock(node);
      return Flow::kNext;
    case NodeKind::kUnsupported:
      Fail(Error::Kind::kRuntime,
           "'" + node.text + "' is not available: a chat template stands alone");
    case NodeKind::kBreak:
      return Flow::kBreak;
    case NodeKind::kContinue:
      return Flow::kContinue;
    case NodeKind::kSequence:
      return Run(node.body);
    default:
      Evaluate(node);
      return Flow::kNext;
  }
}

Interpreter::Flow Interpreter::RunIf(const Node& node) {
  for (size_t i = 0; i < node.kids.size(); ++i) {
    if (Truth(Evaluate(*node.kids[i]))) return Run(node.body[i]->body);
  }
  return Run(node.orelse);
}

void Interpreter::RunOutput(const Node& node) {
  for (const NodePtr& kid : node.kids) {
    const Value value = Evaluate(*kid);
    if (value.IsString() && !autoescape) {
      Write(value.Text());
    } else if (autoescape && !value.IsMarkup()) {
      Write(EscapeHtml(Str(value)));
    } else {
      Write(Str(value));
    }
  }
}

void Interpreter::Hide(const std::vector<int>& hidden, Scope* scope) {
  for (const int id : hidden) {
    scope->Set(id, Value::Undefined("'" + tree_.names[static_cast<size_t>(id)] + "' is undefined"));
  }
}

std::shared_ptr<Scope> Interpreter::NewScope(std::shared_ptr<Scope> parent,
                                             const std::vector<int>& hidden) {
  auto scope = std::make_shared<Scope>(std::move(parent));
  Hide(hidden, scope.get());
  return scope;
}

std::string Interpreter::Capture(const std::vector<NodePtr>& body, std::shared_ptr<Scope> scope) {
  std::string text;
  std::string* const outer_out = std::exchange(out_, &text);
  const std::shared_ptr<Scope> outer_scope = std::exchange(scope_, std::move(scope));
  // After an error nothing of the interpreter is used any more, so that nothing needs restoring.
  Run(body);
  out_ = outer_out;
  scope_ = outer_scope;
  return text;
}

void Interpreter::RunSetBlock(const Node& node) {
  Value text = NewText(Capture(node.body, NewScope(scope_, node.hidden)), autoescape);
  if (node.kids[1] != nullptr) text = EvaluateFilter(*node.kids[1], text);
  Assign(*node.kids[0], std::move(text));
}

void Interpreter::RunWith(const Node& node) {
  // The values are evaluated outside, as in Python's keyword arguments.
  std::vector<Value> values;
  for (size_t i = 1; i < node.kids.size(); i += 2) values.push_back(Evaluate(*node.kids[i]));
  const auto outer = scope_;
  scope_ = NewScope(outer, node.hidden);
  for (size_t i = 0; i < values.size(); ++i) Assign(*node.kids[2 * i], std::move(values[i]));
  Run(node.body);
  scope_ = outer;
}

void Interpreter::RunBlock(const Node& node) {
  // A block sees the variables of the template, and those around it only if it is scoped.
  const auto outer = scope_;
  scope_ = NewScope(node.flag ? outer : root_, node.hidden);
  Run(node.body);
  scope_ = outer;
}

void Interpreter::DefineMacro(const Node& node) {
  auto macro = std::make_shared<MacroObject>();
  macro->node = &node;
  macro->scope = scope_;
  closures_.push_back(scope_);
  scope_->Set(node.id, Value::Of(Kind::kMacro, std::move(macro)));
}

void Interpreter::RunCallBlock(const Node& node) {
  auto caller = std::make_shared<MacroObject>();
  caller->node = node.macro.get();
  caller->scope = scope_;
  closures_.push_back(scope_);
  const Node& call = *node.kids[0];
  const Value callee = Evaluate(*call.kids[0]);
  Arguments args = EvaluateArguments(call);
  for (const auto& [name, value] : args.keywords) {
    if (name == "caller") TypeError("got multiple values for keyword argument 'caller'");
  }
  args.keywords.emplace_back("caller", Value::Of(Kind::kMacro, std::move(caller)));
  Write(Str(Call(callee, std::move(args))));
}

void Interpreter::Assign(const Node& target, Value value) {
  if (target.kind == NodeKind::kName) {
    scope_->Set(target.id, std::move(value));
    return;
  }
  if (target.kind == NodeKind::kNamespaceRef) {
    const Value ns = EvaluateName(target);
    if (!ns.Is(Kind::kNamespace)) {
      Fail(Error::Kind::kRuntime, "cannot assign attribute on non-namespace object");
    }
    if (target.attribute.starts_with('_')) {
      Fail(Error::Kind::kSecurity,
           "underscore-prefixed attributes cannot be stored on a namespace: " + target.attribute);
    }
    ns.As<NamespaceObject>().Set(target.attribute, std::move(value));
    return;
  }
  std::vector<Value> items = IterateArgument(value);
  if (items.size() != target.kids.size()) {
    ValueError((items.size() < target.kids.size() ? "not enough values to unpack (expected "
                                                  : "too many values to unpack (expected ") +
               std::to_string(target.kids.size()) + ", got " + std::to_string(items.size()) + ")");
  }
  for (size_t i = 0; i < items.size(); ++i) Assign(*target.kids[i], std::move(items[i]));
}

}  // namespace inhouse::engine::jinja
