#include "engine/quantize/encode.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/status.h"
#include "engine/quantize/fp8.h"
#include "engine/quantize/int_groups.h"
#include "engine/tensor/float16.h"

namespace inhouse::engine {
namespace {

using How = PlannedTensor::How;

// Rows that a member takes at a time: a multiple of every FP8 block.
constexpr int64_t kBlockRows = 128;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

template <typename T>
std::span<const std::byte> BytesOf(const std::vector<T>& values, int64_t count) {
  return std::as_bytes(std::span(values)).first(static_cast<size_t>(count) * sizeof(T));
}

template <typename T>
std::vector<T> Sized(int64_t count) {
  return std::vector<T>(static_cast<size_t>(count));
}

// Rows in blocks of 128 that the members share; what a strip gives is appended in order.
class StripEncoder {
 public:
  StripEncoder(const EncodeJob& job, const PlannedTensor& tensor)
      : job_(job),
        tensor_(tensor),
        rows_(tensor.source->rows()),
        columns_(tensor.source->columns()),
        strip_rows_(std::min<int64_t>(kBlockRows * job.team.count(), rows_)),
        values_(Sized<float>(job.team.count() * kBlockRows * columns_)) {
    if (tensor.how == How::kFp8) {
      codes_ = Sized<uint8_t>(strip_rows_ * columns_);
      scales_ = Sized<float>(CeilDiv(strip_rows_, tensor.group) * ScaleColumns());
    } else if (tensor.how == How::kInt) {
      int_codes_ = Sized<int8_t>(strip_rows_ * columns_);
      scales_ = Sized<float>(strip_rows_ * ScaleColumns());
    } else if (tensor.how == How::kBF16) {
      halves_ = Sized<uint16_t>(strip_rows_ * columns_);
    }
  }

  absl::Status Run() {
    for (int64_t begin = 0; begin < rows_; begin += strip_rows_) {
      const int64_t n = std::min(strip_rows_, rows_ - begin);
      std::atomic<bool> finite{true};
      job_.team.Run([&](const base::TeamMember& member) {
        const auto [first, last] = member.Share(CeilDiv(n, kBlockRows));
        for (int64_t block = first; block < last; ++block) {
          if (!EncodeBlock(begin, block, n, member.index())) finite = false;
        }
      });
      if (!finite) return NotFinite(*tensor_.source);
      INHOUSE_RETURN_IF_ERROR(AppendStrip(n));
      if (!job_.on_parameters(n * columns_)) return absl::CancelledError("interrupted");
    }
    return tensor_.how == How::kInt ? AppendShape(tensor_, job_.writer) : absl::OkStatus();
  }

 private:
  int64_t ScaleColumns() const {
    return tensor_.how == How::kFp8 ? CeilDiv(columns_, tensor_.group) : columns_ / tensor_.group;
  }

  // Block `block` of the strip that begins at row `strip` and has `n` rows.
  bool EncodeBlock(int64_t strip, int64_t block, int64_t n, int member) {
    const int64_t row0 = block * kBlockRows;
    const int64_t rows = std::min(kBlockRows, n - row0);
    // F32 is written as it is read, so its strip is kept whole.
    float* values =
        values_.data() + (tensor_.how == How::kF32 ? row0 : member * kBlockRows) * columns_;
    job_.source.ReadRows(*tensor_.source, strip + row0, rows, values);
    if (!AllFinite(values, rows * columns_)) return false;
    if (tensor_.how == How::kBF16) {
      std::transform(values, values + rows * columns_, halves_.data() + row0 * columns_, ToBF16);
    } else if (tensor_.how == How::kFp8) {
      for (int64_t r = 0; r < rows; r += tensor_.group) {
        EncodeFp8Rows(values + r * columns_, row0 + r, std::min(tensor_.group, rows - r));
      }
    } else if (tensor_.how == How::kInt) {
      for (int64_t i = 0; i < rows; ++i) EncodeIntRow(values + i * columns_, row0 + i);
    }
    return true;
  }

  // A row of blocks that begins at row `row` of the strip.
  void EncodeFp8Rows(const float* values, int64_t row, int64_t rows) {
    const int64_t block = tensor_.group;
    for (int64_t c = 0; c < columns_; c += block) {
      scales_[static_cast<size_t>(row / block * ScaleColumns() + c / block)] =
          EncodeFp8Block(values + c, rows, std::min(block, columns_ - c), columns_,
                         codes_.data() + row * columns_ + c);
    }
  }

