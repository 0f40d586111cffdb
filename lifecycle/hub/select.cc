#include "lifecycle/hub/select.h"

#include <fnmatch.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/gguf.h"
#include "engine/formats/tensor_table.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::lifecycle {
namespace {

using Json = nlohmann::json;

bool Matches(const std::vector<std::string>& globs, const std::string& path) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    const std::string pattern = glob.ends_with('/') ? glob + "*" : glob;
    return fnmatch(pattern.c_str(), path.c_str(), 0) == 0;
  });
}

bool IsGguf(const std::string& path) { return path.ends_with(".gguf"); }

std::vector<std::string> Filtered(const std::vector<std::string>& paths, auto&& keep) {
  std::vector<std::string> out;
  std::copy_if(paths.begin(), paths.end(), std::back_inserter(out), keep);
  return out;
}

// What a directory model is made of, all at the top level.
bool IsModelFile(const std::string& path) {
  static const std::vector<std::string> kWanted = {
      "*.json",   "*.safetensors", "*.jinja", "*.txt",   "*.model",       "*.tiktoken",
      "LICENSE*", "LICENCE*",      "NOTICE*", "README*", "MODEL_LICENSE*"};
  static const std::vector<std::string> kUnwanted = {"consolidated*.safetensors",
                                                     "pytorch_model*.json",
                                                     "tf_model*",
                                                     "flax_model*",
                                                     "training_args*",
                                                     "requirements*.txt"};
  if (path.starts_with("additional_chat_templates/")) return path.ends_with(".jinja");
  return path.find('/') == std::string::npos && Matches(kWanted, path) && !Matches(kUnwanted, path);
}

// GGUF models by stem; projectors of multimodal models belong to another model.
std::map<std::string, std::vector<std::string>> GgufSets(const std::vector<std::string>& paths) {
  std::map<std::string, std::vector<std::string>> sets;
  for (const std::string& path : paths) {
    if (IsGguf(path) && path.find("mmproj") == std::string::npos) {
      sets[GgufStem(path)].push_back(path);
    }
  }
  return sets;
}

std::string Listed(const std::vector<std::string>& paths) {
  std::string text;
  for (size_t i = 0; i < paths.size() && i < 20; ++i) text += "\n  " + paths[i];
  if (paths.size() > 20) text += fmt::format("\n  ... and {} more", paths.size() - 20);
  return text;
}

absl::StatusOr<std::vector<std::string>> OneFile(const std::vector<std::string>& paths,
                                                 const Selection& selection,
                                                 const std::string& where) {
  if (std::find(paths.begin(), paths.end(), selection.file) == paths.end()) {
    const std::vector<std::string> ggufs = Filtered(paths, IsGguf);
    return base::InputError(absl::StatusCode::kNotFound,
                            {.file = where,
                             .field = "file",
                             .value = selection.file,
                             .expected = "a file of the repository",
                             .hint = ggufs.empty() ? "" : "Its GGUF files are:" + Listed(ggufs)});
  }
  if (!IsGguf(selection.file)) return std::vector<std::string>{selection.file};
  const std::string stem = GgufStem(selection.file);
  return Filtered(paths, [&](const std::string& path) {
    return path == selection.file || (IsGguf(path) && GgufStem(path) == stem &&
                                      stem + ".gguf" != selection.file && stem + ".gguf" != path);
  });
}

absl::StatusOr<std::vector<std::string>> DefaultFiles(const std::vector<std::string>& paths,
                                                      const std::string& where) {
  std::vector<std::string> chosen = Filtered(paths, IsModelFile);
  const bool weights = std::any_of(chosen.begin(), chosen.end(), [](const std::string& path) {
    return path.ends_with(".safetensors");
  });
  if (weights) return chosen;
  const auto sets = GgufSets(paths);
  if (sets.size() == 1) {
    chosen = Filtered(chosen, [](const std::string& path) {
      return path.starts_with("LICEN") || path.starts_with("README");
    });
    chosen.insert(chosen.end(), sets.begin()->second.begin(), sets.begin()->second.end());
    return chosen;
  }
  if (sets.size() > 1) {
    std::vector<std::string> first;
    for (const auto& [stem, files] : sets) first.push_back(files.front());
    return base::InvalidInput(
        {.file = where,
         .expected = "the choice of one of its GGUF models",
         .hint = "Name one as REPOSITORY/FILE or with --file:" + Listed(first)});
  }
  const bool torch = std::any_of(paths.begin(), paths.end(), [](const std::string& path) {
    return path.ends_with(".bin") || path.ends_with(".pt") || path.ends_with(".pth");
  });
  return base::InvalidInput(
      {.file = where,
       .expected = "*.safetensors or *.gguf",
       .hint = torch ? "It has PyTorch pickles only, which can run code when they are read: take a "
                       "repository with safetensors."
                     : "--include chooses other files, for example --include 'tokenizer*'."});
}

