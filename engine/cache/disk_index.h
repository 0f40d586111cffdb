// Which page stands in which file of the disk tier, and which file was not used for longest.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/cache/prefix_key.h"

namespace inhouse::engine {

// Bookkeeping only: touches no disk, knows no threads.
class DiskIndex {
 public:
  struct Place {
    std::string path = {};
    int64_t index = 0;  // of the page within the file
  };

  bool Contains(const PrefixKey& key) const { return places_.contains(key); }
  // Where the page is; its file counts as used now.
  std::optional<Place> Use(const PrefixKey& key);
  // A file that has just been written or found. One of the same path is forgotten; of a page that
  // is in several files, the last one counts.
  void Add(const std::string& path, int64_t bytes, const std::vector<PrefixKey>& keys);
  void Remove(const std::string& path);
  // The path of the least recently used file, which is removed; none: there is no file.
  std::optional<std::string> TakeOldest();

  int64_t bytes() const { return bytes_; }
  int64_t files() const { return static_cast<int64_t>(files_.size()); }

 private:
  struct File {
    std::string path = {};
    int64_t bytes = 0;
    std::vector<PrefixKey> keys = {};
  };
  using Files = std::list<File>;  // the least recently used first
  void Erase(Files::iterator file);

  Files files_;
  std::unordered_map<std::string, Files::iterator> by_path_;
  std::unordered_map<PrefixKey, std::pair<Files::iterator, int64_t>, PrefixKeyHash> places_;
  int64_t bytes_ = 0;
};

}  // namespace inhouse::engine
