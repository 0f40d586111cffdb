// The KV cache: pages of a fixed number of tokens, whose inner layout an architecture declares
// (engine/models).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/tensor/arena.h"

namespace inhouse::engine {

using PageId = int32_t;

// Owns the memory of all pages and knows which are free. A page has one holder or several (shared
// prefixes): it returns to the free list when the last one releases it. Used by the engine thread
// only.
class PagePool {
 public:
  // `page_bytes` of one page, all layers together, rounded up to 64. Memory is taken from the
  // system when it is first written.
  PagePool(int64_t page_bytes, int64_t pages);

  int64_t page_bytes() const { return page_bytes_; }
  int64_t total() const { return static_cast<int64_t>(holders_.size()); }
  int64_t used() const { return total() - static_cast<int64_t>(free_.size()); }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }

  std::optional<PageId> Allocate();  // none: all are in use
  void Retain(PageId page);          // one more holder
  void Release(PageId page);
  int32_t holders(PageId page) const { return holders_[static_cast<size_t>(page)]; }

  std::byte* data(PageId page) const { return arena_.data() + page_bytes_ * page; }

 private:
  int64_t page_bytes_;
  Arena arena_;
  std::vector<int32_t> holders_;  // by page; 0 = free
  std::vector<PageId>
      free_;  // a stack: pages used last are used first again, while they are in cache
};

}  // namespace inhouse::engine
