#include "engine/cache/page_pool.h"

#include "base/check.h"

namespace inhouse::engine {

PagePool::PagePool(int64_t page_bytes, int64_t pages)
    : page_bytes_(static_cast<int64_t>(AlignUp(static_cast<size_t>(page_bytes), 64))),
      arena_(static_cast<size_t>(page_bytes_ * pages)),
      holders_(static_cast<size_t>(pages), 0) {
  for (int64_t page = pages - 1; page >= 0; --page) free_.push_back(static_cast<PageId>(page));
}

std::optional<PageId> PagePool::Allocate() {
  if (free_.empty()) return std::nullopt;
  const PageId page = free_.back();
  free_.pop_back();
  holders_[static_cast<size_t>(page)] = 1;
  return page;
}

void PagePool::Retain(PageId page) {
  INHOUSE_CHECK(holders_[static_cast<size_t>(page)] > 0, "only a page in use can be shared");
  ++holders_[static_cast<size_t>(page)];
}

void PagePool::Release(PageId page) {
  INHOUSE_CHECK(holders_[static_cast<size_t>(page)] > 0, "a page is released once per holder");
  if (--holders_[static_cast<size_t>(page)] == 0) free_.push_back(page);
}

}  // namespace inhouse::engine
