#include "engine/quantize/gptq.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "engine/quantize/fp8.h"
#include "engine/quantize/int_groups.h"
#include "engine/quantize/products.h"
#include "engine/tensor/float8.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kBlock = 128;  // columns between two big products
constexpr double kDamping = 0.01;

size_t At(int64_t index) { return static_cast<size_t>(index); }

// The moments with rows and columns in reverse order, damped. Returns the damping.
float DampedReverse(const Moments& moments, std::vector<float>* out) {
  const int64_t n = moments.columns;
  double trace = 0;
  for (int64_t i = 0; i < n; ++i) trace += static_cast<double>(moments.values[At(i * n + i)]);
  const auto damping =
      static_cast<float>(std::max(kDamping * trace / static_cast<double>(n), 1e-30));
  out->resize(At(n * n));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      (*out)[At(i * n + j)] = moments.values[At((n - 1 - i) * n + (n - 1 - j))];
    }
    float& diagonal = (*out)[At(i * n + i)];
    diagonal = diagonal > 0 ? diagonal + damping : 1.0F;
  }
  return damping;
}

// Cholesky of the square of `size` at `a`, in double; pivots that rounding made too small become
// `least`.
void FactorSquare(float* a, int64_t ld, int64_t size, float least) {
  for (int64_t j = 0; j < size; ++j) {
    for (int64_t i = j; i < size; ++i) {
      double sum = static_cast<double>(a[i * ld + j]);
      for (int64_t k = 0; k < j; ++k) {
        sum -= static_cast<double>(a[i * ld + k]) * static_cast<double>(a[j * ld + k]);
      }
      a[i * ld + j] =
          static_cast<float>(i == j ? std::sqrt(std::max(sum, static_cast<double>(least)))
                                    : sum / static_cast<double>(a[j * ld + j]));
    }
  }
}

// A = L L^T in place (lower part; the rest is garbage), by block columns.
void Factor(std::vector<float>* matrix, int64_t n, float least, const KernelTable& kernels,
            base::ThreadTeam& team) {
  float* a = matrix->data();
  for (int64_t j0 = 0; j0 < n; j0 += kBlock) {
    const int64_t size = std::min(kBlock, n - j0);
    AddProduct(kernels, team, {a + j0 * n, n - j0, n}, {a + j0 * n, size, n}, j0, -1.0F,
               a + j0 * n + j0, n);
    FactorSquare(a + j0 * n + j0, n, size, least);
    team.Run([&](const base::TeamMember& member) {
      const auto [begin, end] = member.Share(n - j0 - size);
      for (int64_t i = j0 + size + begin; i < j0 + size + end; ++i) {
        float* row = a + i * n + j0;
        for (int64_t j = 0; j < size; ++j) {
          const float* l = a + (j0 + j) * n + j0;
          double sum = static_cast<double>(row[j]);
          for (int64_t k = 0; k < j; ++k) sum -= static_cast<double>(row[k] * l[k]);
          row[j] = static_cast<float>(sum / static_cast<double>(l[j]));
        }
      }
    });
  }
}

// One row of weights within one block of columns.
class BlockRounder {
 public:
  // `upper` [size][kBlock]: upper[i][j] = T[j0 + j][j0 + i], zero for j < i.
  BlockRounder(const float* upper, int64_t size, int bits)
      : upper_(upper), size_(size), bits_(bits) {}

  // `sum`: what the errors of the columns before the block add to each column's error; it is added
  // to. Writes codes, errors w - q * scale, and a scale for each group.
  void Run(const float* w, float* sum, int64_t group, int8_t* codes, float* errors,
           float* scales) const {
    for (int64_t begin = 0; begin < size_; begin += group) {
      const float scale = ChooseScale(w, sum, begin, group);
      scales[begin / group] = scale;
      Round(w, sum, begin, group, scale, codes, errors);
      // The errors of this group reach the columns after it.
      for (int64_t i = begin; i < begin + group; ++i) {
        Add(errors[i], i, begin + group, size_, sum);
      }
    }
  }

 private:
  void Add(float error, int64_t i, int64_t begin, int64_t end, float* sum) const {
    const float* row = upper_ + i * kBlock;
    for (int64_t j = begin; j < end; ++j) sum[j] += error * row[j];
  }

