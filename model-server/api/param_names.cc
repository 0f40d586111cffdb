#include "model-server/api/param_names.h"

namespace inhouse::model_server {
namespace {

// Whether `path` is `name` or lies inside of it.
bool IsWithin(const std::string& path, const std::string& name) {
  if (!path.starts_with(name)) return false;
  return path.size() == name.size() || path[name.size()] == '.' || path[name.size()] == '[';
}

}  // namespace

void UseClientNames(const ParamNames& names, ApiError* error) {
  for (const auto& [ours, theirs] : names) {
    if (!IsWithin(error->param, ours)) continue;
    const std::string old = error->param;
    error->param = theirs + old.substr(ours.size());
    // Messages put names in quotes.
    for (size_t at = error->message.find("'" + old); at != std::string::npos;
         at = error->message.find("'" + old, at + 1)) {
      error->message.replace(at + 1, old.size(), error->param);
    }
    return;
  }
}

}  // namespace inhouse::model_server
