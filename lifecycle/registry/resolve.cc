#include "lifecycle/registry/resolve.h"

#include <sys/stat.h>

#include <algorithm>

#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/registry/names.h"
#include "lifecycle/registry/store.h"

namespace inhouse::lifecycle {
namespace {

// What can only be meant as a path: the store has no such names.
bool LooksLikePath(const std::string& model) {
  return model[0] == '/' || model[0] == '.' || model[0] == '~' || model.ends_with('/') ||
         model.ends_with(".gguf");
}

absl::Status NotInStore(const std::string& model, const Store& store,
                        const std::vector<StoredVersion>& versions) {
  std::vector<std::string> names;
  for (const StoredVersion& version : versions) names.push_back(version.name);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::string hint;
  const std::vector<std::string> close = CloseNames(model, names);
  if (FindWellKnownModel(model) != nullptr ||
      (close.empty() && model.find('/') != std::string::npos)) {
    hint = fmt::format("`inhouse pull {}` fetches it.", model);
  } else if (!close.empty()) {
    hint = fmt::format("Did you mean '{}'?", fmt::join(close, "' or '"));
  } else {
    for (const WellKnownModel& known : WellKnownModels()) names.push_back(known.name);
    const std::vector<std::string> known = CloseNames(model, names);
    hint = known.empty() ? "`inhouse models` lists the store, `inhouse pull NAME` adds to it."
                         : fmt::format("Did you mean `inhouse pull {}`?", known[0]);
  }
  return base::InputError(
      absl::StatusCode::kNotFound,
      {.field = "--model",
       .value = model,
       .expected = "a directory, a .gguf file or a model in the store at " + store.home(),
       .hint = hint});
}

}  // namespace

absl::StatusOr<std::string> ResolveModel(const std::string& model) {
  if (model.empty()) {
    return base::InvalidInput(
        {.field = "--model", .expected = "a directory, a .gguf file or the name of a model"});
  }
  struct stat info = {};
  if (stat(model.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode) || model.ends_with(".gguf")) return model;
    return base::InvalidInput(
        {.file = model,
         .field = "--model",
         .expected = "a directory or a .gguf file",
         .hint = "For safetensors, give the directory that has config.json."});
  }
  if (LooksLikePath(model)) {
    return base::InputError(absl::StatusCode::kNotFound,
                            {.file = model,
                             .field = "--model",
                             .expected = "an existing directory or .gguf file",
                             .hint = "A model of the store is named without a path; `inhouse "
                                     "models` lists them."});
  }
  INHOUSE_ASSIGN_OR_RETURN(const Store store, Store::OpenDefault());
  auto found = store.Find(model);
  if (found.ok()) return found->ModelPath();
  if (!absl::IsNotFound(found.status()) || model.find('@') != std::string::npos) {
    return found.status();
  }
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<StoredVersion> versions, store.List());
  return NotInStore(model, store, versions);
}

}  // namespace inhouse::lifecycle
