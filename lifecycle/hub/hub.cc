#include "lifecycle/hub/hub.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>
#include <utility>

#include "base/file.h"
#include "base/hex.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/registry/manifest.h"
#include "nlohmann/json.hpp"

namespace inhouse::lifecycle {
namespace {

using Json = nlohmann::json;

constexpr size_t kFilesMax = 200000;
constexpr int kPagesMax = 1000;
constexpr uint64_t kBytesMax = 1ULL << 60;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string Trimmed(std::string text) {
  const auto space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && space(text.back())) text.pop_back();
  text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), space));
  return text;
}

// A secret becomes part of a header: no line ends, no control characters.
absl::StatusOr<Credential> BearerCredential(const std::string& token, const std::string& endpoint,
                                            const char* variable) {
  if (token.empty()) return Credential{};
  const bool clean = std::all_of(token.begin(), token.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7f;
  });
  if (!clean) {
    return base::InvalidInput(
        {.field = variable, .expected = "a token of printable ASCII characters without spaces"});
  }
  INHOUSE_ASSIGN_OR_RETURN(std::string origin, UrlOrigin(endpoint));
  return Credential{std::move(origin), "Authorization: Bearer " + token};
}

std::string TextOr(const Json& object, const char* key, const char* fallback) {
  const auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : fallback;
}

absl::Status BadListing(const std::string& what, const std::string& field, const char* expected) {
  return base::InvalidInput({.file = what, .field = field, .expected = expected});
}

bool IsHex(const std::string& text, size_t size) {
  return text.size() == size && base::IsLowerHex(text);
}

absl::StatusOr<uint64_t> SizeOf(const Json& entry, const char* key, const std::string& what,
                                const std::string& path) {
  const auto it = entry.find(key);
  if (it == entry.end() || !it->is_number_unsigned()) {
    return BadListing(what, path + "." + key, "a number of bytes");
  }
  return it->get<uint64_t>();
}

