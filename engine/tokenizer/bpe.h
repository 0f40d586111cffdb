// Byte-pair merges: of all neighbours that a rule joins, those of the lowest rank first, the
// leftmost of equals; again until no rule applies.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "engine/tokenizer/hash.h"

namespace inhouse::engine {

// (left id, right id) -> (rank, joined id), in a flat table.
class MergeTable {
 public:
  struct Merge {
    uint32_t rank;
    int32_t id;
  };
  static constexpr uint32_t kNoRank = std::numeric_limits<uint32_t>::max();

  explicit MergeTable(size_t count);

  // A pair that is there already gets the new rank, as in Hugging Face `tokenizers`.
  void Set(int32_t left, int32_t right, Merge merge);

  // Rank kNoRank if no rule joins the two.
  Merge Find(int32_t left, int32_t right) const {
    const uint64_t key = Key(left, right);
    for (size_t slot = HashPair(key) & mask_;; slot = (slot + 1) & mask_) {
      const Slot& candidate = slots_[slot];
      if (candidate.key == key || candidate.key == kFree) return candidate.merge;
    }
  }

 private:
  static constexpr uint64_t kFree = std::numeric_limits<uint64_t>::max();  // ids are not negative
  struct Slot {
    uint64_t key = kFree;
    Merge merge = {kNoRank, -1};
  };
  static uint64_t Key(int32_t left, int32_t right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }

  std::vector<Slot> slots_;
  size_t mask_;
};

// Immutable; any thread may call Append (its scratch is the thread's own).
class Bpe {
 public:
  struct ByteTokens {
    std::array<int32_t, 256> id;  // -1: unk_id, or nothing if there is none
    int32_t unk_id = -1;
    bool fuse_unk = false;
  };
  Bpe(MergeTable merges, const ByteTokens& bytes) : merges_(std::move(merges)), bytes_(bytes) {}

  // Appends the ids of one piece.
  void Append(std::string_view piece, std::vector<int32_t>* ids) const;

 private:
  void AppendInitial(std::string_view piece, std::vector<int32_t>* ids) const;
  // Both merge ids[first...] in place. A scan for the lowest rank wins for pieces of some ten
  // bytes; a heap is n log n for those of a million.
  void MergeByScan(size_t first, std::vector<int32_t>* ids) const;
  void MergeByHeap(size_t first, std::vector<int32_t>* ids) const;

  MergeTable merges_;
  ByteTokens bytes_;
};

}  // namespace inhouse::engine
