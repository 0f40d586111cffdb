// Products of integer codes: the loops over blocks, groups and tiles that the AVX2 and AVX-VNNI
// levels share. Only for their translation units.
//
// The products of a group are summed exactly in integers (a Dot type, avx2_dots.h); then
// sum * x_scale * w_scale is added to the output's one float chain.
//
// A format F has
//   kOffset, kRecentre   codes are weights plus kOffset; kRecentre: avx2_dots.h
//   kGroupRecords        records of 32 columns in a group of x: 1 or 4
//   kHalves              scales of a record: 1, or 2 (then a group is a record)
//   kHasMin              weights are scale * code + min
//   kBlockGroups         groups of x in a block; and kBlockBytes, kStoredBytes
//   Pack(rows, block)    packs the stored blocks at which `rows` stand
//   Scale, Min(block, g, half, v)   of the rows of vector v, for a group or half a record
//   Quad(block, record, q, v)       the codes of four columns: eight rows of four bytes
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_dots.h"
#include "engine/kernels/matmul/avx2_pack.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine::avx2 {
namespace {

// sums[r][c] += (sum[r][c] * x_scale[r]) * d[c] + x_sum[r] * m[c]
template <typename Dot, typename F, int kHalf, int R, int C>
[[gnu::always_inline]] inline void AddHalf(const std::byte* block, int g, int c0,
                                           const std::byte* x, int64_t strip, float* sums) {
  using Record = typename Dot::Record;
  IntTile<R, C> sum;
  Dot::template Sum<F, F::kHalves == 1 ? kWhole : kHalf, R, C>(block, g, c0, x, strip, sum);
  FloatRow<C> d;
  FloatRow<C> m;
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
    d[c] = F::Scale(block, g, kHalf, c0 + c);
    if constexpr (F::kHasMin) m[c] = F::Min(block, g, kHalf, c0 + c);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m256 scale = BroadcastFloat(x + Record::kScale * strip + 4 * r);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      float* to = sums + r * kPanelRows + 8 * c;
      __m256 base = _mm256_load_ps(to);
      if constexpr (F::kHasMin) {
        const int field = F::kHalves == 1 ? Record::kScaledSum : Record::kScaledHalfs + 4 * kHalf;
        base = _mm256_fmadd_ps(BroadcastFloat(x + field * strip + 4 * r), m[c], base);
      }
      const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[r][c]), scale);
      _mm256_store_ps(to, _mm256_fmadd_ps(product, d[c], base));
    }
  }
}

// A group of R rows of a strip; `x` stands at the first of them, `strip` is the number of its rows.
template <typename Dot, typename F, int R>
[[gnu::always_inline]] inline void AddGroup(const std::byte* block, int g, const std::byte* x,
                                            int64_t strip, float* sums) {
  constexpr int C = Dot::Columns(R);
  for (int c = 0; c < kPanelVectors; c += C) {
    AddHalf<Dot, F, 0, R, C>(block, g, c, x, strip, sums + 8 * c);
    if constexpr (F::kHalves == 2) AddHalf<Dot, F, 1, R, C>(block, g, c, x, strip, sums + 8 * c);
  }
}

// F as it stands in a panel: with each record of 32 columns the one that is needed a while later is
// fetched. More at a time would fill the buffers for loads.
template <typename F>
struct Streamed : F {
  static constexpr int64_t kRecordBytes = F::kBlockBytes / F::kBlockGroups / F::kGroupRecords;
  [[gnu::always_inline]] static void Touch(const std::byte* block, int record) {
    Prefetch<kRecordBytes>(block + record * kRecordBytes + kPrefetchBytes);
  }
};

// All of a panel for R rows of a strip, decoded in registers.
template <typename Dot, typename F, int R>
[[gnu::noinline]] void RunDirect(const std::byte* panel, const std::byte* x, int64_t blocks,
                                 int64_t strip, float* sums) {
  const int64_t x_group = Dot::Record::kBytes * F::kGroupRecords * strip;
  constexpr bool kInPairs = F::kBlockGroups % 2 == 0;  // so that Quad knows a group's parity
  std::memset(sums, 0, sizeof(float) * R * kPanelRows);
  for (int64_t block = 0; block < blocks; ++block) {
    for (int g = 0; g < F::kBlockGroups; g += kInPairs ? 2 : 1) {
      AddGroup<Dot, Streamed<F>, R>(panel, g, x, strip, sums);
      x += x_group;
      if constexpr (kInPairs) {
        AddGroup<Dot, Streamed<F>, R>(panel, g + 1, x, strip, sums);
        x += x_group;
      }
    }
    panel += F::kBlockBytes;
  }
}

