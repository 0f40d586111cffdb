// What the clients of model hubs have in common: a repository at a revision is a list of files.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lifecycle/hub/http.h"
#include "lifecycle/hub/retry.h"

namespace inhouse::lifecycle {

struct RemoteFile {
  std::string path = {};  // checked by CheckRelativePath
  uint64_t size = 0;
  std::string sha256 = {};    // "" if the hub does not say
  std::string git_sha1 = {};  // of the git blob; "" if the hub does not say
  std::string url = {};       // where it is fetched
};

struct RemoteSnapshot {
  std::string commit = {};  // "" if the hub does not say
  std::vector<RemoteFile> files = {};
};

enum class HubKind : uint8_t { kHuggingFace, kModelScope };

// What a client needs besides the repository. `on_note` and `cancelled` may be empty.
struct HubOptions {
  std::string endpoint = {};  // "" = the environment's, else the public one
  RetryPolicy retry = {};
  double stall_seconds = 60;
  std::function<void(const std::string&)> on_note = {};
  std::function<bool()> cancelled = {};
};

// One repository host. Owned by one thread.
class Hub {
 public:
  virtual ~Hub() = default;
  virtual std::string Label() const = 0;     // "hf", "modelscope"
  virtual std::string Endpoint() const = 0;  // without a slash at the end
  virtual std::string TokenHint() const = 0;
  virtual Credential credential() const = 0;

  // All files of `repo` at `revision` ("" = the hub's main line).
  virtual absl::StatusOr<RemoteSnapshot> List(const std::string& repo,
                                              const std::string& revision) = 0;
};

// Reads the endpoint and the token from the environment: HF_ENDPOINT, HF_TOKEN,
// HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH, HF_HOME, ~/.cache/huggingface/token; MODELSCOPE_ENDPOINT,
// MODELSCOPE_DOMAIN, MODELSCOPE_API_TOKEN.
absl::StatusOr<std::unique_ptr<Hub>> OpenHub(HubKind kind, const HubOptions& options);

}  // namespace inhouse::lifecycle
