#include "engine/cache/disk_tier.h"

#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/time/time.h"
#include "base/log.h"
#include "base/status.h"

namespace inhouse::engine {
namespace {

// Copies of pages that wait for the disk. Beyond, pages wait in the prefix tree.
constexpr int64_t kQueuedBytesMax = int64_t{64} << 20;
// Of the writer: it encrypts beside threads that compute, and has all the time.
constexpr int kWriterNice = 10;
constexpr absl::Duration kLookAgain = absl::Seconds(1);

}  // namespace

DiskTier::DiskTier(DiskTierOptions options)
    : options_(std::move(options)),
      directory_(options_.directory, DiskDirectoryName(options_.format.identity)) {}

absl::StatusOr<std::unique_ptr<DiskTier>> DiskTier::Open(const DiskTierOptions& options) {
  std::unique_ptr<DiskTier> tier(new DiskTier(options));
  INHOUSE_RETURN_IF_ERROR(tier->directory_.Create());
  INHOUSE_ASSIGN_OR_RETURN(const bool ready, tier->TakeOver());
  if (!ready) {
    spdlog::warn(
        "{}: another engine with this model keeps its prefixes there; without them until "
        "it ends",
        options.directory);
  }
  tier->reader_ = std::thread([tier = tier.get()] { tier->RunReads(); });
  tier->writer_ = std::thread([tier = tier.get()] { tier->RunWrites(); });
  return tier;
}

DiskTier::~DiskTier() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    reads_.clear();
  }
  if (reader_.joinable()) reader_.join();
  if (writer_.joinable()) writer_.join();
}

// False if another engine has the directory.
absl::StatusOr<bool> DiskTier::TakeOver() {
  INHOUSE_ASSIGN_OR_RETURN(const bool locked, directory_.Lock());
  if (!locked) return false;
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> paths, directory_.Files());
  DiskIndex index;
  int64_t refused = 0;
  for (const std::string& path : paths) {
    const auto keys = ReadKvKeys(path, options_.format);
    if (keys.ok()) {
      const auto pages = static_cast<int64_t>(keys->size());
      index.Add(path, KvFileBytes(options_.format, pages), *keys);
    } else if (absl::IsDataLoss(keys.status())) {
      spdlog::warn("refused and deleted: {}", base::Message(keys.status()));
      ++refused;
      DeleteKvFile(path);
    } else {
      spdlog::warn("passed over: {}", base::Message(keys.status()));
    }
  }
  other_bytes_ = directory_.ShrinkOthers(options_.bytes_max);
  {
    absl::MutexLock lock(&mutex_);
    index_ = std::move(index);
    stats_.refused += refused;
    stats_.ready = true;
  }
  MakeRoom(0);
  return true;
}

bool DiskTier::Contains(const PrefixKey& key) const {
  absl::MutexLock lock(&mutex_);
  return index_.Contains(key) || queued_.contains(key);
}

bool DiskTier::CanQueue(int64_t bytes) const {
  absl::MutexLock lock(&mutex_);
  // What is larger than the queue is written when nothing else waits.
  return stats_.ready && !stop_ && (queued_bytes_ == 0 || queued_bytes_ + bytes <= kQueuedBytesMax);
}

void DiskTier::CountDropped(int64_t pages) {
  absl::MutexLock lock(&mutex_);
  if (stats_.ready) stats_.dropped += pages;
}

void DiskTier::set_on_room(std::function<void()> on_room) {
  absl::MutexLock lock(&mutex_);
  on_room_ = std::move(on_room);
}

void DiskTier::Write(std::vector<PrefixKey> keys, std::vector<std::byte> bytes) {
  const auto size = static_cast<int64_t>(bytes.size());
  if (!CanQueue(size)) return CountDropped(static_cast<int64_t>(keys.size()));
  absl::MutexLock lock(&mutex_);
  const auto job = std::make_shared<const WriteJob>(WriteJob{std::move(keys), std::move(bytes)});
  for (size_t i = 0; i < job->keys.size(); ++i) queued_[job->keys[i]] = {job, i};
  queued_bytes_ += size;
  writes_.push_back(job);
}

void DiskTier::Read(std::vector<PrefixKey> keys, Done done) {
  absl::MutexLock lock(&mutex_);
  reads_.push_back({std::move(keys), std::move(done)});
}

void DiskTier::AwaitWrites(absl::Duration most) const {
  absl::MutexLock lock(&mutex_);
  const auto written = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return queued_bytes_ == 0; };
  mutex_.AwaitWithTimeout(absl::Condition(&written), most);
}

DiskTierStats DiskTier::stats() const {
  absl::MutexLock lock(&mutex_);
  DiskTierStats stats = stats_;
  stats.files = index_.files();
  stats.bytes = index_.bytes();
  return stats;
}

void DiskTier::RunReads() {
  while (true) {
    ReadJob job;
    {
      absl::MutexLock lock(&mutex_);
      const auto work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stop_ || !reads_.empty();
      };
      mutex_.Await(absl::Condition(&work));
      if (stop_) return;
      job = std::move(reads_.front());
      reads_.pop_front();
    }
    ReadNow(job);
  }
}

