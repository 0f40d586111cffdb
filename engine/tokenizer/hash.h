// Hashes of short strings and id pairs for the flat tables of this room.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace inhouse::engine {

// The two halves of a 128-bit product folded together: one multiplication mixes every bit.
inline uint64_t FoldedMultiply(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

inline constexpr uint64_t kHashSeed = 0x9E3779B97F4A7C15;
inline constexpr uint64_t kHashMultiplier = 0xD1B54A32D192ED03;

inline uint64_t HashBytes(std::string_view bytes) {
  uint64_t hash = kHashSeed ^ bytes.size();
  const char* p = bytes.data();
  size_t left = bytes.size();
  const auto load = [](const char* from, size_t size) {
    uint64_t word = 0;
    std::memcpy(&word, from, size);
    return word;
  };
  for (; left > 8; p += 8, left -= 8) hash = FoldedMultiply(hash ^ load(p, 8), kHashMultiplier);
  uint64_t tail = 0;
  if (left == 8) {
    tail = load(p, 8);
  } else if (left >= 4) {
    tail = load(p, 4) | load(p + left - 4, 4) << 32;
  } else if (left > 0) {
    tail = static_cast<uint64_t>(static_cast<uint8_t>(p[0])) |
           static_cast<uint64_t>(static_cast<uint8_t>(p[left / 2])) << 8 |
           static_cast<uint64_t>(static_cast<uint8_t>(p[left - 1])) << 16;
  }
  return FoldedMultiply(hash ^ tail, kHashMultiplier);
}

inline uint64_t HashPair(uint64_t pair) {
  return FoldedMultiply(pair ^ kHashSeed, kHashMultiplier);
}

}  // namespace inhouse::engine