absl::StatusOr<Json> ReadJson(const std::string& path, uint64_t bytes_max) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, bytes_max));
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return base::InvalidInput({.file = path, .expected = "a JSON object"});
  return json;
}

// config.json is the engine's to check; here only what a list shows.
std::string ArchitectureOf(const Json& config) {
  const auto names = config.find("architectures");
  if (names != config.end() && names->is_array() && !names->empty() && (*names)[0].is_string()) {
    return (*names)[0].get<std::string>();
  }
  const auto type = config.find("model_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : "";
}

// "" for a file that the engine does not read: the engine says why when it is opened.
std::string ArchitectureOfGguf(const std::string& path) {
  engine::TensorTable tensors;
  const auto metadata = engine::ReadGguf(path, &tensors);
  return metadata.ok() ? metadata->StringOr("general.architecture", "").value_or("") : "";
}

absl::Status CheckShards(const std::string& directory, const Manifest& manifest) {
  constexpr const char* kIndex = "model.safetensors.index.json";
  std::set<std::string> there;
  for (const ManifestFile& file : manifest.files) there.insert(file.path);
  if (!there.contains(kIndex)) return absl::OkStatus();
  const std::string path = directory + "/" + kIndex;
  INHOUSE_ASSIGN_OR_RETURN(const Json index, ReadJson(path, 256ULL << 20));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    return base::InvalidInput({.file = path, .field = "weight_map", .expected = "an object"});
  }
  for (const auto& [tensor, shard] : map->items()) {
    if (!shard.is_string() || !there.contains(shard.get<std::string>())) {
      return base::InvalidInput({.file = path,
                                 .field = "weight_map." + tensor,
                                 .value = shard.is_string() ? shard.get<std::string>() : "",
                                 .expected = "a file that is there",
                                 .hint = "A shard is missing: the model is not complete."});
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::string GgufStem(std::string_view path) {
  if (path.ends_with(".gguf")) path.remove_suffix(5);
  // -00001-of-00003
  constexpr size_t kSuffix = 15;
  if (path.size() <= kSuffix) return std::string(path);
  const std::string suffix(path.substr(path.size() - kSuffix));
  if (fnmatch("-[0-9][0-9][0-9][0-9][0-9]-of-[0-9][0-9][0-9][0-9][0-9]", suffix.c_str(), 0) == 0) {
    path.remove_suffix(kSuffix);
  }
  return std::string(path);
}

absl::StatusOr<std::vector<std::string>> SelectFiles(std::vector<std::string> paths,
                                                     const Selection& selection,
                                                     const std::string& where) {
  std::sort(paths.begin(), paths.end());
  std::erase(paths, kManifestFileName);  // ours, not part of the model
  std::vector<std::string> chosen;
  if (!selection.file.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(chosen, OneFile(paths, selection, where));
  } else if (!selection.include.empty()) {
    chosen = Filtered(paths, [&](const std::string& p) { return Matches(selection.include, p); });
  } else {
    INHOUSE_ASSIGN_OR_RETURN(chosen, DefaultFiles(paths, where));
  }
  std::erase_if(chosen, [&](const std::string& p) { return Matches(selection.exclude, p); });
  std::sort(chosen.begin(), chosen.end());
  if (chosen.empty()) {
    return base::InvalidInput(
        {.file = where,
         .expected = "at least one file to take",
         .hint = paths.empty() ? "The repository is empty." : "It has:" + Listed(paths)});
  }
  return chosen;
}

absl::Status Describe(const std::string& directory, Manifest* manifest) {
  std::vector<std::string> paths;
  bool safetensors = false;
  for (const ManifestFile& file : manifest->files) {
    paths.push_back(file.path);
    safetensors = safetensors || file.path.ends_with(".safetensors");
  }
  const auto sets = GgufSets(paths);
  manifest->format = safetensors ? "safetensors" : sets.empty() ? "other" : "gguf";
  manifest->entry.clear();
  if (manifest->format == "gguf" && sets.size() == 1) {
    manifest->entry = *std::min_element(sets.begin()->second.begin(), sets.begin()->second.end());
  }
  if (!manifest->entry.empty()) {
    manifest->architecture = ArchitectureOfGguf(directory + "/" + manifest->entry);
  } else if (std::find(paths.begin(), paths.end(), "config.json") != paths.end()) {
    INHOUSE_ASSIGN_OR_RETURN(const Json config, ReadJson(directory + "/config.json", 16ULL << 20));
    manifest->architecture = ArchitectureOf(config);
  }
  return CheckShards(directory, *manifest);
}

}  // namespace inhouse::lifecycle
