// Files of a split set: NAME-00001-of-00003.gguf and so on, written by llama.cpp's gguf-split.
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/gguf.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kSplitsMax = 65535;  // split.count is a u16; names have five digits

struct SplitName {
  std::string prefix;  // with directory
  int64_t number = 0;  // from 1
  int64_t count = 0;
};

std::string FormatSplitName(const SplitName& name) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name.prefix, name.number, name.count);
}

std::optional<SplitName> ParseSplitName(std::string_view path) {
  constexpr std::string_view kPattern = "-00000-of-00000.gguf";  // 0: any digit
  if (path.size() <= kPattern.size()) return std::nullopt;
  const std::string_view tail = path.substr(path.size() - kPattern.size());
  for (size_t i = 0; i < kPattern.size(); ++i) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (kPattern[i] == '0' ? !digit : tail[i] != kPattern[i]) return std::nullopt;
  }
  const auto number = [tail](size_t begin) {
    int64_t value = 0;
    for (const char c : tail.substr(begin, 5)) value = value * 10 + (c - '0');
    return value;
  };
  return SplitName{std::string(path.substr(0, path.size() - kPattern.size())), number(1),
                   number(10)};
}

// Maps one file, checks it and adds its tensors.
absl::StatusOr<GgufMetadata> ReadOne(const std::string& path, TensorTable* table) {
  INHOUSE_ASSIGN_OR_RETURN(std::unique_ptr<base::MappedFile> mapped, base::MappedFile::Open(path));
  INHOUSE_ASSIGN_OR_RETURN(GgufHeader header, ParseGguf(path, mapped->bytes()));
  const base::MappedFile* file = table->AddFile(std::move(mapped));
  for (GgufTensor& entry : header.tensors) {
    StoredTensor tensor;
    tensor.name = std::move(entry.name);
    tensor.view = {.dtype = entry.dtype,
                   .shape = std::move(entry.shape),
                   .bytes = file->bytes().subspan(entry.begin, entry.end - entry.begin)};
    tensor.file = file;
    tensor.file_offset = entry.begin;
    INHOUSE_RETURN_IF_ERROR(table->Add(std::move(tensor)));
  }
  return GgufMetadata(path, std::move(header.values));
}

absl::Status CheckSplit(const GgufMetadata& metadata, int64_t number, int64_t count) {
  INHOUSE_ASSIGN_OR_RETURN(const int64_t no, metadata.Int("split.no", 0, kSplitsMax - 1));
  INHOUSE_ASSIGN_OR_RETURN(const int64_t of, metadata.Int("split.count", 1, kSplitsMax));
  if (no != number || of != count) {
    return base::InvalidInput({.file = metadata.path(),
                               .field = "split.no, split.count",
                               .value = fmt::format("{}, {}", no, of),
                               .expected = fmt::format("{}, {}", number, count)});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufMetadata> ReadGguf(const std::string& path, TensorTable* table) {
  const size_t tensors_before = table->tensors().size();
  INHOUSE_ASSIGN_OR_RETURN(GgufMetadata first, ReadOne(path, table));
  INHOUSE_ASSIGN_OR_RETURN(const int64_t count, first.IntOr("split.count", 1, 0, kSplitsMax));
  if (count <= 1) return first;

  const auto name = ParseSplitName(path);
  if (!name || name->count != count) {
    return base::InvalidInput(
        {.file = path,
         .field = "split.count",
         .value = fmt::format("{}", count),
         .expected = fmt::format("a file name that ends in -00001-of-{:05}.gguf, so that the other "
                                 "files of the set can be found",
                                 count)});
  }
  if (name->number != 1) {
    return base::InvalidInput(
        {.file = path,
         .expected = "the first file of the split set",
         .hint = fmt::format("Open {}", FormatSplitName({name->prefix, 1, count}))});
  }
  INHOUSE_RETURN_IF_ERROR(CheckSplit(first, 0, count));
  for (int64_t i = 2; i <= count; ++i) {
    absl::StatusOr<GgufMetadata> next = ReadOne(FormatSplitName({name->prefix, i, count}), table);
    INHOUSE_RETURN_IF_ERROR(next.status());
    INHOUSE_RETURN_IF_ERROR(CheckSplit(*next, i - 1, count));
  }
  const auto found = static_cast<int64_t>(table->tensors().size() - tensors_before);
  INHOUSE_ASSIGN_OR_RETURN(const int64_t expected,
                           first.IntOr("split.tensors.count", found, 0, INT64_MAX));
  if (found != expected) {
    return base::InvalidInput(
        {.file = path,
         .field = "split.tensors.count",
         .value = fmt::format("{}", expected),
         .expected = fmt::format("{}, which the {} files hold", found, count)});
  }
  return first;
}

}  // namespace inhouse::engine