  // Rounds the group with one scale; returns what it adds to |T (w - q)|^2.
  float Round(const float* w, const float* sum, int64_t begin, int64_t group, float scale,
              int8_t* codes, float* errors) const {
    std::array<float, kBlock> reached{};
    std::copy(sum + begin, sum + begin + group, reached.begin() + begin);
    float total = 0;
    for (int64_t j = begin; j < begin + group; ++j) {
      const float diagonal = upper_[j * kBlock + j];
      const float target = w[j] + reached[At(j)] / diagonal;
      const int32_t code = EncodeInt(target, scale, bits_);
      const float miss = (target - static_cast<float>(code) * scale) * diagonal;
      codes[j] = static_cast<int8_t>(code);
      errors[j] = w[j] - static_cast<float>(code) * scale;
      total += miss * miss;
      Add(errors[j], j, j + 1, begin + group, reached.data());
    }
    return total;
  }

  // Searches on the group's targets as they would be if it were not rounded, then tries the best
  // few with rounding.
  float ChooseScale(const float* w, const float* sum, int64_t begin, int64_t group) const {
    std::array<float, kBlock> reached{};
    std::copy(sum + begin, sum + begin + group, reached.begin() + begin);
    std::array<float, kBlock> target{};
    std::array<float, kBlock> importance{};
    for (int64_t j = begin; j < begin + group; ++j) {
      const float diagonal = upper_[j * kBlock + j];
      const float shift = reached[At(j)] / diagonal;
      target[At(j)] = w[j] + shift;
      importance[At(j)] = diagonal * diagonal;
      Add(-shift, j, j + 1, begin + group, reached.data());
    }
    const float found = SearchScale(target.data() + begin, importance.data() + begin, group, bits_);
    std::array<int8_t, kBlock> codes{};
    std::array<float, kBlock> errors{};
    float best = found;
    float least = Round(w, sum, begin, group, found, codes.data(), errors.data());
    for (const float factor : {0.92F, 0.96F, 1.04F, 1.08F}) {
      const float scale = StorableScale(found * factor);
      const float miss = Round(w, sum, begin, group, scale, codes.data(), errors.data());
      if (miss < least) {
        least = miss;
        best = scale;
      }
    }
    return best;
  }

  const float* upper_;
  int64_t size_;
  int bits_;
};

}  // namespace

std::vector<float> ErrorFactor(const Moments& moments, const KernelTable& kernels,
                               base::ThreadTeam& team) {
  const int64_t n = moments.columns;
  std::vector<float> a;
  const float damping = DampedReverse(moments, &a);
  Factor(&a, n, damping, kernels, team);
  // T[j][i] = L[n-1-i][n-1-j]: mirrored at the other diagonal.
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t i = 0; i < n - 1 - j; ++i) {
      std::swap(a[At(j * n + i)], a[At((n - 1 - i) * n + (n - 1 - j))]);
    }
  }
  for (int64_t j = 0; j < n; ++j) {
    std::fill(a.begin() + j * n + j + 1, a.begin() + (j + 1) * n, 0.0F);
  }
  return a;
}

namespace {

// Walks over the blocks of columns. `round` gets, for each row of each block, the block's part of T
// (as BlockRounder wants it), its first column and its columns, and what the errors of the columns
// before it add to the errors of its columns; it writes the errors w - q of its columns.
struct RowBlock {
  const float* upper;
  int64_t row;
  int64_t column;
  int64_t size;
  const float* weights;
  float* sum;
  float* errors;
};
template <typename RoundRow>
void ForRowBlocks(const std::vector<float>& weights, int64_t rows, const std::vector<float>& factor,
                  int64_t columns, const KernelTable& kernels, base::ThreadTeam& team,
                  const RoundRow& round) {
  std::vector<float> errors(At(rows * columns));
  std::vector<float> sums(At(rows * kBlock));
  std::vector<float> upper(At(kBlock * kBlock));
  for (int64_t j0 = 0; j0 < columns; j0 += kBlock) {
    const int64_t size = std::min(kBlock, columns - j0);
    std::fill(sums.begin(), sums.end(), 0.0F);
    AddProduct(kernels, team, {errors.data(), rows, columns},
               {factor.data() + j0 * columns, size, columns}, j0, 1.0F, sums.data(), kBlock);
    for (int64_t i = 0; i < size; ++i) {
      for (int64_t j = 0; j < size; ++j) {
        upper[At(i * kBlock + j)] = factor[At((j0 + j) * columns + j0 + i)];
      }
    }
    team.Run([&](const base::TeamMember& member) {
      const auto [begin, end] = member.Share(rows);
      for (int64_t row = begin; row < end; ++row) {
        const int64_t at = row * columns + j0;
        round(RowBlock{upper.data(), row, j0, size, weights.data() + at, sums.data() + row * kBlock,
                       errors.data() + at});
      }
    });
  }
}

}  // namespace

