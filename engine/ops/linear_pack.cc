// Linear: from stored rows to panels, and what a file of panels says about them.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "engine/ops/linear.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// How much is read at a time: what stays in a second-level cache until it is packed, beside the
// panel. And how far ahead the next ones are asked for.
constexpr int64_t kWindowBytes = 256 << 10;
constexpr int64_t kReadAheadBytes = 16 << 20;

}  // namespace

// The rows of one part in the file, some at a time, copied by reads: a map would cost more for its
// pages than the copy. The pages that a map has to be used for (rows that are permuted, codes that
// do not lie row after row, a file that cannot be read) are given back at the end.
class Linear::StoredRows {
 public:
  StoredRows(const LinearPart& part, int64_t row_begin, int64_t row_end)
      : weight_(part.weight),
        row_bytes_(part.row_order.empty() ? weight_.stored_row_bytes() : 0),
        end_(row_end),
        asked_(row_begin) {
    if (row_bytes_ > 0 && weight_.tensors().front()->file == nullptr) row_bytes_ = 0;
  }

  // Where rows [row, row + n) were copied to; null: they must be read from the map. Valid until the
  // next call. Rows are asked for from the first to the last.
  const std::byte* At(int64_t row, int64_t n) {
    if (row_bytes_ == 0) return nullptr;
    if (row < window_begin_ || row + n > window_end_) Fill(row, n);
    return row_bytes_ == 0 ? nullptr : window_.data() + (row - window_begin_) * row_bytes_;
  }

  // Gives the mapped pages back.
  void Done() const {
    for (size_t i = row_bytes_ > 0 ? 1 : 0; i < weight_.tensors().size(); ++i) {
      const StoredTensor& tensor = *weight_.tensors()[i];
      if (tensor.file != nullptr) {
        tensor.file->DontNeed(tensor.file_offset, tensor.view.bytes.size());
      }
    }
  }

 private:
  void Fill(int64_t row, int64_t n) {
    const StoredTensor& tensor = *weight_.tensors().front();
    AskAhead(tensor, row);
    const int64_t rows = std::min(end_ - row, std::max(n, kWindowBytes / row_bytes_));
    window_.resize(static_cast<size_t>(rows * row_bytes_));
    if (!tensor.file->Read(Offset(tensor, row), window_)) {
      row_bytes_ = 0;
      return;
    }
    window_begin_ = row;
    window_end_ = row + rows;
  }
  void AskAhead(const StoredTensor& tensor, int64_t row) {
    if (asked_ >= end_ || (asked_ - row) * row_bytes_ >= kReadAheadBytes / 2) return;
    const int64_t ahead = std::min(end_, row + kReadAheadBytes / row_bytes_ + 1);
    tensor.file->ReadAhead(Offset(tensor, asked_),
                           static_cast<size_t>((ahead - asked_) * row_bytes_));
    asked_ = ahead;
  }
  size_t Offset(const StoredTensor& tensor, int64_t row) const {
    return static_cast<size_t>(tensor.file_offset) + static_cast<size_t>(row * row_bytes_);
  }

  const StoredMatrix& weight_;
  int64_t row_bytes_;  // 0: from the map
  const int64_t end_;
  int64_t asked_;
  std::vector<std::byte> window_;
  int64_t window_begin_ = 0;
  int64_t window_end_ = 0;
};

// Packs panels of one part; has room for the rows of one if they are assembled, which stay in a
// near cache until they are packed.
struct Linear::Packer {
  Packer(const Segment& segment_in, const LinearPart& part_in, int64_t columns_in)
      : segment(segment_in),
        part(part_in),
        columns(columns_in),
        rows(static_cast<size_t>(segment.kernel->panel_rows)),
        staging(part.weight.assembled()
                    ? static_cast<size_t>(segment.kernel->panel_rows * part.weight.row_bytes())
                    : 0) {}

  // `stored` as for StoredMatrix::Rows.
  void Pack(int64_t panel, const std::byte* stored, std::byte* out) {
    const int64_t row0 = segment.panel_row(panel);
    const int64_t n = segment.panel_row_count(panel);
    const int64_t row_bytes = part.weight.row_bytes();
    if (part.row_order.empty()) {
      part.weight.Rows(row0, n, stored, staging.data(), rows.data());
    } else {
      for (int64_t i = 0; i < n; ++i) {
        rows[static_cast<size_t>(i)] =
            part.weight.Row(part.row_order[static_cast<size_t>(row0 + i)],
                            part.weight.assembled() ? staging.data() + i * row_bytes : nullptr);
      }
    }
    segment.kernel->pack_panel(rows.data(), static_cast<int>(n), columns, out);
  }

  const Segment& segment;
  const LinearPart& part;
  int64_t columns;
  std::vector<const std::byte*> rows;
  std::vector<std::byte> staging;
};

void Linear::PackSegment(const Segment& segment, const LinearPart& part,
                         std::pair<int64_t, int64_t> share, std::byte* memory) const {
  const int64_t first = std::max(share.first, segment.panel_begin) - segment.panel_begin;
  const int64_t last =
      std::min(share.second, segment.panel_begin + segment.panels) - segment.panel_begin;
  if (first >= last) return;
  Packer packer(segment, part, in_);
  StoredRows stored(part, segment.panel_row(first),
                    std::min(segment.panel_row(last), segment.rows));
  for (int64_t panel = first; panel < last; ++panel) {
    const std::byte* rows = stored.At(segment.panel_row(panel), segment.panel_row_count(panel));
    packer.Pack(panel, rows, memory + segment.byte_begin + panel * segment.panel_bytes);
  }
  stored.Done();
}

void Linear::Pack(const base::TeamMember& member, std::byte* memory) const {
  // The same cut as the work queue's, so that a thread touches first what it will read.
  const std::pair<int64_t, int64_t> share = member.Share(panels_);
  for (size_t s = 0; s < segments_.size(); ++s) {
    PackSegment(segments_[s], parts_[s], share, memory);
  }
}

void Linear::Describe(int64_t offset, std::vector<PackedSection>* sections) const {
  INHOUSE_CHECK(parts_.size() == segments_.size(), "described before the parts are released");
  for (size_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    sections->push_back({.name = parts_[s].weight.name(),
                         .type = std::string(Name(parts_[s].weight.dtype())),
                         .kernel = segment.kernel->name,
                         .rows = segment.rows,
                         .columns = in_,
                         .panel_rows = segment.kernel->panel_rows,
                         .panel_bytes = segment.panel_bytes,
                         .offset = offset + segment.byte_begin});
  }
}

absl::Status Linear::SpotCheck(const std::byte* memory) const {
  std::vector<std::byte> buffer;
  for (size_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    // Any panel would do; the middle one is not special in any format.
    const int64_t panel = segment.panels / 2;
    const auto size = static_cast<size_t>(segment.panel_bytes);
    buffer.assign(size + 63, std::byte{0});
    const auto address = reinterpret_cast<uintptr_t>(buffer.data());
    std::byte* expected = buffer.data() + (AlignUp(address, 64) - address);
    Packer(segment, parts_[s], in_).Pack(panel, nullptr, expected);
    if (std::memcmp(expected, memory + segment.byte_begin + panel * segment.panel_bytes, size) !=
        0) {
      return base::InputError(absl::StatusCode::kFailedPrecondition,
                              {.field = fmt::format("'{}'", parts_[s].weight.name()),
                               .value = fmt::format("panel {}", panel),
                               .expected = "the bytes that this build packs from the model",
                               .hint = "Make it anew with `inhouse pack`."});
    }
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
