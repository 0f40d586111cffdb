// The two halves of the parser: expressions, and statements on top of them.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/prompt/jinja/ast.h"
#include "engine/prompt/jinja/lexer.h"

namespace inhouse::engine::jinja {

// Height of the tree, and depth of the parser's recursion. Bounds the recursion of everything that
// walks a tree.
inline constexpr int kMaxTreeDepth = 250;

class ExpressionParser {
 protected:
  explicit ExpressionParser(std::string_view source) : tokens_(Tokenize(source)) {}

  // How a list of expressions with commas is read.
  struct TupleRules {
    bool simplified = false;    // names and literals only: assignment targets
    bool conditional = true;    // a ? if b else c
    bool parentheses = false;   // () is a tuple
    bool namespaces = false;    // ns.name is a target
    std::string_view end = {};  // a name that ends the list ("in", "recursive")
  };

  NodePtr ParseExpression(bool conditional = true);
  NodePtr ParseTuple(const TupleRules& rules);
  NodePtr ParsePrimary(bool namespaces);
  NodePtr ParsePostfix(NodePtr node);
  // `| name(args) | name ...`; `start_inline`: the first bar is left out.
  NodePtr ParseFilters(NodePtr node, bool start_inline);

  const LexedToken& Current() const { return tokens_[at_]; }
  const LexedToken& Look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  const LexedToken& Next() {
    const LexedToken& token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool AtOperator(std::string_view op) const {
    return Current().type == Token::kOperator && Current().text == op;
  }
  bool AtName(std::string_view name) const {
    return Current().type == Token::kName && Current().text == name;
  }
  bool SkipOperator(std::string_view op);
  bool SkipName(std::string_view name);
  void ExpectOperator(std::string_view op);
  const LexedToken& ExpectName();
  void ExpectName(std::string_view name);
  [[noreturn]] void FailExpected(std::string_view what);
  [[noreturn]] void FailHere(std::string message);

  NodePtr New(NodeKind kind, int line);
  NodePtr NewName(const std::string& name, int line);
  // To be called when a node has all its children: bounds the height of the tree.
  NodePtr Finish(NodePtr node);
  int Intern(const std::string& name);

  // Counts the depth of the recursion while it lives.
  class Deeper {
   public:
    explicit Deeper(ExpressionParser* parser) : parser_(parser) {
      if (++parser_->depth_ > kMaxTreeDepth) parser_->FailTooDeep();
    }
    ~Deeper() { --parser_->depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    ExpressionParser* parser_;
  };
  [[noreturn]] void FailTooDeep();

  std::vector<std::string> names_;

 private:
  NodePtr ParseCondition();
  NodePtr ParseOr();
  NodePtr ParseAnd();
  NodePtr ParseNot();
  NodePtr ParseCompare();
  NodePtr ParseSum();
  NodePtr ParseConcat();
  NodePtr ParseProduct();
  NodePtr ParsePower();
  NodePtr ParseUnary(bool with_filter);
  NodePtr ParseFilterExpression(NodePtr node);
  NodePtr ParseNamePrimary(bool namespaces);
  NodePtr ParseList();
  NodePtr ParseDict();
  NodePtr ParseSubscript(NodePtr node);
  NodePtr ParseSubscripted();
  NodePtr ParseCall(NodePtr node);
  NodePtr ParseTest(NodePtr node);
  void ParseArguments(Node* node);
  std::string ParseDottedName();
  bool AtTupleEnd(std::string_view end) const;

  std::vector<LexedToken> tokens_;
  size_t at_ = 0;
  int depth_ = 0;
  std::unordered_map<std::string, int> ids_;
};

}  // namespace inhouse::engine::jinja
