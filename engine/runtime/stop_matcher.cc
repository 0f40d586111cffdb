#include "engine/runtime/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace inhouse::engine {

StopMatcher::StopMatcher(std::vector<std::string> stops, bool include)
    : stops_(std::move(stops)), include_(include) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
}

std::string StopMatcher::Push(std::string_view piece) {
  if (stopped_) return {};
  pending_ += piece;
  // The match that starts first wins; of several at one place the longest.
  size_t best = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = pending_.find(stop);
    if (at == std::string::npos || at > best) continue;
    if (at < best || stop.size() > found_.size()) found_ = stop;
    best = at;
  }
  if (best != std::string::npos) {
    stopped_ = true;
    return pending_.substr(0, best + (include_ ? found_.size() : 0));
  }
  size_t hold = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, pending_.size()); n > hold; --n) {
      if (pending_.compare(pending_.size() - n, n, stop, 0, n) == 0) hold = n;
    }
  }
  std::string out = pending_.substr(0, pending_.size() - hold);
  pending_.erase(0, pending_.size() - hold);
  return out;
}

std::string StopMatcher::Finish() { return stopped_ ? std::string() : std::exchange(pending_, {}); }

}  // namespace inhouse::engine
