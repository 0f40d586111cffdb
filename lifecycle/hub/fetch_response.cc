#include <algorithm>
#include <charconv>
#include <chrono>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/hub/fetcher.h"

namespace inhouse::lifecycle {
namespace {

using Clock = std::chrono::steady_clock;

// Less than this between two failures is not progress: a hub that sends a byte and hangs up must
// not keep us for ever.
constexpr uint64_t kProgressBytes = 64 << 10;
constexpr int kRestartsMax = 5;
constexpr auto kSaveInterval = std::chrono::seconds(3);

// A validator that may stand in If-Range (RFC 9110, 13.1.5): not a weak one.
bool IsStrong(const std::string& etag) { return !etag.empty() && !etag.starts_with("W/"); }

struct ContentRange {
  uint64_t begin = 0;
  uint64_t last = 0;
  std::optional<uint64_t> total = {};
};

// "bytes 0-99/1234"
std::optional<ContentRange> ParseContentRange(const std::string& text) {
  ContentRange range;
  if (!text.starts_with("bytes ")) return {};
  const char* at = text.data() + 6;
  const char* const end = text.data() + text.size();
  const auto number = [&](uint64_t* value, char after) {
    const auto [next, error] = std::from_chars(at, end, *value);
    if (error != std::errc() || (after != '\0' && (next == end || *next != after))) return false;
    at = next + (after != '\0' ? 1 : 0);
    return true;
  };
  if (!number(&range.begin, '-') || !number(&range.last, '/') || range.last < range.begin)
    return {};
  if (std::string_view(at, static_cast<size_t>(end - at)) == "*") return range;
  uint64_t total = 0;
  if (!number(&total, '\0') || at != end) return {};
  range.total = total;
  return range;
}

Failure Transient(std::string text) {
  return {.kind = Failure::Kind::kTransient, .status = absl::UnavailableError(text)};
}
Failure Suspicious(std::string text) {
  return {.kind = Failure::Kind::kSuspicious, .status = absl::DataLossError(text)};
}
Failure Fatal(absl::Status status) {
  return {.kind = Failure::Kind::kFatal, .status = std::move(status)};
}

}  // namespace

HttpRequest Fetcher::RequestFor(Attempt* attempt) {
  const Part& part = *attempt->part;
  const PartRange& range = part.ranges[attempt->range];
  attempt->offset = range.begin + range.done;
  attempt->end = range.end;
  attempt->file = part.file;
  attempt->used_direct = !part.direct.empty();
  HttpRequest request = {.url = part.direct.empty() ? part.remote.url : part.direct,
                         .headers = {"Accept-Encoding: identity"},
                         .credential = plan_.credential};
  attempt->asked_range = part.ranges.size() > 1 || attempt->offset > 0;
  if (attempt->asked_range) {
    request.headers.push_back(fmt::format("Range: bytes={}-{}", attempt->offset, range.end - 1));
    if (IsStrong(part.etag)) request.headers.push_back("If-Range: " + part.etag);
  }
  return request;
}

Failure Fetcher::RunAttempt(HttpClient* client, Task* task) {
  Attempt attempt = {.part = task->part, .range = task->range, .generation = task->generation};
  HttpRequest request;
  {
    const absl::MutexLock lock(&mutex_);
    if (task->part->generation != task->generation) return {.kind = Failure::Kind::kStale};
    request = RequestFor(&attempt);
  }
  const auto response = client->Get(
      request, [&](const HttpResponse& head) { return OnHeaders(head, &attempt); },
      [&](std::span<const std::byte> bytes) { return OnBody(bytes, &attempt); });
  task->generation = attempt.generation;  // AcceptWhole may have begun a new one
  task->range = attempt.range;
  if (attempt.failure.kind != Failure::Kind::kNone) return attempt.failure;
  const absl::MutexLock lock(&mutex_);
  Part& part = *task->part;
  if (part.generation != task->generation) return {.kind = Failure::Kind::kStale};
  if (part.ranges[task->range].complete()) return {};
  if (attempt.used_direct) part.direct.clear();
  if (response.ok()) return Transient(fmt::format("{}: the hub sent too few bytes", WhereIs(part)));
  if (absl::IsCancelled(response.status())) return Fatal(response.status());
  const std::string text = fmt::format("{}: {}", WhereIs(part), base::Message(response.status()));
  if (absl::IsUnavailable(response.status())) return Transient(text);
  return Fatal(absl::Status(response.status().code(), text));
}

bool Fetcher::OnHeaders(const HttpResponse& response, Attempt* attempt) {
  const absl::MutexLock lock(&mutex_);
  if (attempt->part->generation != attempt->generation) {
    attempt->failure.kind = Failure::Kind::kStale;
  } else {
    attempt->failure = CheckHeaders(response, attempt);
  }
  return attempt->failure.kind == Failure::Kind::kNone;
}

Failure Fetcher::CheckHeaders(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  if (response.status != 200 && response.status != 206) return RefusedStatus(response, attempt);
  const std::string encoding = response.Header("content-encoding");
  if (!encoding.empty() && encoding != "identity") {
    return Suspicious(
        fmt::format("{}: the hub sent it as '{}', although the plain bytes were asked "
                    "for",
                    WhereIs(part), encoding));
  }
  // The Hugging Face hub says on its redirect which content it leads to.
  const auto linked_size = response.first_headers.find("x-linked-size");
  if (linked_size != response.first_headers.end() &&
      linked_size->second != std::to_string(part.remote.size)) {
    return Suspicious(fmt::format("{}: the hub lists {} bytes, but offers {}", WhereIs(part),
                                  part.remote.size, linked_size->second));
  }
  const auto linked_etag = response.first_headers.find("x-linked-etag");
  if (linked_etag != response.first_headers.end() && !part.remote.sha256.empty()) {
    std::string tag = linked_etag->second;
    std::erase(tag, '"');
    if (IsSha256(tag) && tag != part.remote.sha256) {
      return Suspicious(fmt::format("{}: the hub lists SHA-256 {}, but offers {}", WhereIs(part),
                                    part.remote.sha256, tag));
    }
  }
  if (response.redirected && part.ranges.size() > 1) part.direct = response.url;
  return response.status == 200 ? AcceptWhole(response, attempt) : AcceptRange(response, attempt);
}

// The whole file comes: as asked for, because the hub ignores ranges, or because the file is
// another one than the part was begun with (If-Range). Everything begins at 0.
Failure Fetcher::AcceptWhole(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  const auto length = response.ContentLength();
  if (length.has_value() && *length != part.remote.size) {
    return Suspicious(fmt::format("{}: wrong length: the hub lists {} bytes, but sends {}",
                                  WhereIs(part), part.remote.size, *length));
  }
  if (attempt->asked_range) {
    if (part.generation > kRestartsMax * 4) {
      return Fatal(absl::DataLossError(fmt::format(
          "{}: it had to be started again {} times; giving up", WhereIs(part), part.generation)));
    }
    const bool changed = !part.etag.empty() && part.etag != response.Header("etag");
    if (part.BytesDone() > 0) {
      notes_.push_back(fmt::format("{}: {}; starting again", WhereIs(part),
                                   changed ? "it changed on the hub" : "the hub does not resume"));
    }
    const int failures = part.ranges[attempt->range].failures;
    const absl::Status status = part.Restart(UINT64_MAX);
    if (!status.ok()) return Fatal(status);
    part.ranges[0].busy = true;
    part.ranges[0].failures = failures;
    attempt->range = 0;
    attempt->generation = part.generation;
    attempt->file = part.file;
  }
  part.etag = response.Header("etag");
  attempt->offset = 0;
  attempt->end = part.remote.size;
  return {};
}

Failure Fetcher::AcceptRange(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  const std::string text = response.Header("content-range");
  const auto range = ParseContentRange(text);
  if (!attempt->asked_range || !range.has_value() || range->begin != attempt->offset ||
      range->last >= attempt->end) {
    return Suspicious(fmt::format("{}: asked for bytes {}-{}, the hub sent Content-Range '{}'",
                                  WhereIs(part), attempt->offset, attempt->end - 1, text));
  }
  if (range->total.has_value() && *range->total != part.remote.size) {
    return Suspicious(fmt::format("{}: wrong length: the hub lists {} bytes, but offers {}",
                                  WhereIs(part), part.remote.size, *range->total));
  }
  const std::string etag = response.Header("etag");
  if (!part.etag.empty() && !etag.empty() && part.etag != etag) {
    if (part.generation > kRestartsMax) {
      return Fatal(absl::DataLossError(
          fmt::format("{}: it keeps changing on the hub while it is fetched", WhereIs(part))));
    }
    const absl::Status status = part.Restart(options_.range_bytes);
    if (!status.ok()) return Fatal(status);
    notes_.push_back(fmt::format("{}: it changed on the hub; starting again", WhereIs(part)));
    return {.kind = Failure::Kind::kStale};
  }
  part.etag = etag;
  part.ranges_work = true;
  return {};
}

Failure Fetcher::RefusedStatus(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  if (attempt->used_direct) {
    // A signed URL has run out, or its host is in trouble: ask the hub for a new one.
    part.direct.clear();
    if (response.status >= 400 && response.status < 429) {
      return Transient(fmt::format("{}: the storage answered {}", WhereIs(part), response.status));
    }
  }
  if (response.status == 416) {
    const absl::Status status = part.Restart(options_.range_bytes);
    if (!status.ok()) return Fatal(status);
    if (part.generation > kRestartsMax) {
      return Fatal(absl::DataLossError(
          fmt::format("{}: the hub does not have the bytes that it lists", WhereIs(part))));
    }
    return {.kind = Failure::Kind::kStale};
  }
  const absl::Status status = HttpStatusError(response, WhereIs(part), plan_.token_hint);
  if (!absl::IsUnavailable(status)) return Fatal(status);
  return {
      .kind = Failure::Kind::kTransient, .status = status, .retry_after = response.RetryAfter()};
}

bool Fetcher::OnBody(std::span<const std::byte> bytes, Attempt* attempt) {
  Part& part = *attempt->part;
  if (bytes.size() > attempt->end - attempt->offset) {
    attempt->failure =
        Suspicious(fmt::format("{}: the hub sends more than the {} bytes that it lists",
                               part.remote.path, part.remote.size));
    return false;
  }
  if (const absl::Status status = attempt->file->Write(attempt->offset, bytes); !status.ok()) {
    attempt->failure = Fatal(status);
    return false;
  }
  attempt->offset += bytes.size();
  fetched_ += bytes.size();
  bool save = false;
  {
    const absl::MutexLock lock(&mutex_);
    if (part.generation != attempt->generation) {
      attempt->failure.kind = Failure::Kind::kStale;
      return false;
    }
    PartRange& range = part.ranges[attempt->range];
    range.done = attempt->offset - range.begin;
    if (range.done >= range.best + kProgressBytes) {
      range.best = range.done;
      range.failures = 0;
    }
    save = Clock::now() - attempt->last_save > kSaveInterval;
  }
  if (save) {
    attempt->last_save = Clock::now();
    SaveState(&part);
  }
  return true;
}

}  // namespace inhouse::lifecycle
