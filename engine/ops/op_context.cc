#include "engine/ops/op_context.h"

namespace inhouse::engine {

void WorkQueue::Reset(const base::TeamMember& member, int64_t items) {
  const auto [begin, end] = member.Share(items);
  Share& share = shares_[static_cast<size_t>(member.index())];
  share.end = end;
  share.next.store(begin, std::memory_order_relaxed);
}

OpScratch::OpScratch(int members, size_t packed_bytes, size_t member_bytes)
    : packed_(packed_bytes),
      member_bytes_(AlignUp(member_bytes, 4096)),
      own_(member_bytes_ * static_cast<size_t>(members)),
      queue_(members) {}

}  // namespace inhouse::engine
