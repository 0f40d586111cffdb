// The tree of a template. One node type: what a node's members hold stands at its kind.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/prompt/jinja/number.h"
#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

enum class NodeKind : uint8_t {
  // Expressions.
  kConst,         // value
  kName,          // text, id
  kTuple,         // kids
  kList,          // kids
  kDict,          // kids: key, value, key, value ...
  kNegate,        // kids[0]
  kPositive,      // kids[0]
  kNot,           // kids[0]
  kBinary,        // arithmetic; kids[0], kids[1]
  kConcat,        // kids
  kAnd,           // kids[0], kids[1]
  kOr,            // kids[0], kids[1]
  kCompare,       // kids[0] comparisons[0] kids[1] comparisons[1] kids[2] ...
  kCondition,     // kids: test, then, else or null
  kGetattr,       // kids[0].text
  kGetitem,       // kids[0][kids[1]]
  kSlice,         // kids: start, stop, step, each may be null; only as kids[1] of kGetitem
  kCall,          // kids[0](kids[1..], keywords, *star_args, **star_kwargs)
  kFilter,        // kids[0] | text(as kCall); kids[0] is null at the head of a filter block
  kTest,          // kids[0] is text(as kCall)
  kNamespaceRef,  // text.attribute as a target
  // Statements.
  kData,         // value
  kOutput,       // kids
  kSet,          // kids: target, value
  kSetBlock,     // kids: target, filter or null; body
  kFor,          // kids: target, iterable, test or null; body, orelse; flag = recursive
  kIf,           // kids: tests; body: one kSequence for each test; orelse
  kMacro,        // text, id; parameters, kids: defaults or null; body
  kCallBlock,    // kids[0] = call; parameters and defaults in body_macro
  kFilterBlock,  // kids[0] = filter; body
  kWith,         // kids: target, value, target, value ...; body
  kScope,        // body in a scope of its own
  kAutoescape,   // kids[0]; body
  kBlock,        // text; body; flag = scoped
  kUnsupported,  // text: extends, include, import, from
  kBreak,
  kContinue,
  kSequence,  // body
};

enum class Comparison : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

struct Node;
using NodePtr = std::unique_ptr<Node>;

struct Parameter {
  std::string name;
  int id;
};

struct Node {
  NodeKind kind = NodeKind::kConst;
  int line = 0;
  int depth = 1;  // height of the tree below, bounded by the parser
  int id = -1;    // of a name: index into Tree::names
  bool flag = false;
  Arithmetic arithmetic = Arithmetic::kAdd;
  std::string text;
  std::string attribute;
  Value value;
  std::vector<NodePtr> kids;
  std::vector<Comparison> comparisons;
  std::vector<std::pair<std::string, NodePtr>> keywords;
  NodePtr star_args, star_kwargs;
  std::vector<Parameter> parameters;
  // What the body of a macro asks for, as find_undeclared of Jinja's compiler says it.
  bool wants_varargs = false, wants_kwargs = false, wants_caller = false;
  NodePtr macro;  // kCallBlock: the caller, a kMacro
  std::vector<NodePtr> body, orelse;
  // Names that are undefined when the frame of the body (of orelse) begins: scopes.h.
  std::vector<int> hidden, hidden_else;
};

struct Tree {
  NodePtr root;                    // a kSequence
  std::vector<std::string> names;  // by id
};

// Calls `visit(const Node&)` for every child that is there.
template <typename Visit>
void ForEachChild(const Node& node, const Visit& visit) {
  const auto all = [&](const std::vector<NodePtr>& nodes) {
    for (const NodePtr& kid : nodes) {
      if (kid != nullptr) visit(*kid);
    }
  };
  all(node.kids);
  for (const auto& [name, value] : node.keywords) visit(*value);
  if (node.star_args != nullptr) visit(*node.star_args);
  if (node.star_kwargs != nullptr) visit(*node.star_kwargs);
  if (node.macro != nullptr) visit(*node.macro);
  all(node.body);
  all(node.orelse);
}

}  // namespace inhouse::engine::jinja
