// Integers in 32-bit words: compressed-tensors, AWQ, GPTQ.
#include <algorithm>

#include "engine/formats/matrix_test.h"

namespace inhouse::engine {
namespace {

class PackedMatrixTest : public MatrixTest {
 protected:
  // Codes, scales and zero points of groups; value() is the naive definition.
  struct Weights {
    int bits;
    int64_t group;  // columns
    Grid<int> codes;
    Grid<float> scales;  // [rows, groups]
    Grid<int> zeros;

    Weights(int b, int64_t rows, int64_t columns, int64_t g, bool symmetric)
        : bits(b),
          group(g),
          codes(RandomCodes(rows, columns, (1 << b) - 1, 1)),
          scales(RandomScales(rows, (columns + g - 1) / g, 2)),
          zeros(RandomCodes(rows, (columns + g - 1) / g, (1 << b) - 1, 3)) {
      if (symmetric) std::fill(zeros.at.begin(), zeros.at.end(), 1 << (b - 1));
    }
    float value(int64_t r, int64_t c, int64_t g) const {
      return scales(r, g) * static_cast<float>(codes(r, c) - zeros(r, g));
    }
  };

  // Each row of the grid packed on its own.
  static std::string PackRows(const Grid<int>& grid, int bits) {
    std::string out;
    for (int64_t r = 0; r < grid.rows; ++r) {
      const auto* row = grid.at.data() + r * grid.columns;
      out += PackBits({row, row + grid.columns}, bits);
    }
    return out;
  }
  // Words packed along the rows of the grid, stored [words, columns].
  static std::string PackDown(const Grid<int>& grid, int bits) {
    const Grid<int> across = Transposed(grid);
    const std::string rows = PackRows(across, bits);  // [columns, words]
    const size_t words = rows.size() / 4 / static_cast<size_t>(across.rows);
    std::string out;
    for (size_t w = 0; w < words; ++w) {
      for (size_t c = 0; c < static_cast<size_t>(across.rows); ++c) {
        out += rows.substr((c * words + w) * 4, 4);
      }
    }
    return out;
  }
  static int64_t Words(int64_t codes, int bits) { return (codes * bits + 31) / 32; }

  static Grid<float> TransposedScales(const Grid<float>& m) {
    Grid<float> out(m.columns, m.rows);
    for (int64_t r = 0; r < m.rows; ++r) {
      for (int64_t c = 0; c < m.columns; ++c) out(c, r) = m(r, c);
    }
    return out;
  }

  static std::string Compressed(const Weights& w, bool symmetric, bool channel) {
    return fmt::format(
        R"({{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
            {{"group_0": {{"targets": ["re:.*"], "weights": {{"num_bits": {}, "type": "int",
            "symmetric": {}, "strategy": "{}", "group_size": {}}}}}}}}})",
        w.bits, symmetric, channel ? "channel" : "group", channel ? -1 : w.group);
  }

  void AddCompressed(const Weights& w, bool symmetric) {
    Clear();
    Add("weight_packed", "I32",
        fmt::format("[{},{}]", w.codes.rows, Words(w.codes.columns, w.bits)),
        PackRows(w.codes, w.bits));
    Add("weight_scale", "BF16", w.scales, AsBF16(w.scales));
    Add("weight_shape", "I64", "[2]", Bytes(std::vector<int64_t>{w.codes.rows, w.codes.columns}));
    if (symmetric) return;
    Add("weight_zero_point", "I32",
        fmt::format("[{},{}]", Words(w.zeros.rows, w.bits), w.zeros.columns),
        PackDown(w.zeros, w.bits));
  }

  // `less_one`: what GPTQ v1 takes off a zero point.
  void AddGptq(const Weights& w, int less_one) {
    Clear();
    Grid<int> zeros = Transposed(w.zeros);
    for (int& zero : zeros.at) zero = (zero - less_one) & ((1 << w.bits) - 1);
    const Grid<float> scales = TransposedScales(w.scales);
    Add("qweight", "I32", fmt::format("[{},{}]", Words(w.codes.columns, w.bits), w.codes.rows),
        PackDown(Transposed(w.codes), w.bits));
    Add("qzeros", "I32", fmt::format("[{},{}]", zeros.rows, Words(zeros.columns, w.bits)),
        PackRows(zeros, w.bits));
    Add("scales", "F16", scales, AsF16(scales));
  }
  static std::string Gptq(int bits, int64_t group, const char* format) {
    return fmt::format(
        R"({{"quant_method": "gptq", "bits": {}, "group_size": {}, "checkpoint_format": "{}"}})",
        bits, group, format);
  }

  // The smallest type that holds codes of `bits` with a scale for `group` columns of `columns`.
  static DType TypeFor(int bits, bool symmetric, int64_t group, int64_t columns) {
    const bool wide = group % 128 == 0 || group >= columns;
    if (!wide && group % 32 != 0) return DType::kF32;
    if (bits == 4 && symmetric) return wide ? DType::kI4Group128 : DType::kI4Group32;
    if (bits <= 4) return wide ? DType::kI4MinGroup128 : DType::kI4MinGroup32;
    if (bits == 8 && !symmetric) return DType::kF32;
    return wide ? DType::kI8Group128 : DType::kI8Group32;
  }
};

