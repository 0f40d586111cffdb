#include "engine/tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <queue>

namespace inhouse::engine {
namespace {

constexpr size_t kScanSymbolsMax = 96;
// Scratch that a giant piece grew is given back.
constexpr size_t kKeptSymbols = 1 << 16;

struct Symbol {
  int32_t id;
  uint32_t version;  // of the pair with the next symbol; older heap entries are stale
  size_t previous;
  size_t next;
};

struct Candidate {
  uint32_t rank;
  uint32_t version;
  size_t position;
  int32_t joined;
};

struct Later {
  bool operator()(const Candidate& a, const Candidate& b) const {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  }
};

constexpr size_t kEnd = std::numeric_limits<size_t>::max();

}  // namespace

MergeTable::MergeTable(size_t count) : slots_(std::bit_ceil(2 * count + 1)) {
  mask_ = slots_.size() - 1;
}

void MergeTable::Set(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = Key(left, right);
  size_t slot = HashPair(key) & mask_;
  while (slots_[slot].key != kFree && slots_[slot].key != key) slot = (slot + 1) & mask_;
  slots_[slot] = {key, merge};
}

void Bpe::Append(std::string_view piece, std::vector<int32_t>* ids) const {
  const size_t first = ids->size();
  AppendInitial(piece, ids);
  if (ids->size() - first <= kScanSymbolsMax) {
    MergeByScan(first, ids);
  } else {
    MergeByHeap(first, ids);
  }
}

void Bpe::AppendInitial(std::string_view piece, std::vector<int32_t>* ids) const {
  bool after_unk = false;
  for (const char c : piece) {
    const int32_t id = bytes_.id[static_cast<uint8_t>(c)];
    if (id >= 0) {
      ids->push_back(id);
    } else if (bytes_.unk_id >= 0 && !(after_unk && bytes_.fuse_unk)) {
      ids->push_back(bytes_.unk_id);
    }
    after_unk = id < 0;
  }
}

void Bpe::MergeByScan(size_t first, std::vector<int32_t>* ids) const {
  int32_t* symbol = ids->data() + first;
  size_t n = ids->size() - first;
  if (n < 2) return;
  // rank[i], joined[i]: of the pair (i, i + 1).
  std::array<uint32_t, kScanSymbolsMax> rank;
  std::array<int32_t, kScanSymbolsMax> joined;
  const auto look_up = [&](size_t i) {
    const MergeTable::Merge merge = merges_.Find(symbol[i], symbol[i + 1]);
    rank[i] = merge.rank;
    joined[i] = merge.id;
  };
  for (size_t i = 0; i + 1 < n; ++i) look_up(i);
  while (n >= 2) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (rank[i] < rank[best]) best = i;
    }
    if (rank[best] == MergeTable::kNoRank) break;
    symbol[best] = joined[best];
    std::copy(symbol + best + 2, symbol + n, symbol + best + 1);
    if (best + 2 < n) {
      std::copy(&rank[best + 2], &rank[n - 1], &rank[best + 1]);
      std::copy(&joined[best + 2], &joined[n - 1], &joined[best + 1]);
    }
    --n;
    if (best > 0) look_up(best - 1);
    if (best + 1 < n) look_up(best);
  }
  ids->resize(first + n);
}

void Bpe::MergeByHeap(size_t first, std::vector<int32_t>* ids) const {
  thread_local std::vector<Symbol> symbols;
  const size_t n = ids->size() - first;
  symbols.resize(n);
  std::vector<Candidate> initial;
  initial.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    symbols[i] = {(*ids)[first + i], 0, i == 0 ? kEnd : i - 1, i + 1 == n ? kEnd : i + 1};
  }
  const auto candidate = [&](size_t i) {
    const MergeTable::Merge merge = merges_.Find(symbols[i].id, symbols[symbols[i].next].id);
    return Candidate{merge.rank, symbols[i].version, i, merge.id};
  };
  for (size_t i = 0; i + 1 < n; ++i) {
    const Candidate pair = candidate(i);
    if (pair.rank != MergeTable::kNoRank) initial.push_back(pair);
  }
  std::priority_queue<Candidate, std::vector<Candidate>, Later> heap(Later{}, std::move(initial));
  const auto refresh = [&](size_t i) {
    ++symbols[i].version;
    if (symbols[i].next == kEnd) return;
    const Candidate pair = candidate(i);
    if (pair.rank != MergeTable::kNoRank) heap.push(pair);
  };
  while (!heap.empty()) {
    const Candidate best = heap.top();
    heap.pop();
    Symbol& left = symbols[best.position];
    if (left.version != best.version) continue;
    const Symbol& right = symbols[left.next];
    ++symbols[left.next].version;  // it is no symbol any more
    left.id = best.joined;
    left.next = right.next;
    if (left.next != kEnd) symbols[left.next].previous = best.position;
    refresh(best.position);
    if (left.previous != kEnd) refresh(left.previous);
  }
  size_t kept = first;
  for (size_t i = 0; i != kEnd; i = symbols[i].next) (*ids)[kept++] = symbols[i].id;
  ids->resize(kept);
  if (symbols.capacity() > kKeptSymbols) std::vector<Symbol>().swap(symbols);
}

}  // namespace inhouse::engine