// Adds a listed file after checking what will name files on this disk.
absl::Status AddFile(RemoteFile file, const std::string& what, RemoteSnapshot* snapshot) {
  INHOUSE_RETURN_IF_ERROR(CheckRelativePath(file.path, what));
  if (snapshot->files.size() >= kFilesMax) {
    return BadListing(what, "files", "at most 200000 files");
  }
  if (!file.sha256.empty() && !IsHex(file.sha256, 64)) {
    return BadListing(what, file.path + ".sha256", "64 hexadecimal digits");
  }
  if (!IsHex(file.git_sha1, 40)) file.git_sha1.clear();
  snapshot->files.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status CheckListing(const RemoteSnapshot& snapshot, const std::string& what) {
  std::set<std::string> seen;
  uint64_t total = 0;
  for (const RemoteFile& file : snapshot.files) {
    if (file.size > kBytesMax || (total += file.size) > kBytesMax) {
      return BadListing(what, file.path + ".size", "sizes that a disk can have");
    }
    if (!seen.insert(file.path).second) {
      return base::InvalidInput(
          {.file = what, .field = "path", .value = file.path, .expected = "each path once"});
    }
  }
  return absl::OkStatus();
}

// What both clients share: endpoint, credential, GET of JSON.
class HubBase : public Hub {
 public:
  HubBase(std::string endpoint, Credential credential, HubOptions options)
      : endpoint_(std::move(endpoint)),
        credential_(std::move(credential)),
        options_(std::move(options)),
        client_({.stall_seconds = options_.stall_seconds, .cancelled = options_.cancelled}) {}

  std::string Endpoint() const override { return endpoint_; }
  Credential credential() const override { return credential_; }

 protected:
  struct JsonPage {
    Json json = {};
    HttpResponse http = {};
  };
  absl::StatusOr<JsonPage> GetJson(const std::string& url, const std::string& what) {
    const ApiRequest request = {
        .http = {.url = url, .headers = {"Accept: application/json"}, .credential = credential_},
        .what = what,
        .token_hint = TokenHint()};
    INHOUSE_ASSIGN_OR_RETURN(ApiResponse response, GetApi(&client_, request, options_.retry,
                                                          options_.on_note, options_.cancelled));
    JsonPage page = {.json = Json::parse(response.body, nullptr, /*allow_exceptions=*/false),
                     .http = std::move(response.http)};
    if (page.json.is_discarded()) {
      return base::InvalidInput({.file = PrintableUrl(url),
                                 .expected = "JSON from the hub's API",
                                 .hint = "Is the endpoint right, or did a proxy answer?"});
    }
    return page;
  }

  const std::string endpoint_;
  const Credential credential_;
  const HubOptions options_;
  HttpClient client_;
};

// https://huggingface.co/docs/hub/api: revision -> commit, tree -> files, resolve -> content.
class HuggingFace : public HubBase {
 public:
  using HubBase::HubBase;
  std::string Label() const override { return "hf"; }
  std::string TokenHint() const override {
    return credential_.header.empty() ? "set HF_TOKEN to a token that may read it."
                                      : "check that the token (HF_TOKEN) may read it.";
  }

  absl::StatusOr<RemoteSnapshot> List(const std::string& repo,
                                      const std::string& revision) override {
    const std::string wanted = revision.empty() ? "main" : revision;
    const std::string what = fmt::format("hf:{}@{}", repo, wanted);
    const std::string api = endpoint_ + "/api/models/" + UrlEncode(repo, KeepSlash::kYes);
    INHOUSE_ASSIGN_OR_RETURN(const JsonPage info,
                             GetJson(api + "/revision/" + UrlEncode(wanted), what));
    if (!info.json.is_object()) return BadListing(what, "revision", "a JSON object");
    RemoteSnapshot snapshot = {.commit = TextOr(info.json, "sha", "")};
    if (!IsHex(snapshot.commit, 40)) return BadListing(what, "sha", "a commit of 40 digits");
    std::string url = api + "/tree/" + snapshot.commit + "?recursive=true";
    INHOUSE_ASSIGN_OR_RETURN(const std::string origin, UrlOrigin(endpoint_));
    for (int page = 0; !url.empty(); ++page) {
      if (page >= kPagesMax) return BadListing(what, "tree", "at most 1000 pages");
      INHOUSE_ASSIGN_OR_RETURN(const JsonPage tree, GetJson(url, what));
      INHOUSE_RETURN_IF_ERROR(AddTree(tree.json, repo, what, &snapshot));
      url = NextPage(tree.http);
      if (!url.empty() && UrlOrigin(url).value_or("") != origin) {
        return BadListing(what, "Link", "a next page on the same host");
      }
    }
    INHOUSE_RETURN_IF_ERROR(CheckListing(snapshot, what));
    return snapshot;
  }

 private:
  // Link: <https://...>; rel="next"
  std::string NextPage(const HttpResponse& response) const {
    const std::string link = response.Header("link");
    const size_t rel = link.find("rel=\"next\"");
    const size_t open = link.rfind('<', rel);
    const size_t close = link.find('>', open == std::string::npos ? 0 : open);
    if (rel == std::string::npos || open == std::string::npos || close == std::string::npos ||
        close > rel) {
      return "";
    }
    const std::string target = link.substr(open + 1, close - open - 1);
    return target.starts_with('/') ? endpoint_ + target : target;
  }

  absl::Status AddTree(const Json& tree, const std::string& repo, const std::string& what,
                       RemoteSnapshot* snapshot) const {
    if (!tree.is_array()) return BadListing(what, "tree", "a list");
    for (const Json& entry : tree) {
      if (!entry.is_object()) return BadListing(what, "tree", "a list of objects");
      if (TextOr(entry, "type", "file") != "file") continue;
      RemoteFile file = {.path = TextOr(entry, "path", "")};
      const auto lfs = entry.find("lfs");
      if (lfs != entry.end() && lfs->is_object()) {
        INHOUSE_ASSIGN_OR_RETURN(file.size, SizeOf(*lfs, "size", what, file.path + ".lfs"));
        file.sha256 = TextOr(*lfs, "oid", "");
        if (file.sha256.starts_with("sha256:")) file.sha256.erase(0, 7);
        if (file.sha256.empty()) return BadListing(what, file.path + ".lfs.oid", "a SHA-256");
      } else {
        INHOUSE_ASSIGN_OR_RETURN(file.size, SizeOf(entry, "size", what, file.path));
        file.git_sha1 = TextOr(entry, "oid", "");
      }
      file.url = fmt::format("{}/{}/resolve/{}/{}", endpoint_, UrlEncode(repo, KeepSlash::kYes),
                             snapshot->commit, UrlEncode(file.path, KeepSlash::kYes));
      INHOUSE_RETURN_IF_ERROR(AddFile(std::move(file), what, snapshot));
    }
    return absl::OkStatus();
  }
};

// The API of www.modelscope.cn: {"Code": 200, "Success": true, "Data": {"Files": [...]}}.
class ModelScope : public HubBase {
 public:
  using HubBase::HubBase;
  std::string Label() const override { return "modelscope"; }
  std::string TokenHint() const override {
    return credential_.header.empty() ? "set MODELSCOPE_API_TOKEN to a token that may read it."
                                      : "check that the token (MODELSCOPE_API_TOKEN) may read it.";
  }

  absl::StatusOr<RemoteSnapshot> List(const std::string& repo,
                                      const std::string& revision) override {
    const std::string wanted = revision.empty() ? "master" : revision;
    const std::string what = fmt::format("modelscope:{}@{}", repo, wanted);
    const std::string api =
        fmt::format("{}/api/v1/models/{}/repo", endpoint_, UrlEncode(repo, KeepSlash::kYes));
    INHOUSE_ASSIGN_OR_RETURN(
        const JsonPage page,
        GetJson(fmt::format("{}/files?Revision={}&Recursive=true", api, UrlEncode(wanted)), what));
    const Json& json = page.json;
    if (!json.is_object()) return BadListing(what, "answer", "a JSON object");
    if (const auto code = json.find("Code"); code != json.end() && *code != 200) {
      return absl::NotFoundError(fmt::format("{}: ModelScope answered code {}: {}", what,
                                             code->dump().substr(0, 20),
                                             TextOr(json, "Message", "").substr(0, 300)));
    }
    const auto data = json.find("Data");
    if (data == json.end() || !data->is_object()) return BadListing(what, "Data", "an object");
    const auto files = data->find("Files");
    if (files == data->end() || !files->is_array()) return BadListing(what, "Data.Files", "a list");
    RemoteSnapshot snapshot;
    if (IsHex(wanted, 40)) snapshot.commit = wanted;
    for (const Json& entry : *files) {
      if (!entry.is_object()) return BadListing(what, "Data.Files", "a list of objects");
      if (TextOr(entry, "Type", "blob") == "tree") continue;
      RemoteFile file = {.path = TextOr(entry, "Path", ""), .sha256 = TextOr(entry, "Sha256", "")};
      INHOUSE_ASSIGN_OR_RETURN(file.size, SizeOf(entry, "Size", what, file.path));
      file.url =
          fmt::format("{}?Revision={}&FilePath={}", api, UrlEncode(wanted), UrlEncode(file.path));
      INHOUSE_RETURN_IF_ERROR(AddFile(std::move(file), what, &snapshot));
    }
    INHOUSE_RETURN_IF_ERROR(CheckListing(snapshot, what));
    return snapshot;
  }
};

absl::StatusOr<std::string> HuggingFaceToken() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (std::string token = Trimmed(Environment(name)); !token.empty()) return token;
  }
  std::string path = Environment("HF_TOKEN_PATH");
  if (path.empty() && !Environment("HF_HOME").empty()) path = Environment("HF_HOME") + "/token";
  if (path.empty()) {
    std::string cache = Environment("XDG_CACHE_HOME");
    if (cache.empty()) cache = Environment("HOME") + "/.cache";
    path = cache + "/huggingface/token";
  }
  const auto content = base::ReadFile(path, 4096);
  if (absl::IsNotFound(content.status())) return std::string();
  if (!content.ok()) return content.status();
  return Trimmed(*content);
}

