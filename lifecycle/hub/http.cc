#include "lifecycle/hub/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <mutex>

#include "absl/cleanup/cleanup.h"
#include "base/check.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::lifecycle {
namespace {

constexpr int kHopsMax = 10;
constexpr size_t kHeaderBytesMax = 256 << 10;
constexpr size_t kRedirectBytesMax = 1 << 20;
constexpr size_t kAnswerBytesMax = 1 << 20;

void GlobalInit() {
  static std::once_flag once;
  std::call_once(once, [] {
    INHOUSE_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK, "libcurl starts");
  });
}

std::string LowerCase(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// One part of a URL, "" if there is none.
std::string UrlPart(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || text == nullptr) return "";
  std::string out = text;
  curl_free(text);
  return out;
}

// Organisations that inspect TLS put their authority where these variables say; the curl tool and
// Python's clients read them too.
const char* AuthorityFile() {
  for (const char* name : {"CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return nullptr;
}

// Errors of the transfer that a second attempt does not cure.
bool StaysWrong(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_OUT_OF_MEMORY:
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::StatusOr<std::string> UrlOrigin(const std::string& url) {
  CURLU* parsed = curl_url();
  const absl::Cleanup closer = [parsed] { curl_url_cleanup(parsed); };
  const CURLUcode code = curl_url_set(parsed, CURLUPART_URL, url.c_str(), 0);
  const std::string scheme = LowerCase(UrlPart(parsed, CURLUPART_SCHEME));
  const std::string host = LowerCase(UrlPart(parsed, CURLUPART_HOST));
  if (code != CURLUE_OK || host.empty() || (scheme != "http" && scheme != "https")) {
    return base::InvalidInput({.field = "URL",
                               .value = code == CURLUE_OK ? PrintableUrl(url) : url,
                               .expected = "http://host or https://host"});
  }
  return fmt::format("{}://{}:{}", scheme, host,
                     UrlPart(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT));
}

std::string PrintableUrl(const std::string& url) {
  CURLU* parsed = curl_url();
  const absl::Cleanup closer = [parsed] { curl_url_cleanup(parsed); };
  if (curl_url_set(parsed, CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return "(not a URL)";
  for (const CURLUPart part :
       {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT}) {
    curl_url_set(parsed, part, nullptr, 0);
  }
  return UrlPart(parsed, CURLUPART_URL);
}

std::string UrlEncode(std::string_view text, KeepSlash slash) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = (byte < 0x80 && std::isalnum(byte) != 0) || c == '-' || c == '.' ||
                       c == '_' || c == '~' || (c == '/' && slash == KeepSlash::kYes);
    if (plain) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

std::string HttpResponse::Header(const std::string& lower_case_name) const {
  const auto it = headers.find(lower_case_name);
  return it == headers.end() ? "" : it->second;
}

std::optional<uint64_t> HttpResponse::ContentLength() const {
  const std::string text = Header("content-length");
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

std::optional<double> HttpResponse::RetryAfter() const {
  const std::string text = Header("retry-after");
  if (text.empty()) return {};
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size()) {
    if (!std::isfinite(seconds) || seconds < 0) return {};
    return seconds;
  }
  const std::time_t when = curl_getdate(text.c_str(), nullptr);
  if (when == -1) return {};
  return std::max(0.0, std::difftime(when, std::time(nullptr)));
}

// One request and its response; the callbacks of libcurl see it.
struct HttpClient::Hop {
  HttpClient* client;
  CURL* curl;
  const OnHeaders* on_headers;
  const OnBody* on_body;
  const std::string* post_body = nullptr;  // null: GET
  HttpResponse response = {};
  size_t header_bytes = 0;
  size_t redirect_bytes = 0;
  bool headers_done = false;
  bool gave_up = false;
  bool cancelled = false;

  bool IsRedirect() const {
    const long s = response.status;
    return (s == 301 || s == 302 || s == 303 || s == 307 || s == 308) &&
           !response.Header("location").empty();
  }
};

HttpClient::HttpClient(Options options) : options_(std::move(options)) {
  GlobalInit();
  curl_ = curl_easy_init();
  INHOUSE_CHECK(curl_ != nullptr, "libcurl gives a handle");
}

HttpClient::~HttpClient() { curl_easy_cleanup(curl_); }

size_t HttpClient::OnHeaderLine(char* data, size_t size, size_t count, void* user) {
  auto* hop = static_cast<Hop*>(user);
  std::string_view line(data, size * count);
  hop->header_bytes += line.size();
  if (hop->header_bytes > kHeaderBytesMax) return 0;
  while (line.ends_with('\n') || line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // also after a 100 Continue or a proxy's CONNECT answer
    hop->response.headers.clear();
    hop->headers_done = false;
  } else if (const size_t colon = line.find(':'); colon != std::string_view::npos) {
    std::string_view value = line.substr(colon + 1);
    while (value.starts_with(' ') || value.starts_with('\t')) value.remove_prefix(1);
    while (value.ends_with(' ') || value.ends_with('\t')) value.remove_suffix(1);
    hop->response.headers[LowerCase(std::string(line.substr(0, colon)))] = std::string(value);
  }
  return size * count;
}

size_t HttpClient::OnBodyBytes(char* data, size_t size, size_t count, void* user) {
  auto* hop = static_cast<Hop*>(user);
  const size_t bytes = size * count;
  if (hop->client->options_.cancelled && hop->client->options_.cancelled()) {
    hop->cancelled = true;
    return CURL_WRITEFUNC_ERROR;
  }
  if (!hop->headers_done) {
    hop->headers_done = true;
    curl_easy_getinfo(hop->curl, CURLINFO_RESPONSE_CODE, &hop->response.status);
    if (!hop->IsRedirect() && !(*hop->on_headers)(hop->response)) hop->gave_up = true;
  }
  if (hop->IsRedirect()) {  // nobody wants the body of a redirect, and nobody waits for a huge one
    hop->redirect_bytes += bytes;
    return hop->redirect_bytes > kRedirectBytesMax ? size_t{CURL_WRITEFUNC_ERROR} : bytes;
  }
  if (!hop->gave_up && !(*hop->on_body)(std::as_bytes(std::span(data, bytes)))) {
    hop->gave_up = true;
  }
  return hop->gave_up ? size_t{CURL_WRITEFUNC_ERROR} : bytes;
}

int HttpClient::OnProgress(void* user, int64_t, int64_t, int64_t, int64_t) {
  auto* hop = static_cast<Hop*>(user);
  if (hop->client->options_.cancelled && hop->client->options_.cancelled()) {
    hop->cancelled = true;
    return 1;
  }
  return 0;
}

absl::Status HttpClient::RunHop(Hop* hop, const std::vector<std::string>& headers) {
  CURL* curl = curl_;
  curl_easy_reset(curl);  // keeps the connections
  curl_slist* list = nullptr;
  const absl::Cleanup closer = [&list] { curl_slist_free_all(list); };
  for (const std::string& header : headers) list = curl_slist_append(list, header.c_str());
  char message[CURL_ERROR_SIZE] = {};
  curl_easy_setopt(curl, CURLOPT_URL, hop->response.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "inhouse/0.1");
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options_.connect_seconds * 1000));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                   static_cast<long>(std::max(1.0, std::ceil(options_.stall_seconds))));
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 512L << 10);
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, &HttpClient::OnHeaderLine);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, hop);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &HttpClient::OnBodyBytes);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, hop);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &HttpClient::OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, hop);
  if (hop->post_body != nullptr) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, hop->post_body->data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(hop->post_body->size()));
  }
  if (const char* file = AuthorityFile()) curl_easy_setopt(curl, CURLOPT_CAINFO, file);
  const CURLcode code = curl_easy_perform(curl);
  if (hop->cancelled) return absl::CancelledError("cancelled");
  if (hop->gave_up) return absl::AbortedError("given up by the reader");
  if (code == CURLE_OK) {
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &hop->response.status);
    if (!hop->headers_done && !hop->IsRedirect() && !(*hop->on_headers)(hop->response)) {
      return absl::AbortedError("given up by the reader");  // a response without a body
    }
    return absl::OkStatus();
  }
  const std::string text = fmt::format("{}: {}", PrintableUrl(hop->response.url),
                                       message[0] != '\0' ? message : curl_easy_strerror(code));
  if (StaysWrong(code)) return absl::InvalidArgumentError(text);
  return absl::UnavailableError(text);
}

