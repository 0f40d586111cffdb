#include "lifecycle/registry/manifest.h"

#include <algorithm>
#include <ctime>

#include "base/sha256.h"
#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::lifecycle {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "inhouse-manifest/1";
constexpr size_t kPathBytesMax = 1024;

// The members that are plain text, in the order of the file. The order is part of the digest.
struct TextMember {
  const char* key;
  std::string Manifest::*member;
};
constexpr TextMember kTextMembers[] = {
    {"format", &Manifest::format},
    {"entry", &Manifest::entry},
    {"architecture", &Manifest::architecture},
    {"source", &Manifest::source},
    {"endpoint", &Manifest::endpoint},
    {"revision", &Manifest::revision},
    {"parent", &Manifest::parent},
    {"made_by", &Manifest::made_by},
};

Json ToJson(const Manifest& manifest) {
  Json out = {{"schema", kSchema}};
  for (const TextMember& text : kTextMembers) out[text.key] = manifest.*text.member;
  Json files = Json::array();
  for (const ManifestFile& file : manifest.files) {
    files.push_back({{"path", file.path}, {"size", file.size}, {"sha256", file.sha256}});
  }
  out["files"] = std::move(files);
  return out;
}

std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

absl::StatusOr<std::string> Text(const Json& object, const char* key, const std::string& path) {
  const auto it = object.find(key);
  if (it == object.end() || !it->is_string()) {
    return base::InvalidInput({.file = path, .field = key, .expected = "a string"});
  }
  return it->get<std::string>();
}

absl::StatusOr<ManifestFile> FileFromJson(const Json& json, const std::string& path) {
  if (!json.is_object()) {
    return base::InvalidInput({.file = path, .field = "files", .expected = "a list of objects"});
  }
  ManifestFile file;
  INHOUSE_ASSIGN_OR_RETURN(file.path, Text(json, "path", path));
  INHOUSE_RETURN_IF_ERROR(CheckRelativePath(file.path, path));
  INHOUSE_ASSIGN_OR_RETURN(file.sha256, Text(json, "sha256", path));
  if (!IsSha256(file.sha256)) {
    return base::InvalidInput({.file = path,
                               .field = "files." + file.path + ".sha256",
                               .value = file.sha256,
                               .expected = "64 lower-case hexadecimal digits"});
  }
  const auto size = json.find("size");
  if (size == json.end() || !size->is_number_unsigned()) {
    return base::InvalidInput(
        {.file = path, .field = "files." + file.path + ".size", .expected = "a number of bytes"});
  }
  file.size = size->get<uint64_t>();
  return file;
}

}  // namespace

uint64_t Manifest::TotalBytes() const {
  uint64_t total = 0;
  for (const ManifestFile& file : files) total += file.size;
  return total;
}

absl::Status CheckRelativePath(std::string_view path, const std::string& where) {
  const auto refuse = [&](const char* expected) {
    return base::InvalidInput(
        {.file = where, .field = "path", .value = std::string(path), .expected = expected});
  };
  if (path.empty() || path.size() > kPathBytesMax) return refuse("1 to 1024 bytes");
  if (!base::IsValidUtf8(path)) return refuse("UTF-8");
  for (const char c : path) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\') {
      return refuse("no control characters and no backslash");
    }
  }
  std::string_view rest = path;
  while (true) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    if (part.empty() || part == "." || part == "..") {
      return refuse("a relative path without empty parts, '.' and '..'");
    }
    if (part.size() > 255) return refuse("parts of at most 255 bytes");
    if (slash == std::string_view::npos) return absl::OkStatus();
    rest.remove_prefix(slash + 1);
  }
}

bool IsSha256(std::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

std::string VersionId(const Manifest& manifest) {
  base::Sha256 hash;
  hash.Update(std::string_view(Dump(ToJson(manifest), -1)));
  return hash.FinishHex();
}

std::string ManifestToJson(const Manifest& manifest) {
  Json out = ToJson(manifest);
  out["created_at"] = manifest.created_at;
  return Dump(out, 1) + "\n";
}

absl::StatusOr<Manifest> ManifestFromJson(std::string_view json, const std::string& path) {
  const Json in = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!in.is_object()) return base::InvalidInput({.file = path, .expected = "a JSON object"});
  INHOUSE_ASSIGN_OR_RETURN(const std::string schema, Text(in, "schema", path));
  if (schema != kSchema) {
    return base::InvalidInput(
        {.file = path, .field = "schema", .value = schema, .expected = kSchema});
  }
  Manifest manifest;
  for (const TextMember& text : kTextMembers) {
    INHOUSE_ASSIGN_OR_RETURN(manifest.*text.member, Text(in, text.key, path));
  }
  INHOUSE_ASSIGN_OR_RETURN(manifest.created_at, Text(in, "created_at", path));
  const auto files = in.find("files");
  if (files == in.end() || !files->is_array()) {
    return base::InvalidInput({.file = path, .field = "files", .expected = "a list"});
  }
  for (const Json& entry : *files) {
    INHOUSE_ASSIGN_OR_RETURN(ManifestFile file, FileFromJson(entry, path));
    manifest.files.push_back(std::move(file));
  }
  if (!manifest.entry.empty()) {
    const bool found = std::any_of(manifest.files.begin(), manifest.files.end(),
                                   [&](const ManifestFile& f) { return f.path == manifest.entry; });
    if (!found) {
      return base::InvalidInput({.file = path,
                                 .field = "entry",
                                 .value = manifest.entry,
                                 .expected = "a path of `files`"});
    }
  }
  return manifest;
}

std::string TimestampNow() {
  const std::time_t now = std::time(nullptr);
  struct tm utc = {};
  gmtime_r(&now, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", utc.tm_year + 1900, utc.tm_mon + 1,
                     utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

}  // namespace inhouse::lifecycle
