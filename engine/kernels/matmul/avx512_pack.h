// Packing a panel's 32 rows together: words of 32 bits change from row order to panel order by
// 16 x 16 transposes in registers. Source rows may be misaligned; nothing is read outside of them.
#pragma once

#include "engine/kernels/matmul/avx512_codes.h"
#include "engine/kernels/matmul/avx512_vector.h"

namespace inhouse::engine {
namespace {

constexpr int kLine = 64;
// Prefetch distance in each of the 32 rows, which are more streams than the hardware follows. A
// longer one evicts what it fetched: rows of 4 KiB and its multiples share their cache sets.
constexpr int64_t kPackAhead = 256;

// What missing rows of a panel are packed from: at least as long as any block.
alignas(64) constexpr std::byte kZeroBlock[256] = {};

// The same block of each row of a panel.
struct BlockRows {
  const std::byte* at[kPanelRows];
  BlockRows(const std::byte* const* rows, int n_rows, int64_t offset) {
    for (int r = 0; r < kPanelRows; ++r) at[r] = r < n_rows ? rows[r] + offset : kZeroBlock;
  }
};

// Asks for what the rows need kPackAhead bytes later, when a block has taken `bytes` of each.
INHOUSE_INLINE void PrefetchRows(const BlockRows& rows, int bytes) {
  for (int at = 0; at < bytes; at += kLine) {
    for (int r = 0; r < kPanelRows; ++r) Prefetch(rows.at[r] + kPackAhead + at);
  }
}

// Whole lines of a panel go past the caches: nobody reads them before the load is done.
INHOUSE_INLINE void Put(std::byte* p, __m512i v) {
  _mm512_stream_si512(reinterpret_cast<__m512i*>(p), v);
}
// After the last Put of a panel: other threads see it before whatever is stored later.
INHOUSE_INLINE void PutsAreDone() { _mm_sfence(); }
INHOUSE_INLINE void Put32(std::byte* p, __m256i v) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), v);
}
INHOUSE_INLINE __m256i Load32(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
INHOUSE_INLINE __m128i Load16(const std::byte* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// 4 x 4 words in each 16-byte lane: word j of v[i] becomes word i of v[j].
INHOUSE_INLINE void TransposeLanes(__m512i& a, __m512i& b, __m512i& c, __m512i& d) {
  const __m512i ab_low = _mm512_unpacklo_epi32(a, b);
  const __m512i ab_high = _mm512_unpackhi_epi32(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi32(c, d);
  const __m512i cd_high = _mm512_unpackhi_epi32(c, d);
  a = _mm512_unpacklo_epi64(ab_low, cd_low);
  b = _mm512_unpackhi_epi64(ab_low, cd_low);
  c = _mm512_unpacklo_epi64(ab_high, cd_high);
  d = _mm512_unpackhi_epi64(ab_high, cd_high);
}

// Word j of v[i] becomes word i of v[j].
INHOUSE_INLINE void Transpose(__m512i (&v)[16]) {
  Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {
    TransposeLanes(v[4 * i], v[4 * i + 1], v[4 * i + 2], v[4 * i + 3]);
  });
  // Now lane L of v[4 i + c] holds word 4 L + c of rows 4 i .. 4 i + 3: the lanes are transposed.
  Unroll<4>([&](auto c) INHOUSE_INLINE_LAMBDA {
    const __m512i even01 = _mm512_shuffle_i32x4(v[c], v[4 + c], 0x88);
    const __m512i odd01 = _mm512_shuffle_i32x4(v[c], v[4 + c], 0xDD);
    const __m512i even23 = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0x88);
    const __m512i odd23 = _mm512_shuffle_i32x4(v[8 + c], v[12 + c], 0xDD);
    v[c] = _mm512_shuffle_i32x4(even01, even23, 0x88);
    v[4 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0x88);
    v[8 + c] = _mm512_shuffle_i32x4(even01, even23, 0xDD);
    v[12 + c] = _mm512_shuffle_i32x4(odd01, odd23, 0xDD);
  });
}

// 32 bytes of each row from `at`: v[w] is word w of rows 0..15, v[8 + w] of rows 16..31.
INHOUSE_INLINE void LoadWords8(const BlockRows& rows, int at, __m512i (&v)[16]) {
  Unroll<16>([&](auto i) INHOUSE_INLINE_LAMBDA {
    v[i] = _mm512_inserti64x4(_mm512_castsi256_si512(Load32(rows.at[i] + at)),
                              Load32(rows.at[i + 16] + at), 1);
  });
  Transpose(v);
}

// 16 bytes of each row from `at`: v[w] is word w of rows 0..15, v[4 + w] of rows 16..31.
INHOUSE_INLINE void LoadWords4(const BlockRows& rows, int at, __m512i (&v)[8]) {
  Unroll<8>([&](auto i) INHOUSE_INLINE_LAMBDA {
    constexpr int kRow = decltype(i)::value / 4 * 16 + decltype(i)::value % 4;
    __m512i x = _mm512_castsi128_si512(Load16(rows.at[kRow] + at));
    x = _mm512_inserti32x4(x, Load16(rows.at[kRow + 4] + at), 1);
    x = _mm512_inserti32x4(x, Load16(rows.at[kRow + 8] + at), 2);
    v[i] = _mm512_inserti32x4(x, Load16(rows.at[kRow + 12] + at), 3);
  });
  TransposeLanes(v[0], v[1], v[2], v[3]);
  TransposeLanes(v[4], v[5], v[6], v[7]);
}

// One word of each row from `at`: v[0] of rows 0..15, v[1] of rows 16..31.
INHOUSE_INLINE void LoadWord(const BlockRows& rows, int at, __m512i (&v)[2]) {
  alignas(64) uint32_t words[kPanelRows];
  for (int r = 0; r < kPanelRows; ++r) __builtin_memcpy(words + r, rows.at[r] + at, 4);
  v[0] = _mm512_load_si512(words);
  v[1] = _mm512_load_si512(words + 16);
}

// 16 bits of each row from `at`, row after row.
INHOUSE_INLINE void PutHalves(const BlockRows& rows, int at, std::byte* p) {
  for (int r = 0; r < kPanelRows; ++r) __builtin_memcpy(p + 2 * r, rows.at[r] + at, 2);
}

// The low and the high halves of a word of each row, row after row.
INHOUSE_INLINE void PutHalvesOf(__m512i rows0, __m512i rows16, std::byte* low, std::byte* high) {
  Put32(low, _mm512_cvtepi32_epi16(rows0));
  Put32(low + 32, _mm512_cvtepi32_epi16(rows16));
  Put32(high, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rows0, 16)));
  Put32(high + 32, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rows16, 16)));
}

