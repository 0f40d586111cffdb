#include "engine/prompt/jinja/parser.h"

#include <algorithm>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/parser_base.h"
#include "engine/prompt/jinja/scopes.h"

namespace inhouse::engine::jinja {
namespace {

using Names = std::initializer_list<std::string_view>;

class Parser : private ExpressionParser {
 public:
  explicit Parser(std::string_view source) : ExpressionParser(source) {}

  Tree Run() {
    Tree tree;
    tree.root = New(NodeKind::kSequence, 1);
    tree.root->body = ParseBody({});
    tree.root = Finish(std::move(tree.root));
    tree.names = std::move(names_);
    return tree;
  }

 private:
  // Statements up to a block that begins with one of `ends` (not consumed) or, without `ends`, up
  // to the end of the template.
  std::vector<NodePtr> ParseBody(Names ends) {
    const Deeper deeper(this);
    std::vector<NodePtr> body;
    while (Current().type != Token::kEnd) {
      const LexedToken& token = Next();
      if (token.type == Token::kData) {
        NodePtr node = New(NodeKind::kData, token.line);
        node->value = Value::String(token.text);
        body.push_back(std::move(node));
      } else if (token.type == Token::kVariableBegin) {
        NodePtr node = New(NodeKind::kOutput, token.line);
        node->kids.push_back(ParseTuple({}));
        if (Current().type != Token::kVariableEnd) FailExpected("end of print statement");
        Next();
        body.push_back(Finish(std::move(node)));
      } else {
        if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return AtName(end); })) {
          return body;
        }
        body.push_back(ParseStatement(ends));
        ExpectBlockEnd();
      }
    }
    if (ends.size() != 0) {
      std::string wanted;
      for (const std::string_view end : ends)
        wanted += (wanted.empty() ? "" : " or ") + std::string(end);
      FailHere("unexpected end of template, expected '" + wanted + "'");
    }
    return body;
  }

  void ExpectBlockEnd() {
    if (Current().type != Token::kBlockEnd) FailExpected("end of statement block");
    Next();
  }

  // The inside of a block statement: from its "%}" to the block that ends it, whose name is
  // consumed when there is only one.
  std::vector<NodePtr> ParseBlockBody(Names ends) {
    SkipOperator(":");
    ExpectBlockEnd();
    std::vector<NodePtr> body = ParseBody(ends);
    if (ends.size() == 1) Next();
    return body;
  }

  NodePtr ParseStatement(Names ends) {
    const LexedToken& token = Current();
    if (token.type != Token::kName) FailHere("tag name expected");
    const std::string& name = token.text;
    if (name == "for") return ParseFor();
    if (name == "if") return ParseIf();
    if (name == "set") return ParseSet();
    if (name == "macro") return ParseMacro();
    if (name == "call") return ParseCallBlock();
    if (name == "filter") return ParseFilterBlock();
    if (name == "with") return ParseWith();
    if (name == "print") return ParsePrint();
    if (name == "block") return ParseBlock();
    if (name == "autoescape" || name == "generation") return ParseScope();
    if (name == "break" || name == "continue") return ParseLoopControl();
    if (name == "extends" || name == "include" || name == "import" || name == "from") {
      NodePtr node = New(NodeKind::kUnsupported, token.line);
      node->text = name;
      while (Current().type != Token::kBlockEnd && Current().type != Token::kEnd) Next();
      return node;
    }
    std::string message = "Encountered unknown tag '" + name + "'";
    if (ends.size() != 0) {
      message += ", expected";
      for (const std::string_view end : ends) message += " '" + std::string(end) + "'";
    }
    FailHere(message);
  }

  NodePtr ParseTarget(TupleRules rules) {
    rules.simplified = true;
    NodePtr target = ParseTuple(rules);
    CheckTarget(*target);
    return target;
  }

  void CheckTarget(const Node& target) {
    if (target.kind == NodeKind::kTuple) {
      for (const NodePtr& kid : target.kids) CheckTarget(*kid);
      return;
    }
    if (target.kind != NodeKind::kName && target.kind != NodeKind::kNamespaceRef) {
      Fail(Error::Kind::kSyntax, "can't assign to this expression", target.line);
    }
    if (target.kind == NodeKind::kName && target.text == "loop" && loops_ > 0) {
      Fail(Error::Kind::kSyntax, "Can't assign to special loop variable in for-loop", target.line);
    }
  }

  NodePtr ParseFor() {
    NodePtr node = New(NodeKind::kFor, Next().line);
    ++loops_;
    ++breakable_;
    node->kids.push_back(ParseTarget({.end = "in"}));
    ExpectName("in");
    node->kids.push_back(ParseTuple({.conditional = false, .end = "recursive"}));
    node->kids.push_back(SkipName("if") ? ParseExpression() : nullptr);
    node->flag = SkipName("recursive");
    node->body = ParseBlockBody({"endfor", "else"});
    --breakable_;
    if (Next().text == "else") node->orelse = ParseBlockBody({"endfor"});
    --loops_;
    return Finish(std::move(node));
  }

  NodePtr ParseIf() {
    NodePtr node = New(NodeKind::kIf, Next().line);
    while (true) {
      node->kids.push_back(ParseTuple({.conditional = false}));
      NodePtr branch = New(NodeKind::kSequence, Current().line);
      branch->body = ParseBlockBody({"elif", "else", "endif"});
      node->body.push_back(Finish(std::move(branch)));
      const std::string& end = Next().text;
      if (end == "elif") continue;
      if (end == "else") node->orelse = ParseBlockBody({"endif"});
      return Finish(std::move(node));
    }
  }

  NodePtr ParseSet() {
    NodePtr node = New(NodeKind::kSet, Next().line);
    node->kids.push_back(ParseTarget({.namespaces = true}));
    if (SkipOperator("=")) {
      node->kids.push_back(ParseTuple({}));
      return Finish(std::move(node));
    }
    node->kind = NodeKind::kSetBlock;
    node->kids.push_back(ParseFilters(nullptr, false));
    node->body = ParseBlockBody({"endset"});
    return Finish(std::move(node));
  }

  void ParseSignature(Node* macro) {
    ExpectOperator("(");
    while (!AtOperator(")")) {
      if (!macro->parameters.empty()) ExpectOperator(",");
      const std::string name = ExpectName().text;
      for (const Parameter& other : macro->parameters) {
        if (other.name == name) FailHere("duplicate argument '" + name + "' in a macro");
      }
      macro->parameters.push_back({name, Intern(name)});
      const bool had_default = !macro->kids.empty() && macro->kids.back() != nullptr;
      if (SkipOperator("=")) {
        macro->kids.push_back(ParseExpression());
      } else {
        if (had_default) FailHere("non-default argument follows default argument");
        macro->kids.push_back(nullptr);
      }
    }
    ExpectOperator(")");
  }

  // The body of a macro is a function of its own: loops outside do not reach into it.
  void ParseMacroBody(Node* macro, std::string_view end) {
    const int breakable = std::exchange(breakable_, 0);
    macro->body = ParseBlockBody({end});
    breakable_ = breakable;
    FindSpecialNames(macro);
  }

  NodePtr ParseMacro() {
    NodePtr node = New(NodeKind::kMacro, Next().line);
    const LexedToken& name = ExpectName();
    node->text = name.text;
    node->id = Intern(name.text);
    ParseSignature(node.get());
    ParseMacroBody(node.get(), "endmacro");
    return Finish(std::move(node));
  }

  NodePtr ParseCallBlock() {
    NodePtr node = New(NodeKind::kCallBlock, Next().line);
    node->macro = New(NodeKind::kMacro, node->line);
    node->macro->text = "caller";
    if (AtOperator("(")) ParseSignature(node->macro.get());
    node->kids.push_back(ParseExpression());
    if (node->kids[0]->kind != NodeKind::kCall) {
      Fail(Error::Kind::kSyntax, "expected call", node->line);
    }
    ParseMacroBody(node->macro.get(), "endcall");
    node->macro = Finish(std::move(node->macro));
    return Finish(std::move(node));
  }

  NodePtr ParseFilterBlock() {
    NodePtr node = New(NodeKind::kFilterBlock, Next().line);
    node->kids.push_back(ParseFilters(nullptr, true));
    node->body = ParseBlockBody({"endfilter"});
    return Finish(std::move(node));
  }

  NodePtr ParseWith() {
    NodePtr node = New(NodeKind::kWith, Next().line);
    while (Current().type != Token::kBlockEnd) {
      if (!node->kids.empty()) ExpectOperator(",");
      node->kids.push_back(ParseTarget({}));
      ExpectOperator("=");
      node->kids.push_back(ParseExpression());
    }
    node->body = ParseBlockBody({"endwith"});
    return Finish(std::move(node));
  }

  NodePtr ParsePrint() {
    NodePtr node = New(NodeKind::kOutput, Next().line);
    while (Current().type != Token::kBlockEnd) {
      if (!node->kids.empty()) ExpectOperator(",");
      node->kids.push_back(ParseExpression());
    }
    return Finish(std::move(node));
  }

  NodePtr ParseBlock() {
    NodePtr node = New(NodeKind::kBlock, Next().line);
    node->text = ExpectName().text;
    if (std::find(blocks_.begin(), blocks_.end(), node->text) != blocks_.end()) {
      FailHere("block '" + node->text + "' defined twice");
    }
    blocks_.push_back(node->text);
    node->flag = SkipName("scoped");
    if (SkipName("required")) FailHere("required blocks need template inheritance");
    const int breakable = std::exchange(breakable_, 0);
    node->body = ParseBlockBody({"endblock"});
    breakable_ = breakable;
    SkipName(node->text);
    return Finish(std::move(node));
  }

  NodePtr ParseScope() {
    const LexedToken& token = Next();
    const bool generation = token.text == "generation";
    NodePtr node = New(generation ? NodeKind::kScope : NodeKind::kAutoescape, token.line);
    if (!generation) node->kids.push_back(ParseExpression());
    const int breakable = breakable_;
    if (generation) breakable_ = 0;  // a call block to transformers: a function of its own
    if (generation) {
      node->body = ParseBlockBody({"endgeneration"});
    } else {
      node->body = ParseBlockBody({"endautoescape"});
    }
    breakable_ = breakable;
    return Finish(std::move(node));
  }

  NodePtr ParseLoopControl() {
    const LexedToken& token = Next();
    if (breakable_ == 0) {
      Fail(Error::Kind::kSyntax, "'" + token.text + "' outside loop", token.line);
    }
    return New(token.text == "break" ? NodeKind::kBreak : NodeKind::kContinue, token.line);
  }

  // Whether the body of a macro reads `varargs`, `kwargs`, `caller` before it sets them.
  void FindSpecialNames(Node* macro) {
    bool* const wants[] = {&macro->wants_varargs, &macro->wants_kwargs, &macro->wants_caller};
    constexpr std::string_view kNames[] = {"varargs", "kwargs", "caller"};
    for (size_t i = 0; i < 3; ++i) {
      const bool is_parameter =
          std::any_of(macro->parameters.begin(), macro->parameters.end(),
                      [&](const Parameter& p) { return p.name == kNames[i]; });
      bool declared = false;
      const bool read = std::any_of(macro->body.begin(), macro->body.end(), [&](const NodePtr& n) {
        return Reads(*n, kNames[i], &declared);
      });
      if (i == 2 && read && is_parameter) CheckExplicitCaller(*macro);
      *wants[i] = read && !is_parameter;
    }
  }

  void CheckExplicitCaller(const Node& macro) {
    for (size_t i = 0; i < macro.parameters.size(); ++i) {
      if (macro.parameters[i].name == "caller" && macro.kids[i] == nullptr) {
        Fail(Error::Kind::kSyntax,
             "the special \"caller\" argument of a macro must be omitted or have a default",
             macro.line);
      }
    }
  }

  static bool Reads(const Node& node, std::string_view name, bool* declared) {
    if (node.kind == NodeKind::kBlock) return false;
    const bool assigns = node.kind == NodeKind::kSet || node.kind == NodeKind::kSetBlock ||
                         node.kind == NodeKind::kFor || node.kind == NodeKind::kWith;
    if (node.kind == NodeKind::kName && node.text == name) return !*declared;
    bool found = false;
    size_t index = 0;
    ForEachChild(node, [&](const Node& kid) {
      const bool target = assigns && (index == 0 || (node.kind == NodeKind::kWith &&
                                                     index % 2 == 0 && index < node.kids.size()));
      ++index;
      if (found) return;
      if (target) {
        *declared = *declared || Assigns(kid, name);
      } else {
        found = Reads(kid, name, declared);
      }
    });
    return found;
  }

  static bool Assigns(const Node& target, std::string_view name) {
    if (target.kind == NodeKind::kName) return target.text == name;
    return std::any_of(target.kids.begin(), target.kids.end(),
                       [&](const NodePtr& kid) { return Assigns(*kid, name); });
  }

  int loops_ = 0;      // for statements around
  int breakable_ = 0;  // of these, the ones that break and continue reach
  std::vector<std::string> blocks_;
};