// What an unpacked group begins with: the scales of each half as floats, then the minima.
template <int kRecords, int kScales, bool kMins>
struct GroupNumbers {
  static constexpr int kGroupRecords = kRecords;
  static constexpr int kHalves = kScales;
  static constexpr bool kHasMin = kMins;
  static constexpr int64_t kMinsAt = kHalves * kWordBytes;
  static constexpr int64_t kCodesAt = kMinsAt * (kHasMin ? 2 : 1);

  static __m256 Scale(const std::byte* group, int /*g*/, int half, int v) {
    return LoadFloats(group + half * kWordBytes + 32 * v);
  }
  static __m256 Min(const std::byte* group, int /*g*/, int half, int v) {
    return LoadFloats(group + kMinsAt + half * kWordBytes + 32 * v);
  }
  static void Touch(const std::byte* /*group*/, int /*record*/) {}

  template <typename F>
  static void UnpackNumbers(const std::byte* block, int g, std::byte* group) {
    for (int half = 0; half < kHalves; ++half) {
      for (int v = 0; v < kPanelVectors; ++v) {
        auto* at = reinterpret_cast<float*>(group + half * kWordBytes + 32 * v);
        _mm256_store_ps(at, F::Scale(block, g, half, v));
        if constexpr (kHasMin) _mm256_store_ps(at + kMinsAt / 4, F::Min(block, g, half, v));
      }
    }
  }
};

// A group of F with a byte for every code.
template <typename F>
struct Unpacked : GroupNumbers<F::kGroupRecords, F::kHalves, F::kHasMin> {
  using Shape = Unpacked;
  using Numbers = GroupNumbers<F::kGroupRecords, F::kHalves, F::kHasMin>;
  using Numbers::kCodesAt;
  static constexpr int kOffset = F::kOffset;
  static constexpr int kRecentre = F::kRecentre;
  static constexpr int64_t kBytes = kCodesAt + 8 * F::kGroupRecords * kWordBytes;

  static __m256i Quad(const std::byte* group, int record, int q, int v) {
    return LoadBytes(group + kCodesAt + (8 * record + q) * kWordBytes + 32 * v);
  }

  static void Unpack(const std::byte* block, int g, std::byte* group) {
    Numbers::template UnpackNumbers<F>(block, g, group);
    for (int record = 0; record < F::kGroupRecords; ++record) {
      std::byte* to = group + kCodesAt + 8 * record * kWordBytes;
#pragma GCC unroll 8
      for (int q = 0; q < 8; ++q) {
#pragma GCC unroll 4
        for (int v = 0; v < kPanelVectors; ++v) {
          StoreBytes(F::Quad(block, g * F::kGroupRecords + record, q, v),
                     to + q * kWordBytes + 32 * v);
        }
      }
    }
  }
};

// A group with two bytes for every code, the weight's integer. One type for all formats of a shape:
// they share the tiles.
template <int kRecords, int kScales, bool kMins>
struct WordGroup : GroupNumbers<kRecords, kScales, kMins> {
  using GroupNumbers<kRecords, kScales, kMins>::kCodesAt;
  static constexpr int64_t kBytes = kCodesAt + kGroup / 2 * kRecords * kWordBytes;

  static __m256i Pair(const std::byte* group, int record, int p, int v) {
    return LoadBytes(group + kCodesAt + (kGroup / 2 * record + p) * kWordBytes + 32 * v);
  }
};

// From F, whose codes come in quads of unsigned bytes or in pairs of signed words.
template <typename F>
struct UnpackedWords : WordGroup<F::kGroupRecords, F::kHalves, F::kHasMin> {
  using Shape = WordGroup<F::kGroupRecords, F::kHalves, F::kHasMin>;

  // Two pairs of columns from a quad.
  static void UnpackQuad(__m256i quad, std::byte* to) {
    const __m256i halfs[2] = {_mm256_and_si256(quad, _mm256_set1_epi32(0xFFFF)),
                              _mm256_srli_epi32(quad, 16)};
    for (int i = 0; i < 2; ++i) {
      const __m256i codes = _mm256_and_si256(
          _mm256_or_si256(halfs[i], _mm256_slli_epi32(halfs[i], 8)), _mm256_set1_epi32(0x00FF00FF));
      StoreBytes(_mm256_sub_epi16(codes, _mm256_set1_epi16(F::kOffset)), to + i * kWordBytes);
    }
  }

