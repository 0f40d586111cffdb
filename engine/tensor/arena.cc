#include "engine/tensor/arena.h"

#include <sys/mman.h>

#include <utility>

#include "base/check.h"

namespace inhouse::engine {
namespace {
constexpr size_t kHugePage = 2U << 20;
}

Arena::Arena(size_t bytes) {
  if (bytes == 0) return;
  size_ = AlignUp(bytes, kHugePage);
  // Over-allocates by one huge page and gives the unaligned ends back.
  void* raw = mmap(nullptr, size_ + kHugePage, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  INHOUSE_CHECK(raw != MAP_FAILED, "no address space for an arena");
  const auto begin = reinterpret_cast<uintptr_t>(raw);
  const uintptr_t aligned = AlignUp(begin, kHugePage);
  if (aligned > begin) munmap(raw, aligned - begin);
  const uintptr_t end = begin + size_ + kHugePage;
  if (end > aligned + size_)
    munmap(reinterpret_cast<void*>(aligned + size_), end - aligned - size_);
  data_ = reinterpret_cast<std::byte*>(aligned);
  madvise(data_, size_, MADV_HUGEPAGE);  // a hint: small pages are right, only slower
}

Arena::~Arena() {
  if (data_ != nullptr) munmap(data_, size_);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

}  // namespace inhouse::engine
