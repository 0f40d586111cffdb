#include "engine/prompt/jinja/scopes.h"

#include <map>
#include <set>

namespace inhouse::engine::jinja {
namespace {

enum class Origin { kOutside, kUnset, kParameter };

class Frame {
 public:
  explicit Frame(const Frame* parent) : parent_(parent) {}

  void Read(int id) {
    if (!Knows(id)) names_[id] = Origin::kOutside;
  }
  void Assign(int id) {
    assigned_.insert(id);
    if (!names_.contains(id)) names_[id] = KnownOutside(id) ? Origin::kOutside : Origin::kUnset;
  }
  void Declare(int id) {
    assigned_.insert(id);
    names_[id] = Origin::kParameter;
  }
  // Takes over what the branches of an `if` did: what only they assign may as well come from
  // outside.
  void Merge(const std::vector<Frame>& branches) {
    std::set<int> fresh;
    for (const Frame& branch : branches) {
      for (const int id : branch.assigned_) {
        if (!assigned_.contains(id)) fresh.insert(id);
      }
    }
    for (const Frame& branch : branches) {
      for (const auto& [id, origin] : branch.names_) names_[id] = origin;
      assigned_.insert(branch.assigned_.begin(), branch.assigned_.end());
    }
    for (const int id : fresh) names_[id] = Origin::kOutside;
  }
  std::vector<int> Unset() const {
    std::vector<int> out;
    for (const auto& [id, origin] : names_) {
      if (origin == Origin::kUnset) out.push_back(id);
    }
    return out;
  }

 private:
  bool KnownOutside(int id) const { return parent_ != nullptr && parent_->Knows(id); }
  bool Knows(int id) const { return names_.contains(id) || KnownOutside(id); }

  const Frame* parent_;
  std::map<int, Origin> names_;
  std::set<int> assigned_;
};

void Visit(const Node& node, Frame* frame);

void VisitAll(const std::vector<NodePtr>& nodes, Frame* frame) {
  for (const NodePtr& node : nodes) Visit(*node, frame);
}

void VisitTarget(const Node& target, Frame* frame) {
  if (target.kind == NodeKind::kName) return frame->Assign(target.id);
  if (target.kind == NodeKind::kNamespaceRef) return frame->Read(target.id);
  for (const NodePtr& kid : target.kids) VisitTarget(*kid, frame);
}

void DeclareTarget(const Node& target, Frame* frame) {
  if (target.kind == NodeKind::kName) return frame->Declare(target.id);
  for (const NodePtr& kid : target.kids) DeclareTarget(*kid, frame);
}

void VisitIf(const Node& node, Frame* frame) {
  Visit(*node.kids[0], frame);
  std::vector<Frame> branches(3, *frame);
  VisitAll(node.body[0]->body, &branches[0]);
  for (size_t i = 1; i < node.kids.size(); ++i) {  // the elifs, one after the other
    Visit(*node.kids[i], &branches[1]);
    std::vector<Frame> inner(1, branches[1]);
    VisitAll(node.body[i]->body, &inner[0]);
    branches[1].Merge(inner);
  }
  VisitAll(node.orelse, &branches[2]);
  frame->Merge(branches);
}

// What a statement does to the frame that it stands in; frames of its own are left out.
void Visit(const Node& node, Frame* frame) {
  switch (node.kind) {
    case NodeKind::kName:
    case NodeKind::kNamespaceRef:
      return frame->Read(node.id);
    case NodeKind::kFor:
      return Visit(*node.kids[1], frame);
    case NodeKind::kIf:
      return VisitIf(node, frame);
    case NodeKind::kMacro:
      return frame->Assign(node.id);
    case NodeKind::kCallBlock:
    case NodeKind::kFilterBlock:
      return Visit(*node.kids[0], frame);
    case NodeKind::kWith:
      for (size_t i = 1; i < node.kids.size(); i += 2) Visit(*node.kids[i], frame);
      return;
    case NodeKind::kSetBlock:
      return VisitTarget(*node.kids[0], frame);
    case NodeKind::kSet:
      Visit(*node.kids[1], frame);
      return VisitTarget(*node.kids[0], frame);
    case NodeKind::kBlock:
    case NodeKind::kScope:
    case NodeKind::kAutoescape:
      return;
    default:
      ForEachChild(node, [&](const Node& kid) { Visit(kid, frame); });
  }
}

void BindInside(const std::vector<NodePtr>& body, const Frame& frame);

// A frame of its own: `frame` has its parameters already.
std::vector<int> BindBody(const std::vector<NodePtr>& body, Frame* frame) {
  VisitAll(body, frame);
  BindInside(body, *frame);
  return frame->Unset();
}

void BindMacro(Node* macro, const Frame& outer) {
  Frame frame(&outer);
  for (const Parameter& parameter : macro->parameters) frame.Declare(parameter.id);
  for (const NodePtr& value : macro->kids) {
    if (value != nullptr) Visit(*value, &frame);
  }
  macro->hidden = BindBody(macro->body, &frame);
}

void BindNode(Node* node, const Frame& outer) {
  Frame frame(&outer);
  switch (node->kind) {
    case NodeKind::kIf:
      for (const NodePtr& branch : node->body) BindInside(branch->body, outer);
      return BindInside(node->orelse, outer);
    case NodeKind::kFor: {
      DeclareTarget(*node->kids[0], &frame);
      node->hidden = BindBody(node->body, &frame);
      Frame otherwise(&outer);
      node->hidden_else = BindBody(node->orelse, &otherwise);
      return;
    }
    case NodeKind::kMacro:
      return BindMacro(node, outer);
    case NodeKind::kCallBlock:
      return BindMacro(node->macro.get(), outer);
    case NodeKind::kWith:
      for (size_t i = 0; i < node->kids.size(); i += 2) DeclareTarget(*node->kids[i], &frame);
      node->hidden = BindBody(node->body, &frame);
      return;
    case NodeKind::kSetBlock:
    case NodeKind::kFilterBlock:
    case NodeKind::kScope:
    case NodeKind::kAutoescape:
      node->hidden = BindBody(node->body, &frame);
      return;
    case NodeKind::kBlock: {
      Frame alone(nullptr);
      node->hidden = BindBody(node->body, node->flag ? &frame : &alone);
      return;
    }
    default:
      return;
  }
}

void BindInside(const std::vector<NodePtr>& body, const Frame& frame) {
  for (const NodePtr& node : body) BindNode(node.get(), frame);
}

}  // namespace

void BindScopes(Node* root) {
  Frame frame(nullptr);
  root->hidden = BindBody(root->body, &frame);
}

}  // namespace inhouse::engine::jinja
