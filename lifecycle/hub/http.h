// HTTP GET through libcurl, as hubs need it, and POST to a service of one's own: redirects are
// followed by hand, so that credentials never leave the origin that they are for, and the headers
// of every hop can be read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace inhouse::lifecycle {

// "https://host:port" of a URL, lower case, the port always written. InvalidArgument for anything
// but http and https.
absl::StatusOr<std::string> UrlOrigin(const std::string& url);

// Without user, password, query and fragment: signed URLs and passwords do not belong into
// messages.
std::string PrintableUrl(const std::string& url);

// Percent-encodes everything but RFC 3986's unreserved characters and, if asked for, '/'.
enum class KeepSlash : bool { kNo, kYes };
std::string UrlEncode(std::string_view text, KeepSlash slash = KeepSlash::kNo);

// A secret header that goes to one origin only.
struct Credential {
  std::string origin = {};  // as UrlOrigin spells it; "" = no credential
  std::string header = {};  // "Authorization: Bearer ..."
};

struct HttpRequest {
  std::string url = {};
  std::vector<std::string> headers = {};
  Credential credential = {};
};

// What came back. Header names are in lower case; of several values the last counts.
struct HttpResponse {
  long status = 0;
  std::map<std::string, std::string> headers = {};        // of the last hop
  std::map<std::string, std::string> first_headers = {};  // of the first hop
  std::string url = {};                                   // of the last hop
  bool redirected = false;

  std::string Header(const std::string& lower_case_name) const;
  std::optional<uint64_t> ContentLength() const;
  // Retry-After in seconds, from either form (a number or a date); nothing if absent or nonsense.
  std::optional<double> RetryAfter() const;
};

// One easy handle: keeps its connection between requests. One thread.
class HttpClient {
 public:
  struct Options {
    double connect_seconds = 30;
    double stall_seconds = 60;        // without a byte
    std::function<bool()> cancelled;  // polled about once a second and at every piece of body
  };

  explicit HttpClient(Options options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Called once with the headers of the last hop, before its body; false gives up the transfer.
  using OnHeaders = std::function<bool(const HttpResponse&)>;
  // False gives up the transfer.
  using OnBody = std::function<bool(std::span<const std::byte>)>;

  // OK once the whole response has arrived, whatever its status. Unavailable for what may be better
  // the next time (no connection, cut, stalled), Cancelled if `cancelled` said so, Aborted if a
  // callback gave up, InvalidArgument for what stays wrong (a redirect loop, a bad URL, a
  // certificate that is not trusted).
  absl::StatusOr<HttpResponse> Get(const HttpRequest& request, const OnHeaders& on_headers,
                                   const OnBody& on_body);

  // The same without redirects: who asks for a change says where. The first MiB of the answer.
  struct Answer {
    long status = 0;
    std::string body = {};
    double retry_after_seconds = 0;  // 0: the answer does not say
  };
  absl::StatusOr<Answer> Post(const HttpRequest& request, const std::string& body);
  absl::StatusOr<Answer> Fetch(const HttpRequest& request);

 private:
  struct Hop;
  static size_t OnHeaderLine(char* data, size_t size, size_t count, void* user);
  static size_t OnBodyBytes(char* data, size_t size, size_t count, void* user);
  static int OnProgress(void* user, int64_t, int64_t, int64_t, int64_t);
  absl::StatusOr<Answer> Ask(const HttpRequest& request, const std::string* post_body);
  absl::Status RunHop(Hop* hop, const std::vector<std::string>& headers);

  Options options_;
  void* curl_;
};

}  // namespace inhouse::lifecycle
