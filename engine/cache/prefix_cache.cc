#include "engine/cache/prefix_cache.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace inhouse::engine {

PrefixCache::PrefixCache(PagePool* pool)
    : pool_(pool), by_page_(static_cast<size_t>(pool->total()), nullptr) {}

std::optional<PageId> PrefixCache::Allocate() {
  if (pool_->free() == 0 && !unheld_.empty()) Evict();
  return pool_->Allocate();
}

void PrefixCache::Release(PageId page) {
  pool_->Release(page);
  PrefixNode* node = by_page_[static_cast<size_t>(page)];
  if (node == nullptr || pool_->holders(page) > 1) return;
  node->place = unheld_.insert(unheld_.end(), node);
  node->listed = true;
}

const PrefixNode* PrefixCache::Find(const PrefixKey& key) const {
  const auto found = nodes_.find(key);
  return found == nodes_.end() ? nullptr : found->second.get();
}

std::optional<PageId> PrefixCache::Acquire(const PrefixKey& key, const PrefixKey& parent,
                                           std::span<const int32_t> tokens) {
  const auto found = nodes_.find(key);
  if (found == nodes_.end()) return std::nullopt;
  PrefixNode* node = found->second.get();
  // The key says so already; but a page of somebody else's tokens must be out of the question.
  if (node->parent != parent || !std::ranges::equal(node->tokens, tokens)) return std::nullopt;
  Unlist(node);
  pool_->Retain(node->page);
  return node->page;
}

PageId PrefixCache::Publish(const PrefixKey& key, const PrefixKey& parent,
                            std::span<const int32_t> tokens, PageId page) {
  if (const std::optional<PageId> known = Acquire(key, parent, tokens)) {
    Release(page);
    return *known;
  }
  auto node = std::make_unique<PrefixNode>();
  node->key = key;
  node->parent = parent;
  node->tokens.assign(tokens.begin(), tokens.end());
  node->page = page;
  pool_->Retain(page);
  by_page_[static_cast<size_t>(page)] = node.get();
  if (const auto above = nodes_.find(parent); above != nodes_.end()) ++above->second->children;
  const bool added = nodes_.emplace(key, std::move(node)).second;
  INHOUSE_CHECK(added, "two prefixes with one SHA-256");
  return page;
}

void PrefixCache::Clear() {
  while (!unheld_.empty()) Evict();
}

void PrefixCache::Evict() {
  PrefixNode* node = unheld_.front();
  INHOUSE_CHECK(node->children == 0, "children are released before their parents");
  if (on_evict) on_evict(*node);
  Unlist(node);
  by_page_[static_cast<size_t>(node->page)] = nullptr;
  if (const auto above = nodes_.find(node->parent); above != nodes_.end()) {
    --above->second->children;
  }
  pool_->Release(node->page);
  const PrefixKey key = node->key;
  nodes_.erase(key);
}

void PrefixCache::Unlist(PrefixNode* node) {
  if (!node->listed) return;
  unheld_.erase(node->place);
  node->listed = false;
}

}  // namespace inhouse::engine
