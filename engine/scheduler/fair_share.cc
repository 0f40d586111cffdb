#include "engine/scheduler/fair_share.h"

#include <algorithm>
#include <limits>

#include "base/check.h"

namespace inhouse::engine {

int64_t FairShare::LeastServed() const {
  int64_t least = std::numeric_limits<int64_t>::max();
  for (const auto& [name, tenant] : tenants_) {
    if (tenant.sequences > 0) least = std::min(least, tenant.served);
  }
  return least == std::numeric_limits<int64_t>::max() ? 0 : least;
}

FairShare::Tenant* FairShare::Enter(const std::string& name) {
  const int64_t least = LeastServed();
  Tenant& tenant = tenants_[name];
  if (tenant.sequences++ == 0) tenant.served = std::max(tenant.served, least);
  return &tenant;
}

void FairShare::Leave(Tenant* tenant) {
  INHOUSE_CHECK(tenant->sequences > 0, "a tenant leaves as often as it came");
  if (--tenant->sequences > 0) return;
  // Whoever has nothing to do and owes nothing would begin at this level anyway.
  const bool nobody =
      std::ranges::all_of(tenants_, [](const auto& entry) { return entry.second.sequences == 0; });
  const int64_t least = LeastServed();
  std::erase_if(tenants_, [nobody, least](const auto& entry) {
    return entry.second.sequences == 0 && (nobody || entry.second.served <= least);
  });
}

}  // namespace inhouse::engine
