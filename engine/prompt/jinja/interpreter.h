// Walks a tree and writes the text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/prompt/jinja/ast.h"
#include "engine/prompt/jinja/runtime.h"

namespace inhouse::engine::jinja {

// The variables of one frame: the template, a loop's iteration, a macro's call, ... Names are found
// in the frame or in the frames around it; assignments stay in their own frame.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> parent) : parent(std::move(parent)) {}
  Value* Find(int id);
  void Set(int id, Value value);

  std::shared_ptr<Scope> parent;
  std::vector<std::pair<int, Value>> variables;
};

struct LoopObject;

struct MacroObject : Object {
  const Node* node = nullptr;
  std::shared_ptr<Scope> scope;  // where it was defined
};

class Interpreter : public Runtime {
 public:
  // `tree` and `variables` must outlive it.
  Interpreter(const Tree& tree, const DictObject& variables, const Limits& limits);
  ~Interpreter() override;

  std::string Render();

  Value Call(const Value& callee, Arguments args) override;
  std::optional<Value> Attribute(const Value& object, std::string_view name) override;
  // The line that runs, for messages.
  int line() const { return line_; }

 private:
  enum class Flow { kNext, kBreak, kContinue };

  Flow Run(const std::vector<NodePtr>& body);
  Flow RunStatement(const Node& node);
  Flow RunIf(const Node& node);
  void RunOutput(const Node& node);
  void RunSetBlock(const Node& node);
  void RunFor(const Node& node);
  void RunLoop(const Node& node, const Value& iterable, int depth0);
  bool RunIterations(const Node& node, LoopObject* loop, const Value& loop_value);
  void RunWith(const Node& node);
  void RunCallBlock(const Node& node);
  void RunBlock(const Node& node);
  void DefineMacro(const Node& node);
  // Runs the body in a new frame and returns what it wrote.
  std::string Capture(const std::vector<NodePtr>& body, std::shared_ptr<Scope> scope);
  // A frame inside `parent` in which the names are undefined.
  std::shared_ptr<Scope> NewScope(std::shared_ptr<Scope> parent, const std::vector<int>& hidden);
  void Hide(const std::vector<int>& hidden, Scope* scope);
  void Assign(const Node& target, Value value);
  void Write(std::string_view text);

  Value Evaluate(const Node& node);
  Value EvaluateName(const Node& node);
  Value EvaluateCompare(const Node& node);
  Value EvaluateConcat(const Node& node);
  Value EvaluateDict(const Node& node);
  Value EvaluateUnary(const Node& node);
  Value EvaluateSubscript(const Node& node);
  Value EvaluateCall(const Node& node);
  Value EvaluateFilter(const Node& node, const Value& input);
  std::vector<Value> EvaluateAll(const Node& node, size_t from);
  Arguments EvaluateArguments(const Node& node);
  std::vector<Value> IterateArgument(const Value& value);
  bool CompareOnce(Comparison op, const Value& a, const Value& b);

  Value CallMacro(const MacroObject& macro, Arguments args);
  void BindParameters(const Node& node, Arguments* args, Scope* scope);
  Value CallLoop(const Value& loop, Arguments args);
  bool Advance(LoopObject* loop, Value* item);
  bool Peek(LoopObject* loop);
  int64_t LoopLength(LoopObject* loop);
  std::optional<Value> LoopAttribute(const Value& loop, std::string_view name);

  // Bounds the recursion while it lives.
  class Deeper {
   public:
    explicit Deeper(Interpreter* interpreter) : interpreter_(interpreter) {
      if (++interpreter_->frames_ > interpreter_->limits_.frames_max) {
        LimitError("maximum recursion depth exceeded");
      }
    }
    ~Deeper() { --interpreter_->frames_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Interpreter* interpreter_;
  };

  const Tree& tree_;
  const DictObject& variables_;
  std::shared_ptr<Scope> scope_;
  std::shared_ptr<Scope> root_;
  std::string* out_ = nullptr;
  int frames_ = 0;
  int line_ = 1;
  int loop_id_, caller_id_, varargs_id_, kwargs_id_;  // -1 where the template has no such name
  // Frames that hold macros, and namespaces: they may form cycles, which the end of the render
  // cuts.
  std::vector<std::shared_ptr<Scope>> closures_;
  std::vector<Value> namespaces_;
};

}  // namespace inhouse::engine::jinja