  void EncodeIntRow(const float* values, int64_t row) {
    const int64_t group = tensor_.group;
    for (int64_t g = 0; g < ScaleColumns(); ++g) {
      const float scale = SearchScale(values + g * group, nullptr, group, tensor_.bits);
      scales_[static_cast<size_t>(row * ScaleColumns() + g)] = scale;
      for (int64_t i = g * group; i < (g + 1) * group; ++i) {
        int_codes_[static_cast<size_t>(row * columns_ + i)] =
            static_cast<int8_t>(EncodeInt(values[i], scale, tensor_.bits));
      }
    }
  }

  absl::Status AppendStrip(int64_t n) {
    const auto& outputs = tensor_.outputs;
    switch (tensor_.how) {
      case How::kCopy:
        return absl::InternalError("a copy has no strips");
      case How::kBF16:
        return job_.writer.Append(outputs[0].name, BytesOf(halves_, n * columns_));
      case How::kF32:
        return job_.writer.Append(outputs[0].name, BytesOf(values_, n * columns_));
      case How::kFp8:
        INHOUSE_RETURN_IF_ERROR(job_.writer.Append(outputs[0].name, BytesOf(codes_, n * columns_)));
        return job_.writer.Append(outputs[1].name,
                                  BytesOf(scales_, CeilDiv(n, tensor_.group) * ScaleColumns()));
      case How::kInt:
        return AppendIntRows(tensor_, n, int_codes_.data(), scales_.data(), job_.writer);
    }
    return absl::OkStatus();
  }

  const EncodeJob& job_;
  const PlannedTensor& tensor_;
  const int64_t rows_;
  const int64_t columns_;
  const int64_t strip_rows_;
  std::vector<float> values_;
  std::vector<uint8_t> codes_;
  std::vector<int8_t> int_codes_;
  std::vector<uint16_t> halves_;
  std::vector<float> scales_;
};

absl::Status CopyTensor(const EncodeJob& job, const PlannedTensor& tensor) {
  constexpr size_t kPiece = 8 << 20;
  std::span<const std::byte> bytes = tensor.source->stored->view.bytes;
  const auto total = static_cast<double>(std::max<size_t>(bytes.size(), 1));
  const auto parameters = static_cast<double>(ElementCount(tensor.source->shape));
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kPiece));
    INHOUSE_RETURN_IF_ERROR(job.writer.Append(tensor.outputs[0].name, piece));
    bytes = bytes.subspan(piece.size());
    const double share = static_cast<double>(piece.size()) / total;
    if (!job.on_parameters(static_cast<int64_t>(share * parameters))) {
      return absl::CancelledError("interrupted");
    }
  }
  return absl::OkStatus();
}

}  // namespace

bool AllFinite(const float* values, int64_t n) {
  // 0 * x is NaN for every x that is not finite.
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += 0.0F * values[i];
  return sum == 0.0F;
}

absl::Status NotFinite(const SourceTensor& tensor) {
  return base::InvalidInput({.file = tensor.stored->file->path(),
                             .field = tensor.stored->name,
                             .value = "NaN or infinity",
                             .expected = "finite weights"});
}

absl::Status AppendIntRows(const PlannedTensor& tensor, int64_t rows, const int8_t* codes,
                           const float* scales, SafetensorsWriter& writer) {
  const int64_t columns = tensor.source->columns();
  const int64_t words = columns * tensor.bits / 32;
  auto packed = Sized<uint32_t>(rows * words);
  for (int64_t row = 0; row < rows; ++row) {
    PackCodes(codes + row * columns, columns, tensor.bits, packed.data() + row * words);
  }
  auto halves = Sized<uint16_t>(rows * (columns / tensor.group));
  std::transform(scales, scales + halves.size(), halves.begin(), ToBF16);
  INHOUSE_RETURN_IF_ERROR(writer.Append(tensor.outputs[0].name, std::as_bytes(std::span(packed))));
  return writer.Append(tensor.outputs[1].name, std::as_bytes(std::span(halves)));
}

absl::Status AppendShape(const PlannedTensor& tensor, SafetensorsWriter& writer) {
  return writer.Append(tensor.outputs[2].name, std::as_bytes(std::span(tensor.source->shape)));
}

absl::Status EncodeTensor(const EncodeJob& job, const PlannedTensor& tensor) {
  const absl::Status status =
      tensor.how == How::kCopy ? CopyTensor(job, tensor) : StripEncoder(job, tensor).Run();
  job.source.Release(*tensor.source);
  return status;
}

}  // namespace inhouse::engine
