// Lists of module names in a config: whole names, and regular expressions behind "re:".
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace inhouse::engine {

class NamePattern;

// Immutable; any thread may ask. An expression must match from the first character on (Python's
// re.match), and gives up, without a match, when it backtracks without end.
class NamePatterns {
 public:
  NamePatterns();
  ~NamePatterns();
  NamePatterns(NamePatterns&&) noexcept;
  NamePatterns& operator=(NamePatterns&&) noexcept;

  // InvalidArgument with what is wrong in an expression; the caller names file and field.
  static absl::StatusOr<NamePatterns> Parse(const std::vector<std::string>& entries);

  bool Matches(std::string_view name) const;
  // Whether an entry that is no expression is exactly `name`.
  bool Lists(std::string_view name) const { return names_.contains(name); }

 private:
  std::set<std::string, std::less<>> names_;
  std::vector<std::unique_ptr<NamePattern>> patterns_;
};

}  // namespace inhouse::engine