// Until the directory is this tier's.
bool DiskTier::AwaitDirectory() {
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (stats_.ready) return true;
      mutex_.AwaitWithTimeout(absl::Condition(&stop_), kLookAgain);
      if (stop_) return false;
    }
    const absl::StatusOr<bool> ready = TakeOver();
    if (ready.ok() && *ready) spdlog::info("{}: prefixes are kept there", options_.directory);
  }
}

void DiskTier::RunWrites() {
  setpriority(PRIO_PROCESS, 0, kWriterNice);  // of this thread, on Linux
  if (!AwaitDirectory()) return;
  TellRoom();
  while (true) {
    std::shared_ptr<const WriteJob> job;
    {
      absl::MutexLock lock(&mutex_);
      const auto work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return stop_ || !writes_.empty();
      };
      mutex_.Await(absl::Condition(&work));
      if (writes_.empty()) return;
      job = std::move(writes_.front());
      writes_.pop_front();
    }
    WriteNow(*job);
    TellRoom();
  }
}

void DiskTier::TellRoom() {
  std::function<void()> on_room;
  {
    absl::MutexLock lock(&mutex_);
    on_room = on_room_;
  }
  if (on_room) on_room();
}

void DiskTier::WriteNow(const WriteJob& job) {
  const int64_t size = KvFileBytes(options_.format, static_cast<int64_t>(job.keys.size()));
  const std::string path = directory_.PathOf(job.keys.back());
  absl::Status status = absl::OkStatus();
  const bool fits = size <= options_.bytes_max;
  if (fits) {
    MakeRoom(size);
    status = WriteKvFile(path, options_.format, job.keys, job.bytes);
    if (status.ok()) TouchKvFile(path);
    // Each is counted; of a disk that stays full, the log tells once.
    if (!status.ok() && !write_failed_) {
      spdlog::warn("prefixes are not saved: {}", base::Message(status));
    }
    if (status.ok() && write_failed_) spdlog::info("prefixes are saved again");
    write_failed_ = !status.ok();
  }
  absl::MutexLock lock(&mutex_);
  for (const PrefixKey& key : job.keys) {
    const auto queued = queued_.find(key);
    if (queued != queued_.end() && queued->second.job.get() == &job) queued_.erase(queued);
  }
  queued_bytes_ -= static_cast<int64_t>(job.bytes.size());
  if (!status.ok()) {
    ++stats_.write_errors;
  } else if (fits) {
    index_.Add(path, size, job.keys);
  }
}

// For so many bytes more.
void DiskTier::MakeRoom(int64_t bytes) {
  const auto over = [&] {
    absl::MutexLock lock(&mutex_);
    return index_.bytes() + other_bytes_ + bytes - options_.bytes_max;
  };
  if (over() > 0 && other_bytes_ > 0) {
    other_bytes_ = directory_.ShrinkOthers(std::max<int64_t>(other_bytes_ - over(), 0));
  }
  while (over() > 0) {
    std::optional<std::string> path;
    {
      absl::MutexLock lock(&mutex_);
      path = index_.TakeOldest();
    }
    if (!path) return;
    DeleteKvFile(*path);
  }
}

void DiskTier::ReadNow(const ReadJob& job) {
  const auto page_bytes = static_cast<size_t>(options_.format.page_bytes);
  std::vector<std::byte> bytes(job.keys.size() * page_bytes);
  size_t good = 0;
  while (good < job.keys.size() &&
         ReadOne(job.keys[good], std::span(bytes).subspan(good * page_bytes, page_bytes))) {
    ++good;
  }
  bytes.resize(good * page_bytes);
  job.done(std::move(bytes));
}

bool DiskTier::ReadOne(const PrefixKey& key, std::span<std::byte> out) {
  std::optional<DiskIndex::Place> place;
  QueuedPage queued;
  {
    absl::MutexLock lock(&mutex_);
    if (const auto found = queued_.find(key); found != queued_.end()) {
      queued = found->second;
    } else {
      place = index_.Use(key);
    }
  }
  if (queued.job != nullptr) {
    const std::span bytes(queued.job->bytes);
    std::ranges::copy(bytes.subspan(queued.index * out.size(), out.size()), out.begin());
    return true;
  }
  if (!place) return false;
  TouchKvFile(place->path);
  const absl::Status status = ReadKvPage(place->path, options_.format, place->index, key, out);
  if (status.ok()) return true;
  absl::MutexLock lock(&mutex_);
  if (absl::IsDataLoss(status)) {
    spdlog::warn("refused and deleted: {}", base::Message(status));
    ++stats_.refused;
    index_.Remove(place->path);
    DeleteKvFile(place->path);
  } else if (absl::IsNotFound(status)) {
    index_.Remove(place->path);  // the writer made room, or somebody cleaned up
  } else {
    if (stats_.read_errors++ == 0) spdlog::warn("{}", base::Message(status));
  }
  return false;
}

}  // namespace inhouse::engine
