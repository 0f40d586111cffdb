#include <cstring>

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

uint64_t ProbeReadRef(const std::byte* data, int64_t bytes) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < bytes; i += 8) {
    uint64_t word;
    std::memcpy(&word, data + i, 8);
    sum |= word;
  }
  return sum;
}

// Eight chains of scalars: what plain C++ without vectors reaches.
int64_t ProbeF32Ref(int64_t rounds) {
  float acc[8] = {};
  for (int64_t i = 0; i < rounds; ++i) {
    for (float& a : acc) a = a * 0.5F + 1.0F;
  }
  float sum = 0;
  for (const float a : acc) sum += a;
  // The sum is near 16, so nothing is added; the compiler cannot know.
  return rounds * 16 + (sum > 1e9F ? 1 : 0);
}

int64_t ProbeInt8Ref(int64_t rounds) {
  int32_t acc[8] = {};
  for (int64_t i = 0; i < rounds; ++i) {
    for (int32_t& a : acc) a = static_cast<int8_t>(a) * 3 + 1;
  }
  int32_t sum = 0;
  for (const int32_t a : acc) sum += a;
  return rounds * 16 + (sum == 123456789 ? 1 : 0);
}

}  // namespace inhouse::engine
