#include "engine/ops/weight_memory.h"

#include <atomic>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace inhouse::engine {

WeightMemory::WeightMemory(std::vector<Linear*> linears) : linears_(std::move(linears)) {
  for (const Linear* linear : linears_) {
    offsets_.push_back(bytes_);
    bytes_ += static_cast<int64_t>(AlignUp(static_cast<size_t>(linear->packed_bytes()), 64));
  }
}

int64_t WeightMemory::stored_bytes() const {
  int64_t bytes = 0;
  for (const Linear* linear : linears_) bytes += linear->stored_bytes();
  return bytes;
}

PackedHeader WeightMemory::Describe() const {
  PackedHeader header;
  header.data_bytes = bytes_;
  for (size_t i = 0; i < linears_.size(); ++i) linears_[i]->Describe(offsets_[i], &header.sections);
  return header;
}

void WeightMemory::Attach(const std::byte* memory) {
  for (size_t i = 0; i < linears_.size(); ++i) {
    linears_[i]->Attach(memory + offsets_[i]);
    linears_[i]->ReleaseParts();
  }
  loaded_ = true;
}

bool WeightMemory::Pack(base::ThreadTeam& team,
                        const std::function<bool(int64_t, int64_t)>& progress) {
  INHOUSE_CHECK(!loaded_, "weights are loaded once");
  arena_ = Arena(static_cast<size_t>(bytes_));
  std::atomic<bool> given_up = false;
  team.Run([&](const base::TeamMember& member) {
    for (size_t i = 0; i < linears_.size() && !given_up; ++i) {
      linears_[i]->Pack(member, arena_.data() + offsets_[i]);
      if (member.index() != 0 || !progress) continue;
      if (!progress(i + 1 < offsets_.size() ? offsets_[i + 1] : bytes_, bytes_)) given_up = true;
    }
  });
  if (given_up) return false;
  Attach(arena_.data());
  return true;
}

absl::Status WeightMemory::Map(base::ThreadTeam& team, std::unique_ptr<PackedFile> file) {
  INHOUSE_CHECK(!loaded_, "weights are loaded once");
  const std::byte* data = file->data().data();
  std::vector<absl::Status> found(linears_.size());
  team.Run([&](const base::TeamMember& member) {
    const auto [begin, end] = member.Share(static_cast<int64_t>(linears_.size()));
    for (int64_t i = begin; i < end; ++i) {
      const auto n = static_cast<size_t>(i);
      found[n] = linears_[n]->SpotCheck(data + offsets_[n]);
    }
  });
  for (const absl::Status& status : found) {
    if (!status.ok())
      return absl::Status(status.code(), file->path() + ": " + base::Message(status));
  }
  file_ = std::move(file);
  Attach(data);
  return absl::OkStatus();
}

absl::Status WeightMemory::ForEach(base::ThreadTeam& team,
                                   const std::function<absl::Status(const Piece&)>& take) const {
  size_t section = 0;
  for (size_t i = 0; i < linears_.size(); ++i) {
    const Linear& linear = *linears_[i];
    // Fresh memory is zero: padding has the same bytes in every file.
    const Arena memory(static_cast<size_t>(linear.packed_bytes()));
    team.Run([&](const base::TeamMember& member) { linear.Pack(member, memory.data()); });
    const size_t count = linear.parts().size();
    INHOUSE_RETURN_IF_ERROR(take({offsets_[i],
                                  {memory.data(), static_cast<size_t>(linear.packed_bytes())},
                                  section,
                                  count}));
    section += count;
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
