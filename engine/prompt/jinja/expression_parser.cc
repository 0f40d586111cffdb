#include <algorithm>

#include "engine/prompt/jinja/parser_base.h"

namespace inhouse::engine::jinja {
namespace {

std::string Describe(const LexedToken& token) {
  switch (token.type) {
    case Token::kData:
      return "template data / text";
    case Token::kVariableBegin:
      return "begin of print statement";
    case Token::kVariableEnd:
      return "end of print statement";
    case Token::kBlockBegin:
      return "begin of statement block";
    case Token::kBlockEnd:
      return "end of statement block";
    case Token::kString:
      return "string";
    case Token::kInteger:
      return "integer";
    case Token::kFloat:
      return "float";
    case Token::kName:
    case Token::kOperator:
      return token.text;
    case Token::kEnd:
      return "end of template";
  }
  return "";
}

constexpr std::pair<std::string_view, Comparison> kComparisons[] = {
    {"==", Comparison::kEq}, {"!=", Comparison::kNe}, {"<", Comparison::kLt},
    {"<=", Comparison::kLe}, {">", Comparison::kGt},  {">=", Comparison::kGe}};

}  // namespace

void ExpressionParser::FailHere(std::string message) {
  Fail(Error::Kind::kSyntax, std::move(message), Current().line);
}
void ExpressionParser::FailExpected(std::string_view what) {
  FailHere("expected token '" + std::string(what) + "', got '" + Describe(Current()) + "'");
}
void ExpressionParser::FailTooDeep() {
  Fail(Error::Kind::kLimit,
       "the template is nested more than " + std::to_string(kMaxTreeDepth) + " levels deep",
       Current().line);
}

bool ExpressionParser::SkipOperator(std::string_view op) {
  if (!AtOperator(op)) return false;
  Next();
  return true;
}
bool ExpressionParser::SkipName(std::string_view name) {
  if (!AtName(name)) return false;
  Next();
  return true;
}
void ExpressionParser::ExpectOperator(std::string_view op) {
  if (!SkipOperator(op)) FailExpected(op);
}
const LexedToken& ExpressionParser::ExpectName() {
  if (Current().type != Token::kName) FailExpected("name");
  return Next();
}
void ExpressionParser::ExpectName(std::string_view name) {
  if (!SkipName(name)) FailExpected(name);
}

NodePtr ExpressionParser::New(NodeKind kind, int line) {
  auto node = std::make_unique<Node>();
  node->kind = kind;
  node->line = line;
  return node;
}

int ExpressionParser::Intern(const std::string& name) {
  const auto [it, inserted] = ids_.emplace(name, static_cast<int>(names_.size()));
  if (inserted) names_.push_back(name);
  return it->second;
}

NodePtr ExpressionParser::NewName(const std::string& name, int line) {
  NodePtr node = New(NodeKind::kName, line);
  node->text = name;
  node->id = Intern(name);
  return node;
}

NodePtr ExpressionParser::Finish(NodePtr node) {
  int depth = 0;
  ForEachChild(*node, [&](const Node& kid) { depth = std::max(depth, kid.depth); });
  node->depth = depth + 1;
  if (node->depth > kMaxTreeDepth) FailTooDeep();
  return node;
}

NodePtr ExpressionParser::ParseExpression(bool conditional) {
  const Deeper deeper(this);
  return conditional ? ParseCondition() : ParseOr();
}

NodePtr ExpressionParser::ParseCondition() {
  NodePtr then = ParseOr();
  while (AtName("if")) {
    NodePtr node = New(NodeKind::kCondition, Next().line);
    node->kids.push_back(ParseOr());
    node->kids.push_back(std::move(then));
    node->kids.push_back(nullptr);
    if (SkipName("else")) {
      const Deeper deeper(this);
      node->kids[2] = ParseCondition();
    }
    then = Finish(std::move(node));
  }
  return then;
}

NodePtr ExpressionParser::ParseOr() {
  NodePtr left = ParseAnd();
  while (AtName("or")) {
    NodePtr node = New(NodeKind::kOr, Next().line);
    node->kids.push_back(std::move(left));
    node->kids.push_back(ParseAnd());
    left = Finish(std::move(node));
  }
  return left;
}

NodePtr ExpressionParser::ParseAnd() {
  NodePtr left = ParseNot();
  while (AtName("and")) {
    NodePtr node = New(NodeKind::kAnd, Next().line);
    node->kids.push_back(std::move(left));
    node->kids.push_back(ParseNot());
    left = Finish(std::move(node));
  }
  return left;
}

NodePtr ExpressionParser::ParseNot() {
  if (!AtName("not")) return ParseCompare();
  const Deeper deeper(this);
  NodePtr node = New(NodeKind::kNot, Next().line);
  node->kids.push_back(ParseNot());
  return Finish(std::move(node));
}

NodePtr ExpressionParser::ParseCompare() {
  NodePtr node = New(NodeKind::kCompare, Current().line);
  node->kids.push_back(ParseSum());
  while (true) {
    const auto* op = std::find_if(std::begin(kComparisons), std::end(kComparisons),
                                  [&](const auto& c) { return AtOperator(c.first); });
    if (op != std::end(kComparisons)) {
      Next();
      node->comparisons.push_back(op->second);
    } else if (AtName("in")) {
      Next();
      node->comparisons.push_back(Comparison::kIn);
    } else if (AtName("not") && Look().type == Token::kName && Look().text == "in") {
      Next();
      Next();
      node->comparisons.push_back(Comparison::kNotIn);
    } else {
      break;
    }
    node->kids.push_back(ParseSum());
  }
  if (node->comparisons.empty()) return std::move(node->kids[0]);
  return Finish(std::move(node));
}

NodePtr ExpressionParser::ParseSum() {
  NodePtr left = ParseConcat();
  while (AtOperator("+") || AtOperator("-")) {
    NodePtr node = New(NodeKind::kBinary, Current().line);
    node->arithmetic = Next().text == "+" ? Arithmetic::kAdd : Arithmetic::kSub;
    node->kids.push_back(std::move(left));
    node->kids.push_back(ParseConcat());
    left = Finish(std::move(node));
  }
  return left;
}

NodePtr ExpressionParser::ParseConcat() {
  NodePtr node = New(NodeKind::kConcat, Current().line);
  node->kids.push_back(ParseProduct());
  while (SkipOperator("~")) node->kids.push_back(ParseProduct());
  if (node->kids.size() == 1) return std::move(node->kids[0]);
  return Finish(std::move(node));
}

NodePtr ExpressionParser::ParseProduct() {
  NodePtr left = ParsePower();
  while (AtOperator("*") || AtOperator("/") || AtOperator("//") || AtOperator("%")) {
    NodePtr node = New(NodeKind::kBinary, Current().line);
    const std::string& op = Next().text;
    node->arithmetic = op == "*"    ? Arithmetic::kMul
                       : op == "/"  ? Arithmetic::kDiv
                       : op == "//" ? Arithmetic::kFloorDiv
                                    : Arithmetic::kMod;
    node->kids.push_back(std::move(left));
    node->kids.push_back(ParsePower());
    left = Finish(std::move(node));
  }
  return left;
}

NodePtr ExpressionParser::ParsePower() {
  NodePtr left = ParseUnary(true);
  while (AtOperator("**")) {
    NodePtr node = New(NodeKind::kBinary, Next().line);
    node->arithmetic = Arithmetic::kPow;
    node->kids.push_back(std::move(left));
    node->kids.push_back(ParseUnary(true));
    left = Finish(std::move(node));
  }
  return left;
}

NodePtr ExpressionParser::ParseUnary(bool with_filter) {
  const Deeper deeper(this);
  NodePtr node;
  if (AtOperator("-") || AtOperator("+")) {
    node = New(AtOperator("-") ? NodeKind::kNegate : NodeKind::kPositive, Current().line);
    Next();
    node->kids.push_back(ParseUnary(false));
    node = Finish(std::move(node));
  } else {
    node = ParsePrimary(false);
  }
  node = ParsePostfix(std::move(node));
  return with_filter ? ParseFilterExpression(std::move(node)) : std::move(node);
}

NodePtr ExpressionParser::ParseNamePrimary(bool namespaces) {
  const LexedToken& token = Next();
  if (token.text == "true" || token.text == "True" || token.text == "false" ||
      token.text == "False") {
    NodePtr node = New(NodeKind::kConst, token.line);
    node->value = Value::Bool(token.text[0] == 't' || token.text[0] == 'T');
    return node;
  }
  if (token.text == "none" || token.text == "None") {
    NodePtr node = New(NodeKind::kConst, token.line);
    node->value = Value::None();
    return node;
  }
  NodePtr node = NewName(token.text, token.line);
  if (namespaces && SkipOperator(".")) {
    node->kind = NodeKind::kNamespaceRef;
    node->attribute = ExpectName().text;
  }
  return node;
}

NodePtr ExpressionParser::ParsePrimary(bool namespaces) {
  const LexedToken& token = Current();
  if (token.type == Token::kName) return ParseNamePrimary(namespaces);
  if (token.type == Token::kString) {
    NodePtr node = New(NodeKind::kConst, token.line);
    std::string text;
    while (Current().type == Token::kString) text += Next().text;
    node->value = Value::String(std::move(text));
    return node;
  }
  if (token.type == Token::kInteger || token.type == Token::kFloat) {
    NodePtr node = New(NodeKind::kConst, token.line);
    node->value = Next().number;
    return node;
  }
  if (AtOperator("(")) {
    const Deeper deeper(this);
    Next();
    NodePtr node = ParseTuple({.parentheses = true});
    ExpectOperator(")");
    return node;
  }
  if (AtOperator("[")) return ParseList();
  if (AtOperator("{")) return ParseDict();
  FailHere("unexpected '" + Describe(token) + "'");
}

bool ExpressionParser::AtTupleEnd(std::string_view end) const {
  return Current().type == Token::kVariableEnd || Current().type == Token::kBlockEnd ||
         AtOperator(")") || (!end.empty() && AtName(end));
}

NodePtr ExpressionParser::ParseTuple(const TupleRules& rules) {
  NodePtr tuple = New(NodeKind::kTuple, Current().line);
  bool is_tuple = false;
  while (true) {
    if (!tuple->kids.empty()) ExpectOperator(",");
    if (AtTupleEnd(rules.end)) break;
    tuple->kids.push_back(rules.simplified ? ParsePrimary(rules.namespaces)
                                           : ParseExpression(rules.conditional));
    if (!AtOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple) {
    if (!tuple->kids.empty()) return std::move(tuple->kids[0]);
    if (!rules.parentheses) FailHere("expected an expression, got '" + Describe(Current()) + "'");
  }
  return Finish(std::move(tuple));
}

NodePtr ExpressionParser::ParseList() {
  NodePtr node = New(NodeKind::kList, Next().line);
  while (!AtOperator("]")) {
    if (!node->kids.empty()) ExpectOperator(",");
    if (AtOperator("]")) break;
    node->kids.push_back(ParseExpression());
  }
  ExpectOperator("]");
  return Finish(std::move(node));
}

NodePtr ExpressionParser::ParseDict() {
  NodePtr node = New(NodeKind::kDict, Next().line);
  while (!AtOperator("}")) {
    if (!node->kids.empty()) ExpectOperator(",");
    if (AtOperator("}")) break;
    node->kids.push_back(ParseExpression());
    ExpectOperator(":");
    node->kids.push_back(ParseExpression());
  }
  ExpectOperator("}");
  return Finish(std::move(node));
}

NodePtr ExpressionParser::ParsePostfix(NodePtr node) {
  while (true) {
    if (AtOperator(".") || AtOperator("[")) {
      node = ParseSubscript(std::move(node));
    } else if (AtOperator("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

NodePtr ExpressionParser::ParseFilterExpression(NodePtr node) {
  while (true) {
    if (AtOperator("|")) {
      node = ParseFilters(std::move(node), false);
    } else if (AtName("is")) {
      node = ParseTest(std::move(node));
    } else if (AtOperator("(")) {
      node = ParseCall(std::move(node));
    } else {
      return node;
    }
  }
}

NodePtr ExpressionParser::ParseSubscript(NodePtr object) {
  const int line = Current().line;
  if (SkipOperator(".")) {
    if (Current().type == Token::kName) {
      NodePtr node = New(NodeKind::kGetattr, line);
      node->text = Next().text;
      node->kids.push_back(std::move(object));
      return Finish(std::move(node));
    }
    if (Current().type != Token::kInteger) FailHere("expected name or number");
    NodePtr node = New(NodeKind::kGetitem, line);
    node->kids.push_back(std::move(object));
    NodePtr index = New(NodeKind::kConst, line);
    index->value = Next().number;
    node->kids.push_back(std::move(index));
    return Finish(std::move(node));
  }
  ExpectOperator("[");
  NodePtr node = New(NodeKind::kGetitem, line);
  NodePtr tuple = New(NodeKind::kTuple, line);
  while (!AtOperator("]")) {
    if (!tuple->kids.empty()) ExpectOperator(",");
    tuple->kids.push_back(ParseSubscripted());
  }
  ExpectOperator("]");
  node->kids.push_back(std::move(object));
  if (tuple->kids.size() == 1) {
    node->kids.push_back(std::move(tuple->kids[0]));
  } else {
    for (const NodePtr& kid : tuple->kids) {
      if (kid->kind == NodeKind::kSlice) FailHere("slices of several dimensions are not supported");
    }
    node->kids.push_back(Finish(std::move(tuple)));
  }
  return Finish(std::move(node));
}

NodePtr ExpressionParser::ParseSubscripted() {
  NodePtr node = New(NodeKind::kSlice, Current().line);
  if (!AtOperator(":")) {
    NodePtr first = ParseExpression();
    if (!AtOperator(":")) return first;
    node->kids.push_back(std::move(first));
  } else {
    node->kids.push_back(nullptr);
  }
  Next();
  const auto part = [&] {
    const bool absent = AtOperator(":") || AtOperator("]") || AtOperator(",");
    node->kids.push_back(absent ? nullptr : ParseExpression());
  };
  part();
  if (SkipOperator(":")) {
    part();
  } else {
    node->kids.push_back(nullptr);
  }
  return Finish(std::move(node));
}

NodePtr ExpressionParser::ParseCall(NodePtr callee) {
  NodePtr node = New(NodeKind::kCall, Current().line);
  node->kids.push_back(std::move(callee));
  ParseArguments(node.get());
  return Finish(std::move(node));
}

void ExpressionParser::ParseArguments(Node* node) {
  const int line = Current().line;
  const auto ensure = [&](bool holds) {
    if (!holds) Fail(Error::Kind::kSyntax, "invalid syntax for function call expression", line);
  };
  ExpectOperator("(");
  bool comma = false;
  while (!AtOperator(")")) {
    if (comma) {
      ExpectOperator(",");
      if (AtOperator(")")) break;
    }
    comma = true;
    const bool no_stars = node->star_args == nullptr && node->star_kwargs == nullptr;
    if (SkipOperator("*")) {
      ensure(no_stars);
      node->star_args = ParseExpression();
    } else if (SkipOperator("**")) {
      ensure(node->star_kwargs == nullptr);
      node->star_kwargs = ParseExpression();
    } else if (Current().type == Token::kName && Look().type == Token::kOperator &&
               Look().text == "=") {
      ensure(node->star_kwargs == nullptr);
      std::string name = Next().text;
      Next();
      for (const auto& [other, value] : node->keywords) {
        if (other == name) FailHere("keyword argument repeated: " + name);
      }
      node->keywords.emplace_back(std::move(name), ParseExpression());
    } else {
      ensure(no_stars && node->keywords.empty());
      node->kids.push_back(ParseExpression());
    }
  }
  ExpectOperator(")");
}

std::string ExpressionParser::ParseDottedName() {
  std::string name = ExpectName().text;
  while (SkipOperator(".")) name += "." + ExpectName().text;
  return name;
}

NodePtr ExpressionParser::ParseFilters(NodePtr node, bool start_inline) {
  while (start_inline || AtOperator("|")) {
    if (!start_inline) Next();
    start_inline = false;
    NodePtr filter = New(NodeKind::kFilter, Current().line);
    filter->text = ParseDottedName();
    filter->kids.push_back(std::move(node));
    if (AtOperator("(")) ParseArguments(filter.get());
    node = Finish(std::move(filter));
  }
  return node;
}

NodePtr ExpressionParser::ParseTest(NodePtr value) {
  NodePtr node = New(NodeKind::kTest, Next().line);
  const bool negated = SkipName("not");
  node->text = ParseDottedName();
  node->kids.push_back(std::move(value));
  const bool starts_value = Current().type == Token::kName || Current().type == Token::kString ||
                            Current().type == Token::kInteger || Current().type == Token::kFloat ||
                            AtOperator("[") || AtOperator("{");
  if (AtOperator("(")) {
    ParseArguments(node.get());
  } else if (starts_value && !AtName("else") && !AtName("or") && !AtName("and")) {
    if (AtName("is")) FailHere("You cannot chain multiple tests with is");
    node->kids.push_back(ParsePostfix(ParsePrimary(false)));
  }
  node = Finish(std::move(node));
  if (!negated) return node;
  NodePtr result = New(NodeKind::kNot, node->line);
  result->kids.push_back(std::move(node));
  return Finish(std::move(result));
}

}  // namespace inhouse::engine::jinja
