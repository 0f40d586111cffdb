// The prefix tree: pages that were computed stay known by the tokens before them, until their
// memory is needed.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/cache/page_pool.h"
#include "engine/cache/prefix_key.h"

namespace inhouse::engine {

// One full page of a known prefix.
struct PrefixNode {
  PrefixKey key = {};
  PrefixKey parent = {};  // a node's key, or a root
  std::vector<int32_t> tokens = {};
  PageId page = 0;
  int64_t children = 0;
  bool listed = false;  // in the list of nodes that only the tree holds
  std::list<PrefixNode*>::iterator place = {};
};

// Hands out the pages of a pool, and keeps those that were published. The tree is one holder of its
// pages, sequences are others; a page that only the tree holds is evicted, least recently used
// first, when a page is wanted and none is free.
//
// Whoever holds a page of the tree holds all pages before it, and releases the last first. So the
// list of unheld nodes has children before their parents, and its head is always a leaf.
//
// Used by the engine thread only. Nothing fails but Allocate, when everything is held.
class PrefixCache {
 public:
  explicit PrefixCache(PagePool* pool);

  PagePool& pool() { return *pool_; }
  std::optional<PageId> Allocate();
  void Release(PageId page);
  // How many pages Allocate can hand out now.
  int64_t available() const { return pool_->free() + unheld(); }
  // Pages that only the tree holds.
  int64_t unheld() const { return static_cast<int64_t>(unheld_.size()); }
  int64_t nodes() const { return static_cast<int64_t>(nodes_.size()); }

  bool Contains(const PrefixKey& key) const { return nodes_.contains(key); }
  // Null if it is not known. Valid until pages are allocated or published.
  const PrefixNode* Find(const PrefixKey& key) const;
  // The page that holds `tokens` after `parent`, if it is known; the caller becomes a holder.
  // `key` is PageKey(parent, tokens).
  std::optional<PageId> Acquire(const PrefixKey& key, const PrefixKey& parent,
                                std::span<const int32_t> tokens);
  // Makes a whole page known that the caller holds. Returns the page to go on with: where the same
  // prefix was known already, its page takes the place of the caller's, which is given back (their
  // bytes are the same: docs/decisions/0003).
  PageId Publish(const PrefixKey& key, const PrefixKey& parent, std::span<const int32_t> tokens,
                 PageId page);
  // Forgets all pages that nobody holds.
  void Clear();

  // Told of each node just before its page is given to somebody else.
  std::function<void(const PrefixNode&)> on_evict = {};

 private:
  void Evict();  // the least recently used
  void Unlist(PrefixNode* node);

  PagePool* pool_;
  std::unordered_map<PrefixKey, std::unique_ptr<PrefixNode>, PrefixKeyHash> nodes_;
  std::vector<PrefixNode*> by_page_;  // null: the page is not in the tree
  std::list<PrefixNode*> unheld_;     // the least recently used first
};

}  // namespace inhouse::engine
