// Linear: from stored rows to panels, and what a file of panels says about them.
#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "engine/ops/linear.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Stored bytes after which a member gives pages back, and how far ahead it asks for the next ones.
constexpr int64_t kReleaseBytes = 4 << 20;
constexpr int64_t kReadAheadBytes = 16 << 20;

// The stored bytes of a matrix that stands in one tensor, row after row: asked for ahead of the
// reader, given back behind it. The pages of other matrices are given back as a whole.
class StoredPages {
 public:
  StoredPages(const LinearPart& part, int64_t row_begin, int64_t row_end)
      : weight_(part.weight),
        in_order_(!weight_.assembled() && part.row_order.empty() && weight_.tensors().size() == 1),
        asked_(row_begin),
        released_(row_begin),
        end_(row_end) {}

  // Before the rows from `row` on are read.
  void At(int64_t row) {
    if (!in_order_) return;
    const int64_t row_bytes = std::max<int64_t>(weight_.row_bytes(), 1);
    if (asked_ < end_ && (asked_ - row) * row_bytes < kReadAheadBytes / 2) {
      const int64_t ahead = std::min(end_, row + kReadAheadBytes / row_bytes + 1);
      Advise(asked_, ahead, /*needed=*/true);
      asked_ = ahead;
    }
    if ((row - released_) * row_bytes >= kReleaseBytes) {
      Advise(released_, row, /*needed=*/false);
      released_ = row;
    }
  }
  void Done() const {
    if (in_order_) return Advise(released_, end_, /*needed=*/false);
    for (const StoredTensor* tensor : weight_.tensors()) {
      tensor->file->DontNeed(tensor->file_offset, tensor->view.bytes.size());
    }
  }

 private:
  void Advise(int64_t begin, int64_t end, bool needed) const {
    if (begin >= end) return;
    const StoredTensor& tensor = *weight_.tensors().front();
    const auto offset = tensor.file_offset + static_cast<uint64_t>(begin * weight_.row_bytes());
    const auto size = static_cast<size_t>((end - begin) * weight_.row_bytes());
    if (needed) {
      tensor.file->ReadAhead(offset, size);
    } else {
      tensor.file->DontNeed(offset, size);
    }
  }

  const StoredMatrix& weight_;
  const bool in_order_;
  int64_t asked_;
  int64_t released_;
  const int64_t end_;
};

}  // namespace

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

  void Pack(int64_t panel, std::byte* out) {
    const int64_t row0 = panel * segment.kernel->panel_rows;
    const int64_t n = std::min<int64_t>(segment.kernel->panel_rows, segment.rows - row0);
    const int64_t row_bytes = part.weight.row_bytes();
    if (part.row_order.empty()) {
      part.weight.Rows(row0, n, staging.data(), rows.data());
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
  const int64_t panel_rows = segment.kernel->panel_rows;
  Packer packer(segment, part, in_);
  StoredPages pages(part, first * panel_rows, std::min(last * panel_rows, segment.rows));
  for (int64_t panel = first; panel < last; ++panel) {
    pages.At(panel * panel_rows);
    packer.Pack(panel, memory + segment.byte_begin + panel * segment.panel_bytes);
  }
  pages.Done();
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
  for (size_t s = 0; s < segments_.size(); ++s) {
    const Segment& segment = segments_[s];
    // Any panel would do; the middle one is not special in any format.
    const int64_t panel = segment.panels / 2;
    const auto size = static_cast<size_t>(segment.panel_bytes);
    Arena expected(size);
    Packer(segment, parts_[s], in_).Pack(panel, expected.data());
    if (std::memcmp(expected.data(), memory + segment.byte_begin + panel * segment.panel_bytes,
                    size) != 0) {
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
