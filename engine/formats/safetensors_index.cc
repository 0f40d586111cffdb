// model.safetensors.index.json and the shards that it lists.
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/json_events.h"
#include "engine/formats/printable.h"
#include "engine/formats/safetensors.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr uint64_t kIndexBytesMax = 100'000'000;
constexpr int kDepthMax = 16;

bool IsPlainName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// {"metadata": {...}, "weight_map": {"tensor": "file", ...}}. Only weight_map is kept.
class IndexReader final : public JsonEvents {
 public:
  IndexReader(std::string path, std::map<std::string, std::string>* weight_map)
      : JsonEvents(std::move(path), kDepthMax), weight_map_(weight_map) {}

  bool found() const { return found_; }

 private:
  bool OnOpen(bool is_object) override {
    if (depth() == 1 && !is_object) return Fail({.expected = "a JSON object"});
    if (depth() == 2 && key_ == "weight_map") {
      if (!is_object) return Fail({.field = key_, .expected = "an object"});
      inside_ = true;
    } else if (inside_) {
      return Fail({.field = Here(), .expected = "the name of a file"});
    }
    return true;
  }
  bool OnClose() override {
    if (depth() == 1) inside_ = false;
    return true;
  }
  bool OnKey(std::string key) override {
    if (inside_) {
      tensor_ = std::move(key);
    } else if (depth() == 1) {
      key_ = std::move(key);
      if (key_ == "weight_map" && std::exchange(found_, true)) {
        return Fail({.field = key_, .expected = "each key once"});
      }
    }
    return true;
  }
  bool OnScalar(nlohmann::json value) override {
    if (depth() == 0) return Fail({.expected = "a JSON object"});
    if (depth() == 1 && key_ == "weight_map") {
      return Fail({.field = key_, .value = JsonText(value), .expected = "an object"});
    }
    if (!inside_) return true;
    auto* file = value.get_ptr<std::string*>();
    if (file == nullptr || !IsPlainName(*file)) {
      return Fail({.field = Here(),
                   .value = JsonText(value),
                   .expected = "the name of a file in the same directory"});
    }
    if (!weight_map_->try_emplace(tensor_, std::move(*file)).second) {
      return Fail({.field = Here(), .expected = "each tensor once"});
    }
    return true;
  }
  std::string Here() const { return fmt::format("weight_map: '{}'", Printable(tensor_)); }

  std::map<std::string, std::string>* weight_map_;
  bool inside_ = false;  // weight_map
  bool found_ = false;
  std::string key_;
  std::string tensor_;
};

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseSafetensorsIndex(const std::string& path,
                                                                         std::string_view text) {
  std::map<std::string, std::string> weight_map;
  IndexReader reader(path, &weight_map);
  INHOUSE_RETURN_IF_ERROR(reader.Parse(text));
  if (!reader.found()) {
    return base::InvalidInput({.file = path, .field = "weight_map", .expected = "to be there"});
  }
  return weight_map;
}

absl::Status ReadSafetensorsShards(const std::string& index_path, TensorTable* table) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(index_path, kIndexBytesMax));
  INHOUSE_ASSIGN_OR_RETURN(const auto weight_map, ParseSafetensorsIndex(index_path, text));
  const size_t slash = index_path.rfind('/');
  const std::string directory =
      slash == std::string::npos ? std::string() : index_path.substr(0, slash + 1);

  std::set<std::string> shards;
  for (const auto& [tensor, file] : weight_map) shards.insert(file);
  for (const std::string& shard : shards) {
    const absl::Status status = ReadSafetensors(directory + shard, table);
    if (status.code() == absl::StatusCode::kNotFound) {
      return base::InputError(
          absl::StatusCode::kNotFound,
          {.file = directory + shard,
           .expected = fmt::format("to be there: {} lists it as a shard", index_path),
           .hint = "Is the download complete?"});
    }
    INHOUSE_RETURN_IF_ERROR(status);
  }
  for (const auto& [name, file] : weight_map) {
    const StoredTensor* tensor = table->Find(name);
    if (tensor != nullptr && tensor->file->path() == directory + file) continue;
    return base::InvalidInput({.file = index_path,
                               .field = fmt::format("weight_map: '{}'", Printable(name)),
                               .value = file,
                               .expected = tensor == nullptr
                                               ? "a file that holds this tensor; no shard does"
                                               : fmt::format("the file that holds this tensor ({})",
                                                             tensor->file->path())});
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
