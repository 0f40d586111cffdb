// Which files of a repository are taken, and what they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lifecycle/registry/manifest.h"

namespace inhouse::lifecycle {

struct Selection {
  std::vector<std::string> include = {};  // globs; '*' also matches '/', as in huggingface_hub
  std::vector<std::string> exclude = {};
  std::string file = {};  // one file (of a split GGUF: the whole set)
};

// The chosen ones of `paths`, sorted. Without `include` and `file`: what the engine reads
// (config, tokenizer, templates, safetensors at the top level) and the licence; no second copy of
// the weights (PyTorch .bin, ONNX, consolidated.*, original/); a repository that holds nothing but
// one GGUF model gives that. `where` names the repository in messages.
absl::StatusOr<std::vector<std::string>> SelectFiles(std::vector<std::string> paths,
                                                     const Selection& selection,
                                                     const std::string& where);

// "a/b-00001-of-00003.gguf" -> "a/b"; "x.gguf" -> "x".
std::string GgufStem(std::string_view path);

// Fills format, entry and architecture of `manifest` from its files in `directory`; a safetensors
// index that names a file which is not there is an error.
absl::Status Describe(const std::string& directory, Manifest* manifest);

}  // namespace inhouse::lifecycle
