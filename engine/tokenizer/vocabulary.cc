#include "engine/tokenizer/vocabulary.h"

#include <algorithm>
#include <bit>

namespace inhouse::engine {

void Vocabulary::Set(int32_t id, std::string_view bytes, bool findable) {
  spans_[static_cast<size_t>(id)] = {static_cast<uint32_t>(arena_.size()),
                                     static_cast<uint32_t>(bytes.size()), findable};
  arena_.append(bytes);
}

void Vocabulary::BuildIndex() {
  arena_.shrink_to_fit();
  const auto findable = static_cast<size_t>(
      std::count_if(spans_.begin(), spans_.end(), [](const Span& span) { return span.findable; }));
  slots_.assign(std::bit_ceil(2 * findable + 1), Slot{});
  mask_ = slots_.size() - 1;
  for (size_t id = 0; id < spans_.size(); ++id) {
    if (!spans_[id].findable) continue;
    const std::string_view bytes = Bytes(static_cast<int32_t>(id));
    bytes_max_ = std::max(bytes_max_, bytes.size());
    const uint64_t hash = HashBytes(bytes);
    size_t slot = hash & mask_;
    while (slots_[slot].id >= 0 && Bytes(slots_[slot].id) != bytes) slot = (slot + 1) & mask_;
    slots_[slot] = {static_cast<uint32_t>(hash >> 32), static_cast<int32_t>(id)};
  }
}

}  // namespace inhouse::engine