  static void Unpack(const std::byte* block, int g, std::byte* group) {
    Shape::template UnpackNumbers<F>(block, g, group);
    for (int record = 0; record < F::kGroupRecords; ++record) {
      std::byte* to = group + Shape::kCodesAt + kGroup / 2 * record * kWordBytes;
      const int at = g * F::kGroupRecords + record;
      if constexpr (requires { F::Pair(block, 0, 0, 0); }) {
        for (int pair = 0; pair < kGroup / 2; ++pair) {
#pragma GCC unroll 4
          for (int v = 0; v < kPanelVectors; ++v) {
            StoreBytes(F::Pair(block, at, pair, v), to + pair * kWordBytes + 32 * v);
          }
        }
      } else {
#pragma GCC unroll 8
        for (int q = 0; q < 8; ++q) {
#pragma GCC unroll 4
          for (int v = 0; v < kPanelVectors; ++v) {
            UnpackQuad(F::Quad(block, at, q, v), to + 2 * q * kWordBytes + 32 * v);
          }
        }
      }
    }
  }
};

// `groups` unpacked groups for R rows of a strip; continues `sums`.
template <typename Dot, typename U, int R>
[[gnu::noinline]] void RunUnpacked(const std::byte* unpacked, const std::byte* x, int64_t groups,
                                   int64_t strip, float* sums) {
  for (int64_t g = 0; g < groups; ++g) {
    AddGroup<Dot, U, R>(unpacked, 0, x, strip, sums);
    unpacked += U::kBytes;
    x += Dot::Record::kBytes * U::kGroupRecords * strip;
  }
}

using TileFunction = void (*)(const std::byte* weights, const std::byte* x, int64_t count,
                              int64_t strip, float* sums);

// The tiles of 1, 2, ... kMax rows of a kind.
template <typename Tiles, int kMax>
struct TileTable {
  TileFunction of[static_cast<size_t>(kMax + 1)];
  constexpr TileTable() : of{} { Fill<1>(); }
  template <int R>
  constexpr void Fill() {
    of[R] = Tiles::template kRun<R>;
    if constexpr (R < kMax) Fill<R + 1>();
  }

  // A strip, in tiles of nearly the same size.
  void Run(const std::byte* weights, const std::byte* x, int64_t count, int64_t strip,
           float* sums) const {
    const int64_t tiles = (strip + kMax - 1) / kMax;
    for (int64_t i = 0, row = 0; i < tiles; ++i) {
      const int64_t rows = strip / tiles + (i < strip % tiles ? 1 : 0);
      of[rows](weights, x + 4 * row, count, strip, sums + row * kPanelRows);
      row += rows;
    }
  }
};

template <typename Dot, typename F>
struct DirectTiles {
  template <int R>
  static constexpr TileFunction kRun = RunDirect<Dot, F, R>;
};
template <typename Dot, typename U>
struct UnpackedTiles {
  template <int R>
  static constexpr TileFunction kRun = RunUnpacked<Dot, typename U::Shape, R>;
};

// Columns that are unpacked at a time.
constexpr int64_t kUnpackColumns = 256;

// What is the same for both kinds of kernels below.
template <typename F, const StripLayout& kLayout>
struct GroupPanels {
  static constexpr int64_t kGroupColumns = kGroup * F::kGroupRecords;
  static constexpr int64_t kBlockColumns = kGroupColumns * F::kBlockGroups;

  static int64_t Blocks(int64_t k) { return (k + kBlockColumns - 1) / kBlockColumns; }
  static int64_t PanelBytes(int64_t k) { return Blocks(k) * F::kBlockBytes; }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    Rows at(rows, n_rows);
    for (int64_t block = 0; block < Blocks(k); ++block) {
      F::Pack(at, panel + block * F::kBlockBytes);
      at.Advance(F::kStoredBytes);
    }
  }

  static constexpr MatMulKernel Table(const char* name, DType type,
                                      int64_t (*scratch_bytes)(int64_t),
                                      void (*run)(const PanelProduct&)) {
    return {.name = name,
            .weights = type,
            .activations = kLayout.layout,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = kLayout.strip_bytes,
            .pack_strip = kLayout.pack_strip,
            .scratch_bytes = scratch_bytes,
            .run = run};
  }
};

// Decodes in registers.
template <typename Dot, typename F, const StripLayout& kLayout>
struct DirectKernel : GroupPanels<F, kLayout> {
  using Panels = GroupPanels<F, kLayout>;

