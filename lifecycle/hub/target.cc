#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "base/status.h"
#include "lifecycle/hub/pull.h"
#include "lifecycle/registry/names.h"

namespace inhouse::lifecycle {
namespace {

struct Prefix {
  const char* text;
  HubKind hub;
};
constexpr Prefix kPrefixes[] = {
    {"hf:", HubKind::kHuggingFace},
    {"https://huggingface.co/", HubKind::kHuggingFace},
    {"https://hf-mirror.com/", HubKind::kHuggingFace},
    {"https://www.modelscope.cn/models/", HubKind::kModelScope},
    {"https://modelscope.cn/models/", HubKind::kModelScope},
    {"modelscope:", HubKind::kModelScope},
    {"ms:", HubKind::kModelScope},
};

// A name of the store made of what a directory or a file is called.
std::string NameFromText(std::string text) {
  for (char& c : text) {
    const bool plain =
        std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' || c == '-';
    if (!plain) c = '-';
  }
  while (!text.empty() && (text[0] == '-' || text[0] == '.')) text.erase(0, 1);
  return text.empty() ? "model" : text;
}

std::string NameFromPath(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error).lexically_normal();
  // Hugging Face's cache: .../models--org--repo/snapshots/<commit>
  for (const auto& part : absolute) {
    std::string text = part.string();
    if (!text.starts_with("models--")) continue;
    text.erase(0, 8);
    if (const size_t cut = text.find("--"); cut != std::string::npos) text.replace(cut, 2, "/");
    if (CheckModelName(text).ok()) return text;
  }
  std::string last = absolute.filename().string();
  if (last.empty()) last = absolute.parent_path().filename().string();
  return NameFromText(GgufStem(last));
}

bool IsRepoPart(std::string_view part) {
  return !part.empty() && part.size() <= 200 && part != "." && part != ".." &&
         std::all_of(part.begin(), part.end(), [](char c) {
           return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '.' || c == '_' ||
                  c == '-';
         });
}

// "org/name" or "name" from the front of `text`; the rest is a file of the repository.
absl::Status TakeRepo(const std::string& text, PullTarget* target) {
  const size_t first = text.find('/');
  const size_t second = first == std::string::npos ? first : text.find('/', first + 1);
  target->repo = text.substr(0, second);
  if (second != std::string::npos) target->file = text.substr(second + 1);
  const std::string_view repo = target->repo;
  const bool good = IsRepoPart(repo.substr(0, first)) &&
                    (first == std::string::npos || IsRepoPart(repo.substr(first + 1)));
  if (!good || (second != std::string::npos && target->file.empty())) {
    return base::InvalidInput({.field = "NAME",
                               .value = text,
                               .expected = "ORGANISATION/MODEL, ORGANISATION/MODEL/FILE.gguf, a "
                                           "path or a short name"});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PullTarget> ParsePullTarget(const std::string& text, HubKind default_hub) {
  PullTarget target = {.hub = default_hub};
  std::string rest = text;
  bool prefixed = false;
  for (const Prefix& prefix : kPrefixes) {
    if (!rest.starts_with(prefix.text)) continue;
    rest.erase(0, std::string_view(prefix.text).size());
    target.hub = prefix.hub;
    prefixed = true;
    break;
  }
  struct stat info = {};
  const bool there =
      stat(text.c_str(), &info) == 0 && (S_ISDIR(info.st_mode) || text.ends_with(".gguf"));
  const bool path_like = !text.empty() && (text[0] == '/' || text[0] == '.' || text[0] == '~');
  if (!prefixed && FindWellKnownModel(text) != nullptr) {
    target.kind = PullTarget::Kind::kWellKnown;
    target.name = FindWellKnownModel(text)->name;
    return target;
  }
  if (!prefixed && (there || path_like)) {
    target.kind = PullTarget::Kind::kLocal;
    target.path = text;
    target.name = NameFromPath(text);
    return target;
  }
  if (!prefixed && text.find('/') == std::string::npos) {
    std::vector<std::string> known;
    for (const WellKnownModel& model : WellKnownModels()) known.emplace_back(model.name);
    if (const auto close = CloseNames(text, known); !close.empty()) {
      return base::InvalidInput({.field = "NAME",
                                 .value = text,
                                 .expected = "a name that is known here",
                                 .hint = "Did you mean '" + close[0] +
                                         "'? A repository of one "
                                         "part is named as hf:" +
                                         text + "."});
    }
  }
  if (const size_t at = rest.find('@'); at != std::string::npos) {
    const size_t slash = rest.find('/', rest.find('/') + 1);
    // "org/repo@rev/file.gguf" and "org/repo/file.gguf@rev" both mean the same.
    std::string revision = rest.substr(at + 1);
    std::string file;
    if (slash > at && revision.ends_with(".gguf")) {
      file = revision.substr(revision.find('/') == std::string::npos ? revision.size()
                                                                     : revision.find('/'));
      revision.resize(revision.size() - file.size());
    }
    target.revision = revision;
    rest = rest.substr(0, at) + file;
    if (revision.empty() || revision.find("..") != std::string::npos) {
      return base::InvalidInput({.field = "revision",
                                 .value = revision,
                                 .expected = "a branch, a tag or a commit after '@'"});
    }
  }
  INHOUSE_RETURN_IF_ERROR(TakeRepo(rest, &target));
  target.name = target.repo;
  if (target.file.ends_with(".gguf")) {
    const std::string stem = GgufStem(target.file);
    const size_t slash = stem.rfind('/');
    target.name += "/" + NameFromText(slash == std::string::npos ? stem : stem.substr(slash + 1));
  }
  return target;
}

}  // namespace inhouse::lifecycle
