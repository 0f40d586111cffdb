#include "monitoring/traces/trace_context.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>

#include "base/hex.h"
#include "fmt/format.h"

namespace inhouse::monitoring {
namespace {

constexpr size_t kTracestateBytesMax = 512;
constexpr size_t kTraceDigits = 32;
constexpr size_t kSpanDigits = 16;

bool IsZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

uint64_t Random() {
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  uint64_t value = 0;
  while (value == 0) value = generator();  // an id of zeros is none
  return value;
}

}  // namespace

// "00-<trace>-<parent>-<flags>"; a later version may have more behind it.
std::optional<TraceContext> ParseTraceparent(std::string_view header) {
  constexpr size_t kLength = 55;
  if (header.size() < kLength || header[2] != '-' || header[35] != '-' || header[52] != '-') {
    return std::nullopt;
  }
  const std::string_view version = header.substr(0, 2);
  const std::string_view trace = header.substr(3, kTraceDigits);
  const std::string_view span = header.substr(36, kSpanDigits);
  const std::string_view flags = header.substr(53, 2);
  if (!base::IsLowerHex(version) || version == "ff" || !base::IsLowerHex(trace) || IsZero(trace) ||
      !base::IsLowerHex(span) || IsZero(span) || !base::IsLowerHex(flags)) {
    return std::nullopt;
  }
  if (header.size() > kLength && (version == "00" || header[kLength] != '-')) return std::nullopt;
  const char last = flags[1];
  const int bits = last <= '9' ? last - '0' : last - 'a' + 10;
  return TraceContext{std::string(trace), std::string(span), (bits & 1) != 0};
}

std::string CleanTracestate(std::string_view header) {
  const bool clean = header.size() <= kTracestateBytesMax &&
                     std::all_of(header.begin(), header.end(),
                                 [](char c) { return c == '\t' || (c >= ' ' && c <= '~'); });
  return clean ? std::string(header) : "";
}

std::string NewTraceId() { return fmt::format("{:016x}{:016x}", Random(), Random()); }
std::string NewSpanId() { return fmt::format("{:016x}", Random()); }

bool Sampler::Keep(std::string_view trace_id, const std::optional<TraceContext>& parent) const {
  if (parent_based && parent) return parent->sampled;
  switch (root) {
    case Root::kAlways:
      return true;
    case Root::kNever:
      return false;
    case Root::kRatio:
      break;
  }
  // By the trace id, so that every service that sees the trace decides alike: the low 63 of its
  // last 64 bits, as the SDKs of OpenTelemetry compare them.
  uint64_t low = 0;
  const std::string_view digits = trace_id.substr(kTraceDigits - 16);
  std::from_chars(digits.data(), digits.data() + digits.size(), low, 16);
  if (ratio >= 1) return true;
  return static_cast<double>(low >> 1) < std::ldexp(std::max(ratio, 0.0), 63);
}

std::optional<Sampler> SamplerByName(std::string_view name, double ratio) {
  using enum Sampler::Root;
  Sampler sampler{.ratio = ratio};
  constexpr std::string_view kParent = "parentbased_";
  sampler.parent_based = name.starts_with(kParent);
  if (sampler.parent_based) name.remove_prefix(kParent.size());
  if (name == "always_on") {
    sampler.root = kAlways;
  } else if (name == "always_off") {
    sampler.root = kNever;
  } else if (name == "traceidratio") {
    sampler.root = kRatio;
  } else {
    return std::nullopt;
  }
  return sampler;
}

}  // namespace inhouse::monitoring