// The four bytes of a word: byte i of all rows at p + 32 i.
INHOUSE_INLINE void PutBytesOf(__m512i rows0, __m512i rows16, std::byte* p) {
  Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {
    const auto put = [&](std::byte* to, __m512i v) INHOUSE_INLINE_LAMBDA {
      _mm_store_si128(reinterpret_cast<__m128i*>(to),
                      _mm512_cvtepi32_epi8(_mm512_srli_epi32(v, 8 * i)));
    };
    put(p + 32 * i, rows0);
    put(p + 32 * i + 16, rows16);
  });
}

// 32 signed bytes of each row from `at` as the eight words of a group, 128 added.
INHOUSE_INLINE void PutSignedWords(const BlockRows& rows, int at, std::byte* p) {
  const __m512i offset = _mm512_set1_epi8(-128);
  __m512i v[16];
  LoadWords8(rows, at, v);
  Unroll<8>([&](auto i) INHOUSE_INLINE_LAMBDA {
    Put(p + 128 * i, _mm512_xor_si512(v[i], offset));
    Put(p + 128 * i + 64, _mm512_xor_si512(v[8 + i], offset));
  });
}

// Nibbles(): the words are in the panel's order already (low halves columns 0..15).
INHOUSE_INLINE void PutNibbleWords(const __m512i (&v)[8], std::byte* p) {
  Unroll<4>([&](auto q) INHOUSE_INLINE_LAMBDA {
    Put(p + 128 * q, v[q]);
    Put(p + 128 * q + 64, v[4 + q]);
  });
}