// An unknown filter or test is an error of the template, unless it stands in a branch: then it is
// one only when the branch runs.
void CheckFilters(const Node& node, bool in_branch) {
  if (!in_branch && node.kind == NodeKind::kFilter && FindFilter(node.text) == nullptr) {
    Fail(Error::Kind::kSyntax, "No filter named '" + node.text + "'", node.line);
  }
  if (!in_branch && node.kind == NodeKind::kTest && FindTest(node.text) == nullptr) {
    Fail(Error::Kind::kSyntax, "No test named '" + node.text + "'", node.line);
  }
  switch (node.kind) {
    case NodeKind::kIf:
    case NodeKind::kCondition:
      in_branch = true;
      break;
    case NodeKind::kFor:
    case NodeKind::kMacro:
    case NodeKind::kCallBlock:
    case NodeKind::kFilterBlock:
    case NodeKind::kSetBlock:
    case NodeKind::kWith:
    case NodeKind::kScope:
    case NodeKind::kAutoescape:
    case NodeKind::kBlock:
      in_branch = false;  // a new frame of Jinja's compiler
      break;
    default:
      break;
  }
  ForEachChild(node, [&](const Node& kid) { CheckFilters(kid, in_branch); });
}

}  // namespace

Tree Parse(std::string_view source) {
  Tree tree = Parser(source).Run();
  CheckFilters(*tree.root, false);
  BindScopes(tree.root.get());
  return tree;
}

}  // namespace inhouse::engine::jinja
