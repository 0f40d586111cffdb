// Who was served least: the measure by which tenants take turns.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

namespace inhouse::engine {

// Counts the work done for each tenant that has something to do. Whoever comes back after a pause
// begins at the level of those that are there: idle time is not saved up, and a debt is not
// forgotten while others wait for its payment. (Sheng et al., Fairness in Serving Large Language
// Models, OSDI 2024, section 4.) Used by the engine thread only.
class FairShare {
 public:
  struct Tenant {
    int64_t served = 0;     // in rows of prompts; a row of an answer counts kAnswerWeight
    int64_t sequences = 0;  // that wait or run
  };

  // Rows of answers are dearer than rows of prompts, of which hundreds share one pass over the
  // weights.
  static constexpr int64_t kAnswerWeight = 2;

  // One more sequence of that tenant; the pointer stays valid until as many have left.
  Tenant* Enter(const std::string& name);
  void Leave(Tenant* tenant);

  int64_t tenants() const { return static_cast<int64_t>(tenants_.size()); }

 private:
  int64_t LeastServed() const;  // of those that have something to do

  std::unordered_map<std::string, Tenant> tenants_;
};

}  // namespace inhouse::engine