absl::StatusOr<std::string> CheckedEndpoint(std::string endpoint, const char* variable) {
  if (endpoint.find("://") == std::string::npos) endpoint = "https://" + endpoint;
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (!UrlOrigin(endpoint).ok()) {
    return base::InvalidInput({.field = variable,
                               .value = PrintableUrl(endpoint),
                               .expected = "a URL as https://huggingface.co"});
  }
  return endpoint;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Hub>> OpenHub(HubKind kind, const HubOptions& options) {
  std::string endpoint = options.endpoint;
  if (kind == HubKind::kHuggingFace) {
    if (endpoint.empty()) endpoint = Environment("HF_ENDPOINT");
    if (endpoint.empty()) endpoint = "https://huggingface.co";
    INHOUSE_ASSIGN_OR_RETURN(endpoint, CheckedEndpoint(endpoint, "HF_ENDPOINT"));
    INHOUSE_ASSIGN_OR_RETURN(const std::string token, HuggingFaceToken());
    INHOUSE_ASSIGN_OR_RETURN(Credential secret, BearerCredential(token, endpoint, "HF_TOKEN"));
    return std::make_unique<HuggingFace>(endpoint, std::move(secret), options);
  }
  if (endpoint.empty()) endpoint = Environment("MODELSCOPE_ENDPOINT");
  if (endpoint.empty()) endpoint = Environment("MODELSCOPE_DOMAIN");
  if (endpoint.empty()) endpoint = "https://www.modelscope.cn";
  INHOUSE_ASSIGN_OR_RETURN(endpoint, CheckedEndpoint(endpoint, "MODELSCOPE_ENDPOINT"));
  INHOUSE_ASSIGN_OR_RETURN(Credential secret,
                           BearerCredential(Trimmed(Environment("MODELSCOPE_API_TOKEN")), endpoint,
                                            "MODELSCOPE_API_TOKEN"));
  return std::make_unique<ModelScope>(endpoint, std::move(secret), options);
}

}  // namespace inhouse::lifecycle
