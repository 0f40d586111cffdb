// For the tests of this room only: checkpoints with quantized weights, packed bit by bit from a
// naive definition, and the values of the rows that come out of them.
#pragma once

#include <cmath>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/formats/matrix_finder.h"
#include "engine/formats/test_files.h"
#include "engine/tensor/float16.h"
#include "engine/tensor/float8.h"
#include "fmt/format.h"

namespace inhouse::engine {

// Row-major numbers.
template <typename T>
struct Grid {
  int64_t rows;
  int64_t columns;
  std::vector<T> at;

  Grid(int64_t r, int64_t c) : rows(r), columns(c), at(static_cast<size_t>(r * c)) {}
  T& operator()(int64_t r, int64_t c) { return at[static_cast<size_t>(r * columns + c)]; }
  const T& operator()(int64_t r, int64_t c) const {
    return at[static_cast<size_t>(r * columns + c)];
  }
};

inline Grid<int> RandomCodes(int64_t rows, int64_t columns, int max, unsigned seed) {
  std::mt19937 random(seed);
  Grid<int> codes(rows, columns);
  for (int& code : codes.at) code = static_cast<int>(random() % static_cast<unsigned>(max + 1));
  return codes;
}

// Scales that a 16-bit type holds exactly.
inline Grid<float> RandomScales(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  Grid<float> scales(rows, columns);
  for (float& s : scales.at) s = static_cast<float>(random() % 200 + 1) / 1024;
  return scales;
}

// The bits of `codes` one after another, lowest first, in as few 32-bit words as they take.
inline std::string PackBits(const std::vector<int>& codes, int bits) {
  std::vector<uint32_t> words((codes.size() * static_cast<size_t>(bits) + 31) / 32);
  for (size_t i = 0; i < codes.size(); ++i) {
    for (int b = 0; b < bits; ++b) {
      const size_t bit = i * static_cast<size_t>(bits) + static_cast<size_t>(b);
      words[bit / 32] |= (static_cast<uint32_t>(codes[i]) >> b & 1U) << bit % 32;
    }
  }
  return {reinterpret_cast<const char*>(words.data()), words.size() * 4};
}

template <typename T>
std::string Bytes(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

inline std::string AsF16(const Grid<float>& values) {
  std::vector<uint16_t> out;
  for (const float v : values.at) out.push_back(ToF16(v));
  return Bytes(out);
}

inline std::string AsBF16(const Grid<float>& values) {
  std::vector<uint16_t> out;
  for (const float v : values.at) out.push_back(ToBF16(v));
  return Bytes(out);
}

inline std::string AsBytes(const Grid<int>& values) {
  std::string out;
  for (const int v : values.at) out.push_back(static_cast<char>(v));
  return out;
}

// The rows of a matrix by columns: row r of the result is column r.
inline Grid<int> Transposed(const Grid<int>& m) {
  Grid<int> out(m.columns, m.rows);
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.columns; ++c) out(c, r) = m(r, c);
  }
  return out;
}

// The values of a row of one of the types that matrices are assembled into (dtype.h).
inline std::vector<float> Decode(DType dtype, const std::byte* row, int64_t columns) {
  std::vector<float> out(static_cast<size_t>(columns));
  const DTypeInfo& info = Info(dtype);
  const bool minimum = dtype == DType::kI4MinGroup128 || dtype == DType::kI4MinGroup32;
  const bool nibbles = minimum || dtype == DType::kI4Group128 || dtype == DType::kI4Group32;
  const bool fp8 = dtype == DType::kF8Group128 || dtype == DType::kF8Group32;
  for (int64_t c = 0; c < columns; ++c) {
    const std::byte* block = row + c / info.block_elements * info.block_bytes;
    const int64_t i = c % info.block_elements;
    float scale = 0;
    float low = 0;
    std::memcpy(&scale, block, 4);
    if (minimum) std::memcpy(&low, block + 4, 4);
    float& value = out[static_cast<size_t>(c)];
    if (dtype == DType::kF32) {
      value = scale;
    } else if (dtype == DType::kMXFP4) {
      constexpr float kE2M1[8] = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6};
      const auto both = std::to_integer<uint32_t>(block[1 + i % 16]);
      const uint32_t code = both >> (i < 16 ? 0 : 4) & 15U;
      value = FromE8M0(std::to_integer<uint32_t>(block[0])) * kE2M1[code & 7U];
      if (code >= 8) value = -value;
    } else if (nibbles) {
      const auto both = std::to_integer<uint32_t>(block[(minimum ? 8 : 4) + i / 32 * 16 + i % 16]);
      const auto q = static_cast<float>(both >> (i % 32 < 16 ? 0 : 4) & 15U);
      value = minimum ? scale * q + low : scale * (q - 8);
    } else {
      const auto code = std::to_integer<uint32_t>(block[4 + i]);
      value = scale * (fp8 ? FromE4M3(code) : static_cast<float>(static_cast<int8_t>(code)));
    }
  }
  return out;
}

