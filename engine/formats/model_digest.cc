#include "engine/formats/model_digest.h"

#include <sys/stat.h>

#include <cstdint>
#include <map>

#include "base/sha256.h"
#include "engine/formats/packed_file.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

std::string ModelDigest(const Checkpoint& checkpoint) {
  base::Sha256 hash;
  if (checkpoint.config) {
    using Json = nlohmann::json;
    hash.Update(checkpoint.config->json().dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  std::map<const base::MappedFile*, uint64_t> data_begins;
  for (const auto& [name, tensor] : checkpoint.tensors.tensors()) {
    const auto [at, added] = data_begins.try_emplace(tensor.file, tensor.file_offset);
    if (tensor.file_offset < at->second) at->second = tensor.file_offset;
  }
  for (const auto& file : checkpoint.tensors.files()) {
    const auto begin = data_begins.find(file.get());
    hash.Update(begin == data_begins.end() ? file->bytes() : file->bytes().first(begin->second));
  }
  hash.Update(Fingerprint(checkpoint));
  return hash.FinishHex();
}

std::string FileTimes(const Checkpoint& checkpoint) {
  std::string times;
  for (const auto& file : checkpoint.tensors.files()) {
    struct stat info = {};
    if (stat(file->path().c_str(), &info) != 0) continue;
    times += fmt::format("{} {}.{:09}\n", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
  }
  return times;
}

}  // namespace inhouse::engine