  static int64_t ScratchBytes(int64_t /*k*/) { return 0; }

  static constexpr TileTable<DirectTiles<Dot, F>, Dot::kTileRows> kTiles{};

  static void Run(const PanelProduct& p) {
    alignas(64) float sums[kStripSums];
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const int64_t rows = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
      kTiles.Run(p.panel, p.x + m0 / kStripRows * kLayout.strip_bytes(p.k), Panels::Blocks(p.k),
                 rows, sums);
      StoreRows(p, m0, rows, sums);
    }
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return Panels::Table(name, type, ScratchBytes, Run);
  }
};

template <typename Dot, typename F, const StripLayout& kLayout, typename U = Unpacked<F>>
struct GroupKernel : GroupPanels<F, kLayout> {
  using Panels = GroupPanels<F, kLayout>;
  // Decoding again for each few rows is quicker than a copy, up to here.
  static constexpr int64_t kDirectRows = F::kHalves == 1 ? Dot::kDirectRows : Dot::kDirectHalves;
  static constexpr int64_t kUnpackBlocks = kUnpackColumns / Panels::kBlockColumns;
  static constexpr int64_t kUnpackBytes = kUnpackColumns / Panels::kGroupColumns * U::kBytes;

  static int64_t ScratchBytes(int64_t /*k*/) {
    return kUnpackBytes + kChunkStrips * kStripSums * static_cast<int64_t>(sizeof(float));
  }

  static constexpr TileTable<UnpackedTiles<Dot, U>, Dot::kTileRows> kTiles{};

  // The rows [m0, m1), at most kChunkStrips strips.
  static void Chunk(const PanelProduct& p, int64_t m0, int64_t m1) {
    std::byte* unpacked = p.scratch;
    auto* sums = reinterpret_cast<float*>(p.scratch + kUnpackBytes);
    std::memset(sums, 0, sizeof(float) * static_cast<size_t>(kChunkStrips * kStripSums));
    const int64_t strip_bytes = kLayout.strip_bytes(p.k);
    for (int64_t begin = 0; begin < Panels::Blocks(p.k); begin += kUnpackBlocks) {
      const int64_t left = Panels::Blocks(p.k) - begin;
      const int64_t blocks = left < kUnpackBlocks ? left : kUnpackBlocks;
      for (int64_t g = 0; g < blocks * F::kBlockGroups; ++g) {
        const std::byte* block = p.panel + (begin + g / F::kBlockGroups) * F::kBlockBytes;
        U::Unpack(block, static_cast<int>(g % F::kBlockGroups), unpacked + g * U::kBytes);
      }
      float* to = sums;
      for (int64_t m = m0; m < m1; m += kStripRows) {
        const int64_t rows = m1 - m < kStripRows ? m1 - m : kStripRows;
        const std::byte* x = p.x + m / kStripRows * strip_bytes +
                             begin * Panels::kBlockColumns / kGroup * Dot::Record::kBytes * rows;
        kTiles.Run(unpacked, x, blocks * F::kBlockGroups, rows, to);
        to += kStripSums;
      }
    }
    for (int64_t m = m0; m < m1; m += kStripRows) {
      StoreRows(p, m, m1 - m < kStripRows ? m1 - m : kStripRows, sums);
      sums += kStripSums;
    }
  }

  static void RunMany(const PanelProduct& p) {
    constexpr int64_t kRows = kChunkStrips * kStripRows;
    for (int64_t m = 0; m < p.m; m += kRows) Chunk(p, m, p.m - m < kRows ? p.m : m + kRows);
  }

  static void Run(const PanelProduct& p) {
    if (p.m <= kDirectRows) return DirectKernel<Dot, F, kLayout>::Run(p);
    RunMany(p);
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return Panels::Table(name, type, ScratchBytes, Run);
  }
};

// Codes of few bits and 16-bit activations: kPlaneRows says when which.
template <typename Planes, typename Words, typename F, const StripLayout& kLayout>
struct PlanesOrWords : GroupPanels<F, kLayout> {
  static int64_t ScratchBytes(int64_t k) {
    const int64_t planes = Planes::ScratchBytes(k);
    const int64_t words = Words::ScratchBytes(k);
    return planes > words ? planes : words;
  }
  static void Run(const PanelProduct& p) {
    if (p.m <= kPlaneRows) return Planes::Run(p);
    Words::RunMany(p);
  }
  static constexpr MatMulKernel Table(const char* name, DType type) {
    return GroupPanels<F, kLayout>::Table(name, type, ScratchBytes, Run);
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