// Nibbles(): 32 bytes of a row whose low halves are the 32 codes of one group, the high halves
// those of another.
INHOUSE_INLINE void PutNibbleGroups(const __m512i (&v)[16], std::byte* low, std::byte* high) {
  const __m512i mask = _mm512_set1_epi8(15);
  Unroll<8>([&](auto i) INHOUSE_INLINE_LAMBDA {
    constexpr int kHalf = decltype(i)::value % 2;
    constexpr int kStep = decltype(i)::value / 2;
    const __m512i a = v[8 * kHalf + kStep];
    const __m512i b = v[8 * kHalf + kStep + 4];
    const int at = 128 * kStep + 64 * kHalf;
    // 0xCA: where the mask is set the first, else the second
    Put(low + at, _mm512_ternarylogic_epi32(mask, a, _mm512_slli_epi16(b, 4), 0xCA));
    Put(high + at, _mm512_ternarylogic_epi32(mask, _mm512_srli_epi16(a, 4), b, 0xCA));
  });
}

// Pairs(): bits kShift and kShift + 1 of the 32 bytes of a row.
template <int kShift>
INHOUSE_INLINE void PutPairsOf(const __m512i (&v)[16], std::byte* p) {
  const __m512i three = _mm512_set1_epi8(3);
  Unroll<4>([&](auto q) INHOUSE_INLINE_LAMBDA {
    const auto pair = [&](__m512i x) INHOUSE_INLINE_LAMBDA {
      return _mm512_and_si512(_mm512_srli_epi16(x, kShift), three);
    };
    const __m512i low = _mm512_or_si512(pair(v[q]), _mm512_slli_epi16(pair(v[8 + q]), 2));
    const __m512i high = _mm512_or_si512(_mm512_slli_epi16(pair(v[4 + q]), 4),
                                         _mm512_slli_epi16(pair(v[12 + q]), 6));
    Put(p + 64 * q, _mm512_or_si512(low, high));
  });
}

// AddBits(): bit kBit of the 32 bytes of a row.
template <int kBit>
INHOUSE_INLINE void PutBitsOf(const __m512i (&v)[16], std::byte* p) {
  const __m512i bit = _mm512_set1_epi8(static_cast<char>(1 << kBit));
  Unroll<16>([&](auto n) INHOUSE_INLINE_LAMBDA {
    constexpr int kStep = decltype(n)::value / 4;
    constexpr int kPart = decltype(n)::value % 4;
    const __mmask64 bits = _mm512_test_epi8_mask(v[kPart % 2 * 8 + kPart / 2 * 4 + kStep], bit);
    __builtin_memcpy(p + 32 * kStep + 8 * kPart, &bits, sizeof(bits));
  });
}

// AddBits(): bit j of a row's word belongs to column j.
INHOUSE_INLINE void PutBitsOfWord(const __m512i (&v)[2], std::byte* p) {
  const __m512i first =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12));
  Unroll<16>([&](auto n) INHOUSE_INLINE_LAMBDA {
    constexpr int kStep = decltype(n)::value / 4;
    constexpr int kPart = decltype(n)::value % 4;
    // Columns 16 (kPart / 2) + 4 kStep .. + 3: a half of one byte, each bit to a byte of its own.
    const __m512i byte = _mm512_add_epi8(first, _mm512_set1_epi8(kPart / 2 * 2 + kStep / 2));
    const __m512i bit =
        _mm512_set1_epi32(kStep % 2 == 0 ? 0x08040201 : static_cast<int>(0x80402010U));
    const __mmask64 bits = _mm512_test_epi8_mask(_mm512_shuffle_epi8(v[kPart % 2], byte), bit);
    __builtin_memcpy(p + 32 * kStep + 8 * kPart, &bits, sizeof(bits));
  });
}

}  // namespace
}  // namespace inhouse::engine