absl::StatusOr<HttpResponse> HttpClient::Get(const HttpRequest& request,
                                             const OnHeaders& on_headers, const OnBody& on_body) {
  std::string url = request.url;
  std::map<std::string, std::string> first_headers;
  for (int hops = 0; hops < kHopsMax; ++hops) {
    INHOUSE_ASSIGN_OR_RETURN(const std::string origin, UrlOrigin(url));
    std::vector<std::string> headers = request.headers;
    if (!request.credential.origin.empty() && origin == request.credential.origin) {
      headers.push_back(request.credential.header);
    }
    Hop hop = {.client = this, .curl = curl_, .on_headers = &on_headers, .on_body = &on_body};
    hop.response.url = url;
    hop.response.redirected = hops > 0;
    hop.response.first_headers = first_headers;
    INHOUSE_RETURN_IF_ERROR(RunHop(&hop, headers));
    if (hops == 0) {
      first_headers = hop.response.headers;
      hop.response.first_headers = first_headers;
    }
    if (!hop.IsRedirect()) return std::move(hop.response);
    char* next = nullptr;
    curl_easy_getinfo(curl_, CURLINFO_REDIRECT_URL, &next);
    if (next == nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("{}: a redirect to something that is no URL", PrintableUrl(url)));
    }
    if (url.starts_with("https:") && !std::string_view(next).starts_with("https:")) {
      return absl::InvalidArgumentError(fmt::format("{}: refused a redirect from https to {}",
                                                    PrintableUrl(url), PrintableUrl(next)));
    }
    url = next;
  }
  return absl::InvalidArgumentError(
      fmt::format("{}: more than {} redirects", PrintableUrl(request.url), kHopsMax));
}

absl::StatusOr<HttpClient::Answer> HttpClient::Ask(const HttpRequest& request,
                                                   const std::string* post_body) {
  INHOUSE_RETURN_IF_ERROR(UrlOrigin(request.url).status());
  Answer answer;
  const OnHeaders on_headers = [](const HttpResponse&) { return true; };
  const OnBody on_body = [&answer](std::span<const std::byte> piece) {
    const size_t size = std::min(piece.size(), kAnswerBytesMax - answer.body.size());
    answer.body.append(reinterpret_cast<const char*>(piece.data()), size);
    return true;
  };
  Hop hop = {.client = this,
             .curl = curl_,
             .on_headers = &on_headers,
             .on_body = &on_body,
             .post_body = post_body};
  hop.response.url = request.url;
  INHOUSE_RETURN_IF_ERROR(RunHop(&hop, request.headers));
  answer.status = hop.response.status;
  answer.retry_after_seconds = hop.response.RetryAfter().value_or(0);
  return answer;
}

absl::StatusOr<HttpClient::Answer> HttpClient::Post(const HttpRequest& request,
                                                    const std::string& body) {
  return Ask(request, &body);
}

absl::StatusOr<HttpClient::Answer> HttpClient::Fetch(const HttpRequest& request) {
  return Ask(request, nullptr);
}

}  // namespace inhouse::lifecycle
