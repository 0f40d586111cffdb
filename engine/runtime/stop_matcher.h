// Finds stop strings in a stream of text and holds back what may still become one.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace inhouse::engine {

// One per request; not thread-safe.
class StopMatcher {
 public:
  // Empty strings are ignored. `include` keeps the found string in the text.
  StopMatcher(std::vector<std::string> stops, bool include);

  // The text that is final after `piece` arrived. After a match it ends there, and found() names
  // the stop string.
  std::string Push(std::string_view piece);
  std::string Finish();  // what was held back

  bool stopped() const { return stopped_; }
  const std::string& found() const { return found_; }

 private:
  std::vector<std::string> stops_;
  bool include_;
  bool stopped_ = false;
  std::string found_;
  std::string pending_;
};

}  // namespace inhouse::engine