class MatrixTest : public FilesTest {
 protected:
  // `shape` as JSON: "[2, 3]".
  void Add(const std::string& name, const std::string& dtype, const std::string& shape,
           const std::string& bytes) {
    if (!header_.empty()) header_ += ",";
    header_ += Entry("m." + name, dtype, shape,
                     fmt::format("[{},{}]", data_.size(), data_.size() + bytes.size()));
    data_ += bytes;
  }
  template <typename T>
  void Add(const std::string& name, const std::string& dtype, const Grid<T>& grid,
           const std::string& bytes) {
    Add(name, dtype, fmt::format("[{},{}]", grid.rows, grid.columns), bytes);
  }
  // Forgets the tensors.
  void Clear() {
    header_.clear();
    data_.clear();
  }

  absl::StatusOr<StoredMatrix> Find(const std::string& quantization, int64_t rows,
                                    int64_t columns) {
    Write("model.safetensors", Safetensors("{" + header_ + "}", data_));
    Write("config.json", quantization.empty()
                             ? "{}"
                             : fmt::format("{{\"quantization_config\": {}}}", quantization));
    INHOUSE_ASSIGN_OR_RETURN(checkpoint_, Checkpoint::Open(dir_));
    INHOUSE_ASSIGN_OR_RETURN(const MatrixFinder finder, MatrixFinder::Create(*checkpoint_));
    return finder.Find("m", rows, columns);
  }

  // Expects these values in rows of this type, whichever rows are asked for together.
  void Expect(const std::string& quantization, DType dtype, int64_t rows, int64_t columns,
              const std::function<float(int64_t, int64_t)>& value) {
    const absl::StatusOr<StoredMatrix> found = Find(quantization, rows, columns);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(Name(found->dtype()), Name(dtype));
    EXPECT_EQ(found->rows(), rows);
    EXPECT_EQ(found->columns(), columns);
    EXPECT_EQ(static_cast<size_t>(found->stored_bytes()), data_.size());
    for (const auto& [begin, n] :
         {std::pair<int64_t, int64_t>{0, rows}, {rows / 3, 1}, {rows / 2, rows - rows / 2}}) {
      std::vector<std::byte> staging(static_cast<size_t>(n * found->row_bytes()));
      std::vector<const std::byte*> pointers(static_cast<size_t>(n));
      found->Rows(begin, n, staging.data(), pointers.data());
      ExpectSameFromACopy(*found, begin, n, staging);
      for (int64_t r = 0; r < n; ++r) {
        const std::vector<float> got =
            Decode(found->dtype(), pointers[static_cast<size_t>(r)], columns);
        for (int64_t c = 0; c < columns; ++c) {
          const float expected = value(begin + r, c);
          const float is = got[static_cast<size_t>(c)];
          if (std::isnan(expected) && std::isnan(is)) continue;
          ASSERT_EQ(is, expected) << "row " << begin + r << " column " << c;
        }
      }
    }
  }

  void Refuse(const std::string& quantization, int64_t rows, int64_t columns, std::string_view file,
              const std::string& text) {
    ExpectRefused(Find(quantization, rows, columns).status(), file, text);
  }

 private:
  // The loader copies what the file has of some rows, and assembles them from the copy.
  static void ExpectSameFromACopy(const StoredMatrix& matrix, int64_t begin, int64_t n,
                                  const std::vector<std::byte>& assembled) {
    const int64_t bytes = matrix.stored_row_bytes();
    if (bytes == 0 || !matrix.assembled()) return;
    std::vector<std::byte> copy(static_cast<size_t>(n * bytes));
    const StoredTensor& codes = *matrix.tensors().front();
    ASSERT_TRUE(codes.file->Read(codes.file_offset + static_cast<uint64_t>(begin * bytes), copy));
    std::vector<std::byte> out(assembled.size());
    std::vector<const std::byte*> rows(static_cast<size_t>(n));
    matrix.Rows(begin, n, copy.data(), out.data(), rows.data());
    EXPECT_EQ(out, assembled);
  }

  std::string header_;
  std::string data_;
  std::unique_ptr<Checkpoint> checkpoint_;
};

}  // namespace inhouse::engine