GptqResult RunGptq(const std::vector<float>& weights, int64_t rows,
                   const std::vector<float>& factor, int64_t columns, int bits, int64_t group,
                   const KernelTable& kernels, base::ThreadTeam& team) {
  INHOUSE_CHECK(group <= kBlock && kBlock % group == 0 && columns % group == 0,
                "blocks consist of whole groups");
  GptqResult out;
  out.codes.resize(At(rows * columns));
  out.scales.resize(At(rows * (columns / group)));
  ForRowBlocks(weights, rows, factor, columns, kernels, team, [&](const RowBlock& b) {
    const int64_t at = b.row * columns + b.column;
    BlockRounder(b.upper, b.size, bits)
        .Run(b.weights, b.sum, group, out.codes.data() + at, b.errors,
             out.scales.data() + at / group);
  });
  return out;
}

Fp8Result RunGptqFp8(const std::vector<float>& weights, int64_t rows,
                     const std::vector<float>& factor, int64_t columns, int64_t block,
                     const KernelTable& kernels, base::ThreadTeam& team) {
  INHOUSE_CHECK(block <= kBlock && kBlock % block == 0, "a block of columns has whole FP8 blocks");
  Fp8Result out;
  out.codes.resize(At(rows * columns));
  const int64_t grid = (columns + block - 1) / block;
  for (int64_t r = 0; r < rows; r += block) {
    for (int64_t c = 0; c < columns; c += block) {
      out.scales.push_back(Fp8BlockScale(weights.data() + r * columns + c,
                                         std::min(block, rows - r), std::min(block, columns - c),
                                         columns));
    }
  }
  ForRowBlocks(weights, rows, factor, columns, kernels, team, [&](const RowBlock& b) {
    uint8_t* codes = out.codes.data() + b.row * columns + b.column;
    for (int64_t j = 0; j < b.size; ++j) {
      const float* row = b.upper + j * kBlock;
      const float scale = out.scales[At(b.row / block * grid + (b.column + j) / block)];
      codes[j] = EncodeE4M3((b.weights[j] + b.sum[j] / row[j]) / scale);
      b.errors[j] = b.weights[j] - FromE4M3(codes[j]) * scale;
      for (int64_t i = j + 1; i < b.size; ++i) b.sum[i] += b.errors[j] * row[i];
    }
  });
  return out;
}

absl::Status EncodeGptq(const EncodeJob& job, const KernelTable& kernels,
                        const PlannedTensor& tensor, const Moments& moments) {
  const SourceTensor& source = *tensor.source;
  const int64_t rows = source.rows();
  const int64_t columns = source.columns();
  if (moments.columns != columns) {
    return absl::InternalError("the moments are those of another product");
  }
  std::vector<float> weights(At(rows * columns));
  std::atomic<bool> finite{true};
  job.team.Run([&](const base::TeamMember& member) {
    const auto [begin, end] = member.Share(rows);
    constexpr int64_t kRowsAtOnce = 64;
    for (int64_t row = begin; row < end; row += kRowsAtOnce) {
      const int64_t n = std::min(kRowsAtOnce, end - row);
      float* values = weights.data() + row * columns;
      job.source.ReadRows(source, row, n, values);
      if (!AllFinite(values, n * columns)) finite = false;
    }
  });
  job.source.Release(source);
  if (!finite) return NotFinite(source);
  const std::vector<float> factor = ErrorFactor(moments, kernels, job.team);
  if (!job.on_parameters(0)) return absl::CancelledError("interrupted");
  if (tensor.how == PlannedTensor::How::kFp8) {
    const Fp8Result result =
        RunGptqFp8(weights, rows, factor, columns, tensor.group, kernels, job.team);
    INHOUSE_RETURN_IF_ERROR(
        job.writer.Append(tensor.outputs[0].name, std::as_bytes(std::span(result.codes))));
    INHOUSE_RETURN_IF_ERROR(
        job.writer.Append(tensor.outputs[1].name, std::as_bytes(std::span(result.scales))));
  } else {
    const GptqResult result =
        RunGptq(weights, rows, factor, columns, tensor.bits, tensor.group, kernels, job.team);
    INHOUSE_RETURN_IF_ERROR(
        AppendIntRows(tensor, rows, result.codes.data(), result.scales.data(), job.writer));
    INHOUSE_RETURN_IF_ERROR(AppendShape(tensor, job.writer));
  }
  return job.on_parameters(rows * columns) ? absl::OkStatus() : absl::CancelledError("interrupted");
}

}  // namespace inhouse::engine
