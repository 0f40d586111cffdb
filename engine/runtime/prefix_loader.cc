#include "engine/runtime/prefix_loader.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/time/time.h"

namespace inhouse::engine {
namespace {

// Of one read: large enough for the disk. So many of them wait in memory at most.
constexpr int64_t kReadBytes = int64_t{16} << 20;
constexpr int kReadsMax = 4;
// Of one file, and what of it is copied between two steps: about a millisecond.
constexpr int64_t kFileBytes = int64_t{32} << 20;
constexpr int64_t kCopyBytes = int64_t{4} << 20;
// A disk that hangs must not hold a prompt that can be computed.
constexpr std::chrono::seconds kPatience{10};
// At the end, for what was not saved yet.
constexpr std::chrono::seconds kLastSaves{5};

}  // namespace

PrefixLoader::PrefixLoader(PrefixCache* cache, std::unique_ptr<DiskTier> disk,
                           std::function<void()> wake)
    : cache_(cache), wake_(std::move(wake)), disk_(std::move(disk)) {
  cache_->on_evict = [this](const PrefixNode& node) { SaveEvicted(node); };
  disk_->set_on_room(wake_);
}

PrefixLoader::~PrefixLoader() { cache_->on_evict = {}; }

bool PrefixLoader::Begin(Sequence* sequence, Clock::time_point now) {
  if (!sequence->root || sequence->every_row()) return false;
  // The last token is always computed.
  const int64_t count = (static_cast<int64_t>(sequence->tokens.size()) - 1) / kPageTokens;
  int64_t known = 0;
  while (known < count && cache_->Contains(KeyOfPage(*sequence, known))) ++known;
  queries_ += (count - known) * kPageTokens;
  if (known == count || !disk_->Contains(KeyOfPage(*sequence, known))) return false;
  Load load{.sequence = sequence, .begun = now};
  for (int64_t page = 0; page < count; ++page) {
    const PrefixKey key = KeyOfPage(*sequence, page);
    const auto tokens = TokensOfPage(*sequence, page);
    load.pages.push_back({.key = key,
                          .parent = ParentKey(*sequence, page),
                          .tokens = {tokens.begin(), tokens.end()}});
  }
  loads_.push_back(std::move(load));
  AskForMore();
  return true;
}

void PrefixLoader::AskForMore() {
  for (Load& load : loads_) {
    while (outstanding_ < kReadsMax && Ask(&load)) {
    }
  }
}

// The next pages that are on disk and not in memory. False if there are none.
bool PrefixLoader::Ask(Load* load) {
  const int64_t page_bytes = cache_->pool().page_bytes();
  const auto most = static_cast<size_t>(std::max(kReadBytes / page_bytes, int64_t{1}));
  const auto known = [&] { return cache_->Contains(load->pages[load->next].key); };
  // Somebody else may have brought them meanwhile.
  while (load->next < load->pages.size() && known()) ++load->next;
  std::vector<PrefixKey> keys;
  const size_t begin = load->next;
  while (!load->ended && load->next < load->pages.size() && keys.size() < most && !known() &&
         disk_->Contains(load->pages[load->next].key)) {
    keys.push_back(load->pages[load->next++].key);
  }
  if (keys.empty()) {
    load->ended = true;
    return false;
  }
  ++load->outstanding;
  ++outstanding_;
  const size_t asked = keys.size();
  disk_->Read(std::move(keys), [this, load, begin, asked](std::vector<std::byte> bytes) {
    {
      absl::MutexLock lock(&mutex_);
      results_.push_back({load, begin, asked, std::move(bytes)});
    }
    wake_();
  });
  return true;
}

std::vector<Sequence*> PrefixLoader::Ready(Clock::time_point now) {
  std::vector<Result> results;
  {
    absl::MutexLock lock(&mutex_);
    results.swap(results_);
  }
  for (const Result& result : results) {
    --outstanding_;
    --result.load->outstanding;
    // Behind a gap nothing can be used.
    if (!result.load->gap && !Insert(result)) result.load->gap = result.load->ended = true;
  }
  AskForMore();
  std::vector<Sequence*> ready;
  for (Load& load : loads_) {
    if (load.ended && load.outstanding == 0) GiveBack(&load, &ready);
    if (now - load.begun > kPatience) GiveBack(&load, &ready);
  }
  loads_.remove_if([](const Load& load) {
    return load.sequence == nullptr && load.ended && load.outstanding == 0;
  });
  return ready;
}

void PrefixLoader::GiveBack(Load* load, std::vector<Sequence*>* ready) {
  if (load->sequence != nullptr) ready->push_back(load->sequence);
  load->sequence = nullptr;
  load->ended = true;
}

// Puts the pages that were read behind those before them. False if not all could be.
bool PrefixLoader::Insert(const Result& result) {
  const auto page_bytes = static_cast<size_t>(cache_->pool().page_bytes());
  const size_t end = result.begin + result.bytes.size() / page_bytes;
  std::vector<PageId> held;  // the path: while a child is added, nothing before it is evicted
  for (size_t i = 0; i < end; ++i) {
    const Page& page = result.load->pages[i];
    std::optional<PageId> id = cache_->Acquire(page.key, page.parent, page.tokens);
    if (!id && i >= result.begin) {
      id = cache_->Allocate();
      if (id) {
        std::memcpy(cache_->pool().data(*id), result.bytes.data() + (i - result.begin) * page_bytes,
                    page_bytes);
        id = cache_->Publish(page.key, page.parent, page.tokens, *id);
        hits_ += kPageTokens;
      }
    }
    if (!id) break;  // evicted meanwhile, or no page is free
    held.push_back(*id);
  }
  const bool whole = held.size() == result.begin + result.asked;
  for (; !held.empty(); held.pop_back()) cache_->Release(held.back());
  return whole;
}

void PrefixLoader::Forget(Sequence* sequence) {
  for (Load& load : loads_) {
    if (load.sequence != sequence) continue;
    load.sequence = nullptr;
    load.ended = true;
  }
}

void PrefixLoader::Save(Sequence* sequence) {
  for (int64_t page = 0; page < sequence->published; ++page) {
    saves_.push_back(KeyOfPage(*sequence, page));
  }
  // Where the disk does not keep up, the oldest wait no longer than memory keeps them anyway.
  while (static_cast<int64_t>(saves_.size()) > cache_->pool().total()) saves_.pop_front();
}

bool PrefixLoader::SaveSome() {
  const int64_t page_bytes = cache_->pool().page_bytes();
  const auto file_pages = static_cast<size_t>(std::max(kFileBytes / page_bytes, int64_t{1}));
  int64_t left = std::max(kCopyBytes, page_bytes);
  for (; !saves_.empty(); saves_.pop_front()) {
    const PrefixNode* node = cache_->Find(saves_.front());
    // Saved before, or when it was evicted.
    if (node == nullptr || disk_->Contains(node->key)) continue;
    if (!run_.empty() && (run_.back() != node->parent || run_.size() >= file_pages)) SaveRun();
    if (left < page_bytes) return true;
    if (!disk_->CanQueue(static_cast<int64_t>(run_bytes_.size()) + page_bytes)) break;
    const std::byte* data = cache_->pool().data(node->page);
    run_.push_back(node->key);
    run_bytes_.insert(run_bytes_.end(), data, data + page_bytes);
    left -= page_bytes;
  }
  SaveRun();
  return false;
}

void PrefixLoader::SaveRest() {
  const Clock::time_point end = Clock::now() + kLastSaves;
  while (disk_->stats().ready && Clock::now() < end) {
    if (SaveSome()) continue;
    if (saves_.empty()) return;
    disk_->AwaitWrites(absl::Seconds(1));
  }
}

void PrefixLoader::SaveRun() {
  if (!run_.empty()) disk_->Write(std::exchange(run_, {}), std::exchange(run_bytes_, {}));
}

void PrefixLoader::SaveEvicted(const PrefixNode& node) {
  const int64_t page_bytes = cache_->pool().page_bytes();
  if (disk_->Contains(node.key)) return;
  if (!disk_->CanQueue(page_bytes)) return disk_->CountDropped(1);
  const std::byte* data = cache_->pool().data(node.page);
  disk_->Write({node.key}, {data, data + page_bytes});
}

}  // namespace inhouse::engine
