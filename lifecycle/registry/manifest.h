// The manifest of a version: what it is made of, where it came from. Immutable; its digest is the
// version's name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace inhouse::lifecycle {

struct ManifestFile {
  std::string path = {};  // relative, '/' between parts
  uint64_t size = 0;
  std::string sha256 = {};  // 64 lower-case hexadecimal digits
};

struct Manifest {
  std::string format = {};        // "safetensors", "gguf" or "other"
  std::string entry = {};         // the file to open; "" = the directory itself
  std::string architecture = {};  // "LlamaForCausalLM", "llama"; "" = not known
  std::string source = {};        // "hf:org/repo", "modelscope:org/repo", "import:/path", ...
  std::string endpoint = {};      // "https://huggingface.co"; "" for an import
  std::string revision = {};      // the commit that the hub named; "" if there is none
  std::string parent = {};        // the version that it was made from
  std::string made_by = {};       // "pull", "import", "quantize --to fp8", ...
  std::string created_at = {};    // UTC, ISO 8601; the only member outside the digest
  std::vector<ManifestFile> files = {};  // sorted by path

  uint64_t TotalBytes() const;
};

inline constexpr const char* kManifestFileName = "inhouse-manifest.json";

// Relative, without "..", ".", empty parts, control characters and backslashes, at most 1024 bytes.
// Whatever names a file in a version passes here first.
absl::Status CheckRelativePath(std::string_view path, const std::string& where);

// 64 lower-case hexadecimal digits.
bool IsSha256(std::string_view text);

// SHA-256 over the manifest's JSON without created_at.
std::string VersionId(const Manifest& manifest);

std::string ManifestToJson(const Manifest& manifest);

// Every member is checked; `path` is for messages.
absl::StatusOr<Manifest> ManifestFromJson(std::string_view json, const std::string& path);

// Now, as created_at spells it.
std::string TimestampNow();

}  // namespace inhouse::lifecycle
