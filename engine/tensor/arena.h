// Memory for weights, KV pages and scratch: anonymous, 2 MiB aligned, in huge pages where the
// kernel grants them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace inhouse::engine {

// One zero-filled mapping. The pages are placed when they are first written, on the NUMA node of
// the writing thread: let the thread that will read a part write it. Movable; whoever holds it owns
// the memory. Accesses are not synchronised.
class Arena {
 public:
  Arena() = default;
  // Aborts if the address space is exhausted (the byte plan is checked before anything is
  // allocated).
  explicit Arena(size_t bytes);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Rounds up to a multiple of a power of two.
constexpr size_t AlignUp(size_t value, size_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace inhouse::engine