TEST_F(PackedMatrixTest, CompressedTensors) {
  for (const int bits : {2, 3, 4, 5, 8}) {
    for (const int64_t group : {128, 32, 64, 256, 16}) {
      for (const bool symmetric : {true, false}) {
        SCOPED_TRACE(fmt::format("{} bits, groups of {}, {}", bits, group, symmetric));
        const Weights w(bits, 37, 256, group, symmetric);
        AddCompressed(w, symmetric);
        Expect(Compressed(w, symmetric, false), TypeFor(bits, symmetric, group, 256), 37, 256,
               [&](int64_t r, int64_t c) { return w.value(r, c, c / group); });
      }
    }
  }
}

// Rows that end inside a block and inside a word.
TEST_F(PackedMatrixTest, CompressedTensorsChannels) {
  for (const int bits : {3, 4, 8}) {
    for (const bool symmetric : {true, false}) {
      const Weights w(bits, 21, 203, 203, symmetric);
      AddCompressed(w, symmetric);
      Expect(Compressed(w, symmetric, true), TypeFor(bits, symmetric, 203, 203), 21, 203,
             [&](int64_t r, int64_t c) { return w.value(r, c, 0); });
    }
  }
}

// Groups by an index for each column: floats, unless the index says what the columns say.
TEST_F(PackedMatrixTest, GroupIndices) {
  const Weights w(4, 10, 128, 32, false);
  std::vector<int32_t> mixed(128);
  std::vector<int32_t> runs(128);
  for (int32_t c = 0; c < 128; ++c) {
    mixed[static_cast<size_t>(c)] = c * 7 % 4;
    runs[static_cast<size_t>(c)] = c / 32;
  }
  const auto by_index = [&](int64_t r, int64_t c) {
    return w.value(r, c, mixed[static_cast<size_t>(c)]);
  };
  const auto by_column = [&](int64_t r, int64_t c) { return w.value(r, c, c / 32); };
  AddCompressed(w, false);
  Add("weight_g_idx", "I32", "[128]", Bytes(mixed));
  Expect(Compressed(w, false, false), DType::kF32, 10, 128, by_index);
  AddCompressed(w, false);
  Add("weight_g_idx", "I32", "[128]", Bytes(std::vector<int32_t>(128, -1)));
  Expect(Compressed(w, false, false), DType::kI4MinGroup32, 10, 128, by_column);

  AddGptq(w, 1);
  Add("g_idx", "I32", "[128]", Bytes(mixed));
  Expect(Gptq(4, 32, "gptq"), DType::kF32, 10, 128, by_index);
  AddGptq(w, 1);
  Add("g_idx", "I32", "[128]", Bytes(runs));
  Expect(Gptq(4, 32, "gptq"), DType::kI4MinGroup32, 10, 128, by_column);
}

TEST_F(PackedMatrixTest, Gptq) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const int64_t group : {128, 64, 16, -1}) {
      for (const bool symmetric : {true, false}) {
        SCOPED_TRACE(fmt::format("{} bits, groups of {}, {}", bits, group, symmetric));
        const int64_t columns = group < 0 ? 256 : group;
        const Weights w(bits, 32, 256, columns, symmetric);
        const auto value = [&](int64_t r, int64_t c) { return w.value(r, c, c / columns); };
        const DType type = TypeFor(bits, symmetric, columns, 256);
        AddGptq(w, 1);
        Expect(Gptq(bits, group, "gptq"), type, 32, 256, value);
        AddGptq(w, 0);
        Expect(Gptq(bits, group, "gptq_v2"), type, 32, 256, value);
      }
    }
  }
}

// gptqmodel: some modules have bits and groups of their own; the shapes tell.
TEST_F(PackedMatrixTest, GptqDynamic) {
  const Weights w(8, 32, 256, 32, true);
  AddGptq(w, 1);
  Expect(R"({"quant_method": "gptq", "bits": 4, "group_size": 128,
             "dynamic": {"+:.*m": {"bits": 8, "group_size": 32}}})",
         DType::kI8Group32, 32, 256, [&](int64_t r, int64_t c) { return w.value(r, c, c / 32); });
}

TEST_F(PackedMatrixTest, Awq) {
  constexpr int kOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};
  // Nibble p of a word is output kOrder[p] of its eight.
  const auto reorder = [&](const Grid<int>& by_output) {
    Grid<int> out = by_output;
    for (int64_t r = 0; r < out.rows; ++r) {
      for (int64_t c = 0; c < out.columns; ++c) {
        out(r, c) = by_output(r, c / 8 * 8 + kOrder[c % 8]);
      }
    }
    return out;
  };
  for (const int64_t group : {128, 32, 16, -1}) {
    for (const bool symmetric : {true, false}) {
      const int64_t columns = group < 0 ? 200 : group;
      const Weights w(4, 40, 200, columns, symmetric);
      const Grid<float> scales = TransposedScales(w.scales);
      Clear();
      Add("qweight", "I32", "[200,5]", PackRows(reorder(Transposed(w.codes)), 4));
      Add("qzeros", "I32", fmt::format("[{},5]", scales.rows),
          PackRows(reorder(Transposed(w.zeros)), 4));
      Add("scales", "F16", scales, AsF16(scales));
      Expect(fmt::format(R"({{"quant_method": "awq", "bits": 4, "group_size": {}, "version": "GEMM",
                              "zero_point": true}})",
                         group),
             TypeFor(4, symmetric, columns, 200), 40, 200,
             [&](int64_t r, int64_t c) { return w.value(r, c, c / columns); });
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
