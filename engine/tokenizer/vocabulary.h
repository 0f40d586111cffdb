// The bytes of every token, and the way back from bytes to the token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tokenizer/hash.h"

namespace inhouse::engine {

// Filled once, then read from any thread.
class Vocabulary {
 public:
  // Room for the ids [0, size).
  explicit Vocabulary(size_t size) : spans_(size) {}

  size_t size() const { return spans_.size(); }

  // Gives `id` its bytes; an id is set at most once. With `findable`, Find knows it; of two tokens
  // with the same bytes the later one is found.
  void Set(int32_t id, std::string_view bytes, bool findable);
  // After the last Set.
  void BuildIndex();

  // Empty for an id without a token.
  std::string_view Bytes(int32_t id) const {
    if (id < 0 || static_cast<size_t>(id) >= spans_.size()) return {};
    const Span span = spans_[static_cast<size_t>(id)];
    return std::string_view(arena_).substr(span.offset, span.size);
  }

  // -1 if no token has exactly these bytes.
  int32_t Find(std::string_view bytes) const {
    if (bytes.size() > bytes_max_) return -1;
    const uint64_t hash = HashBytes(bytes);
    for (size_t slot = hash & mask_;; slot = (slot + 1) & mask_) {
      const Slot& candidate = slots_[slot];
      if (candidate.id < 0) return -1;
      if (candidate.tag == static_cast<uint32_t>(hash >> 32) && Bytes(candidate.id) == bytes) {
        return candidate.id;
      }
    }
  }

 private:
  struct Span {
    uint32_t offset = 0;
    uint32_t size = 0;
    bool findable = false;
  };
  struct Slot {
    uint32_t tag = 0;  // the upper half of the hash
    int32_t id = -1;   // -1 = free
  };

  std::string arena_;
  std::vector<Span> spans_;
  std::vector<Slot> slots_ = std::vector<Slot>(1);
  size_t mask_ = 0;
  size_t bytes_max_ = 0;  // of a findable token
};

}  // namespace inhouse::engine
