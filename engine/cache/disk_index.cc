#include "engine/cache/disk_index.h"

namespace inhouse::engine {

std::optional<DiskIndex::Place> DiskIndex::Use(const PrefixKey& key) {
  const auto found = places_.find(key);
  if (found == places_.end()) return std::nullopt;
  const auto& [file, index] = found->second;
  files_.splice(files_.end(), files_, file);
  return Place{.path = file->path, .index = index};
}

void DiskIndex::Add(const std::string& path, int64_t bytes, const std::vector<PrefixKey>& keys) {
  Remove(path);
  const auto file = files_.insert(files_.end(), File{.path = path, .bytes = bytes, .keys = keys});
  by_path_[path] = file;
  for (size_t i = 0; i < keys.size(); ++i) places_[keys[i]] = {file, static_cast<int64_t>(i)};
  bytes_ += bytes;
}

void DiskIndex::Remove(const std::string& path) {
  if (const auto found = by_path_.find(path); found != by_path_.end()) Erase(found->second);
}

std::optional<std::string> DiskIndex::TakeOldest() {
  if (files_.empty()) return std::nullopt;
  std::string path = files_.front().path;
  Erase(files_.begin());
  return path;
}

void DiskIndex::Erase(Files::iterator file) {
  for (const PrefixKey& key : file->keys) {
    const auto found = places_.find(key);
    if (found != places_.end() && found->second.first == file) places_.erase(found);
  }
  bytes_ -= file->bytes;
  by_path_.erase(file->path);
  files_.erase(file);
}

}  // namespace inhouse::engine
