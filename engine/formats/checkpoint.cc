#include "engine/formats/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "engine/formats/safetensors.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

namespace fs = std::filesystem;

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

// Names in `directory` that end in `suffix`, sorted.
absl::StatusOr<std::vector<std::string>> FilesWithSuffix(const fs::path& directory,
                                                         std::string_view suffix) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (name.ends_with(suffix)) names.push_back(std::move(name));
  }
  if (error) return base::OsError(error.value(), directory.string(), "list");
  std::sort(names.begin(), names.end());
  return names;
}

// The same choice as transformers: model.safetensors, else the index; else a file that stands
// alone under another name.
absl::Status ReadWeights(const fs::path& directory, TensorTable* table) {
  const fs::path single = directory / "model.safetensors";
  if (Exists(single)) return ReadSafetensors(single.string(), table);
  const fs::path index = directory / "model.safetensors.index.json";
  if (Exists(index)) return ReadSafetensorsShards(index.string(), table);

  INHOUSE_ASSIGN_OR_RETURN(std::vector<std::string> names,
                           FilesWithSuffix(directory, ".safetensors"));
  std::erase(names, "adapter_model.safetensors");  // a PEFT adapter is no model
  if (names.size() == 1 && names[0].find("-of-") == std::string::npos) {
    return ReadSafetensors((directory / names[0]).string(), table);
  }
  if (!names.empty()) {
    return base::InputError(
        absl::StatusCode::kNotFound,
        {.file = index.string(),
         .expected = fmt::format("to be there: {} shards have no index", names.size()),
         .hint = "Is the download complete?"});
  }
  return base::InputError(absl::StatusCode::kNotFound,
                          {.file = directory.string(),
                           .expected = "model.safetensors, or model.safetensors.index.json and its "
                                       "shards",
                           .hint = "PyTorch .bin checkpoints are not supported"});
}

absl::Status OpenGguf(const std::string& path, Checkpoint* checkpoint) {
  INHOUSE_ASSIGN_OR_RETURN(checkpoint->gguf, ReadGguf(path, &checkpoint->tensors));
  return absl::OkStatus();
}

absl::Status OpenDirectory(const fs::path& directory, bool need_weights, Checkpoint* checkpoint) {
  const fs::path config = directory / "config.json";
  if (Exists(config)) {
    INHOUSE_ASSIGN_OR_RETURN(checkpoint->config, ConfigJson::Load(config.string()));
  } else if (need_weights) {
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> ggufs,
                             FilesWithSuffix(directory, ".gguf"));
    std::string hint;
    if (!ggufs.empty()) {
      hint = fmt::format("To open the GGUF file, name it: {}", (directory / ggufs[0]).string());
    }
    return base::InputError(absl::StatusCode::kNotFound,
                            {.file = config.string(),
                             .expected = "to be there: a model directory has config.json and "
                                         "*.safetensors",
                             .hint = std::move(hint)});
  }
  const fs::path generation = directory / "generation_config.json";
  if (Exists(generation)) {
    INHOUSE_ASSIGN_OR_RETURN(checkpoint->generation_config, ConfigJson::Load(generation.string()));
  }
  return need_weights ? ReadWeights(directory, &checkpoint->tensors) : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& path,
                                                             bool need_weights) {
  auto checkpoint = std::make_unique<Checkpoint>();
  checkpoint->path = path;
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    return base::OsError(error ? error.value() : ENOENT, path, "open");
  }
  if (fs::is_directory(status)) {
    INHOUSE_RETURN_IF_ERROR(OpenDirectory(path, need_weights, checkpoint.get()));
  } else if (path.ends_with(".safetensors") || path.ends_with(".json")) {
    return base::InvalidInput({.file = path,
                               .expected = "a model directory or a .gguf file",
                               .hint = "Name the directory that holds this file"});
  } else {
    INHOUSE_RETURN_IF_ERROR(OpenGguf(path, checkpoint.get()));
  }
  return checkpoint;
}

}  // namespace inhouse::engine
