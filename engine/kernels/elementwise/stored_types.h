// Stored element types of the KV cache that are not C++ types: a vector's Load and Store are
// overloaded on them. No functions here: the header is part of units for one ISA level.
#pragma once

#include <cstdint>

namespace inhouse::engine {

struct Bf16 {
  uint16_t bits;
};

// As a vector's Load sees it: the code's value times 2^-8, which is what costs least. Whoever loads
// multiplies by kE4M3Load once, after the sums.
struct E4M3 {
  uint8_t bits;
};
inline constexpr float kE4M3Load = 256.0F;

}  // namespace inhouse::engine
