// What a machine's facts mean for inference: the judgement of `inhouse doctor`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "apps/inhouse/machine_facts.h"

namespace inhouse::apps {

enum class CheckStatus : uint8_t {
  kGood,
  kNote,  // worth knowing
  kSlow,  // costs speed or reliability
};

struct Check {
  std::string name = {};
  CheckStatus status = CheckStatus::kGood;
  std::string message = {};  // what is the case
  std::string advice = {};   // what to do; "" = nothing
};

// What was measured or found besides the facts.
struct Findings {
  std::string best_isa = {};    // of the kernels
  int threads = 0;              // used by default
  double busy_fraction = 0;     // of all CPUs, by others, before the measurement
  double stolen_fraction = 0;   // by the hypervisor, during the measurement
  double memory_read_gb_s = 0;  // all threads; 0 = not measured
  double memory_read_gb_s_1_thread = 0;
  std::string store = {};  // directory
  std::optional<uint64_t> store_free = {};
};

std::vector<Check> CheckMachine(const MachineFacts& facts, const Findings& findings);

}  // namespace inhouse::apps
