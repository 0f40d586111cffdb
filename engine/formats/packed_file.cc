#include "engine/formats/packed_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/sha256.h"
#include "base/status.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kMagic = "INHPACK1";
constexpr int64_t kLengthAt = 8;
constexpr int64_t kDigestAt = 16;
constexpr int64_t kJsonAt = kDigestAt + 64;

int64_t DataOffset(int64_t json_bytes) {
  return (kJsonAt + json_bytes + kPackedDataAlignment - 1) / kPackedDataAlignment *
         kPackedDataAlignment;
}

std::string Sha256Of(std::span<const std::byte> bytes) {
  base::Sha256 hash;
  hash.Update(bytes);
  return hash.FinishHex();
}

bool IsDigest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos;
}

// Reads the fields of one object; the first error is kept.
class Fields {
 public:
  Fields(const std::string& path, std::string where, const ordered_json& object)
      : path_(path), where_(std::move(where)), object_(object) {
    if (!object.is_object()) Fail("", "an object");
  }

  std::string Text(const char* key) {
    const auto found = Find(key);
    if (found == nullptr || !found->is_string()) {
      Fail(key, "a string");
      return "";
    }
    return found->get<std::string>();
  }
  int64_t Number(const char* key, int64_t min, int64_t max) {
    const auto found = Find(key);
    const bool integer = found != nullptr && found->is_number_integer();
    const int64_t value = integer ? found->get<int64_t>() : 0;
    if (!integer || (found->is_number_unsigned() && value < 0) || value < min || value > max) {
      Fail(key, fmt::format("an integer from {} to {}", min, max));
      return min;
    }
    return value;
  }
  std::string Digest(const char* key) {
    std::string text = Text(key);
    if (!IsDigest(text)) Fail(key, "64 lower-case hexadecimal digits");
    return text;
  }
  void Fail(const char* key, const std::string& expected) {
    if (!status_.ok()) return;
    status_ = base::InvalidInput(
        {.file = path_, .field = where_ + key, .value = Value(key), .expected = expected});
  }
  const absl::Status& status() const { return status_; }

 private:
  const ordered_json* Find(const char* key) const {
    if (!object_.is_object()) return nullptr;
    const auto found = object_.find(key);
    return found == object_.end() ? nullptr : &*found;
  }
  std::string Value(const char* key) const {
    const ordered_json* found = Find(key);
    if (found == nullptr) return "";
    return Printable(found->dump(-1, ' ', true, ordered_json::error_handler_t::replace));
  }

  const std::string& path_;
  std::string where_;
  const ordered_json& object_;
  absl::Status status_;
};

absl::StatusOr<PackedSection> ParseSection(const std::string& path, size_t index,
                                           const ordered_json& object, int64_t data_bytes) {
  constexpr int64_t kMany = int64_t{1} << 40;
  Fields fields(path, fmt::format("sections[{}].", index), object);
  PackedSection section;
  section.name = fields.Text("name");
  section.type = fields.Text("type");
  section.kernel = fields.Text("kernel");
  section.rows = fields.Number("rows", 1, kMany);
  section.columns = fields.Number("columns", 1, kMany);
  section.panel_rows = fields.Number("panel_rows", 1, 4096);
  section.panel_bytes = fields.Number("panel_bytes", 64, std::max<int64_t>(data_bytes, 64));
  section.offset = fields.Number("offset", 0, data_bytes);
  section.sha256 = fields.Digest("sha256");
  INHOUSE_RETURN_IF_ERROR(fields.status());
  if (section.panel_bytes % 64 != 0) fields.Fail("panel_bytes", "a multiple of 64");
  if (section.offset % 64 != 0) fields.Fail("offset", "a multiple of 64");
  // Divided, so that nothing overflows.
  if (section.panels() > (data_bytes - section.offset) / section.panel_bytes) {
    fields.Fail("offset",
                fmt::format("{} panels of {} bytes from there within the {} bytes of data",
                            section.panels(), section.panel_bytes, data_bytes));
  }
  INHOUSE_RETURN_IF_ERROR(fields.status());
  return section;
}

absl::Status Differs(const std::string& path, const std::string& field, std::string value,
                     std::string expected) {
  return base::InputError(absl::StatusCode::kFailedPrecondition,
                          {.file = path,
                           .field = field,
                           .value = std::move(value),
                           .expected = std::move(expected),
                           .hint = "Make it anew with `inhouse pack`."});
}

}  // namespace

std::string Fingerprint(const Checkpoint& checkpoint) {
  constexpr size_t kSample = 256;
  base::Sha256 hash;
  for (const auto& [name, tensor] : checkpoint.tensors.tensors()) {
    hash.Update(fmt::format("{}\n{} {} {} {}\n", name, Name(tensor.view.dtype),
                            ToString(tensor.view.shape), tensor.file_offset,
                            tensor.view.bytes.size()));
    const std::span<const std::byte> bytes = tensor.view.bytes;
    const size_t size = std::min(kSample, bytes.size());
    for (const size_t at : {size_t{0}, (bytes.size() - size) / 2, bytes.size() - size}) {
      hash.Update(bytes.subspan(at, size));
    }
  }
  return hash.FinishHex();
}

absl::StatusOr<PackedHeader> ParsePackedJson(const std::string& path, std::string_view text) {
  const ordered_json json = ordered_json::parse(text, nullptr, false);
  if (json.is_discarded()) {
    return base::InvalidInput(
        {.file = path, .field = fmt::format("offset {}", kJsonAt), .expected = "a JSON object"});
  }
  Fields fields(path, "", json);
  PackedHeader header;
  header.isa = fields.Text("isa");
  header.fingerprint = fields.Digest("fingerprint");
  header.data_bytes = fields.Number("data_bytes", 0, int64_t{1} << 50);
  if (fields.status().ok() && (!json.contains("sections") || !json["sections"].is_array())) {
    fields.Fail("sections", "an array");
  }
  INHOUSE_RETURN_IF_ERROR(fields.status());
  int64_t end = 0;
  for (const ordered_json& object : json["sections"]) {
    const size_t index = header.sections.size();
    INHOUSE_ASSIGN_OR_RETURN(PackedSection section,
                             ParseSection(path, index, object, header.data_bytes));
    if (section.offset < end) {
      return base::InvalidInput({.file = path,
                                 .field = fmt::format("sections[{}].offset", index),
                                 .value = fmt::format("{}", section.offset),
                                 .expected = fmt::format("at least {}, where the section before "
                                                         "it ends",
                                                         end)});
    }
    end = section.offset + section.bytes();
    header.sections.push_back(std::move(section));
  }
  return header;
}

std::string PackedPreamble(const PackedHeader& header) {
  ordered_json sections = ordered_json::array();
  for (const PackedSection& s : header.sections) {
    sections.push_back({{"name", s.name},
                        {"type", s.type},
                        {"kernel", s.kernel},
                        {"rows", s.rows},
                        {"columns", s.columns},
                        {"panel_rows", s.panel_rows},
                        {"panel_bytes", s.panel_bytes},
                        {"offset", s.offset},
                        {"sha256", s.sha256}});
  }
  const ordered_json json = {{"isa", header.isa},
                             {"fingerprint", header.fingerprint},
                             {"data_bytes", header.data_bytes},
                             {"sections", std::move(sections)}};
  const std::string text = json.dump(-1, ' ', true, ordered_json::error_handler_t::replace);
  std::string out(kMagic);
  for (int i = 0; i < 8; ++i) out += static_cast<char>(text.size() >> (8 * i) & 0xFFU);
  out += Sha256Of(std::as_bytes(std::span(text)));
  out += text;
  out.resize(static_cast<size_t>(DataOffset(static_cast<int64_t>(text.size()))), '\0');
  return out;
}

absl::StatusOr<PackedHeader> ParsePacked(const std::string& path,
                                         std::span<const std::byte> bytes) {
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto bad = [&path](std::string field, std::string value, std::string expected) {
    return base::InvalidInput({.file = path,
                               .field = std::move(field),
                               .value = std::move(value),
                               .expected = std::move(expected),
                               .hint = "Make it anew with `inhouse pack`."});
  };
  if (all.substr(0, kMagic.size()) != kMagic) {
    return bad("offset 0", Printable(all.substr(0, kMagic.size())),
               fmt::format("'{}', with which a file of `inhouse pack` begins", kMagic));
  }
  if (all.size() < static_cast<size_t>(kJsonAt)) {
    return bad("size", fmt::format("{}", all.size()), fmt::format("at least {}", kJsonAt));
  }
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) {
    length |= uint64_t{static_cast<unsigned char>(all[kLengthAt + i])} << (8 * i);
  }
  const uint64_t most =
      std::min<uint64_t>(all.size() - static_cast<size_t>(kJsonAt), kPackedHeaderBytesMax);
  if (length > most) {
    return bad(fmt::format("offset {}", kLengthAt), fmt::format("{}", length),
               fmt::format("a header of at most {} bytes", most));
  }
  const std::string_view text = all.substr(kJsonAt, length);
  if (Sha256Of(std::as_bytes(std::span(text))) != all.substr(kDigestAt, 64)) {
    return bad(fmt::format("offset {}", kDigestAt), Printable(all.substr(kDigestAt, 64)),
               "the SHA-256 of the header");
  }
  INHOUSE_ASSIGN_OR_RETURN(PackedHeader header, ParsePackedJson(path, text));
  const int64_t size = DataOffset(static_cast<int64_t>(length)) + header.data_bytes;
  if (static_cast<int64_t>(all.size()) != size) {
    return bad("size", fmt::format("{}", all.size()), fmt::format("{}, as the header says", size));
  }
  return header;
}

absl::StatusOr<std::unique_ptr<PackedFile>> PackedFile::Open(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(auto file, base::MappedFile::Open(path));
  INHOUSE_ASSIGN_OR_RETURN(PackedHeader header, ParsePacked(path, file->bytes()));
  return std::unique_ptr<PackedFile>(new PackedFile(std::move(file), std::move(header)));
}

std::span<const std::byte> PackedFile::data() const {
  return file_->bytes().last(static_cast<size_t>(header_.data_bytes));
}

std::span<const std::byte> PackedFile::data(const PackedSection& section) const {
  return data().subspan(static_cast<size_t>(section.offset), static_cast<size_t>(section.bytes()));
}

absl::Status PackedFile::Matches(const PackedHeader& wanted) const {
  if (header_.fingerprint != wanted.fingerprint) {
    return Differs(path(), "fingerprint", header_.fingerprint,
                   fmt::format("{}, the model's", wanted.fingerprint));
  }
  if (header_.sections.size() != wanted.sections.size() ||
      header_.data_bytes != wanted.data_bytes) {
    // A section that differs says more than the number of them.
    if (header_.sections.empty()) return Differs(path(), "sections", "none", "the model's");
  }
  const size_t count = std::min(header_.sections.size(), wanted.sections.size());
  for (size_t i = 0; i < count; ++i) {
    const PackedSection& has = header_.sections[i];
    const PackedSection& want = wanted.sections[i];
    const std::string where = fmt::format("'{}'", Printable(has.name));
    if (has.name != want.name || has.rows != want.rows || has.columns != want.columns) {
      return Differs(path(), where, fmt::format("{} x {}", has.rows, has.columns),
                     fmt::format("'{}' of {} x {} there", want.name, want.rows, want.columns));
    }
    if (has.type != want.type || has.kernel != want.kernel || has.panel_rows != want.panel_rows ||
        has.panel_bytes != want.panel_bytes || has.offset != want.offset) {
      return Differs(
          path(), where,
          fmt::format("{} for kernel {} (level {}), panels of {} rows and {} bytes at {}",
                      Printable(has.type), Printable(has.kernel), Printable(header_.isa),
                      has.panel_rows, has.panel_bytes, has.offset),
          fmt::format("{} for kernel {} (level {}), panels of {} rows and {} bytes at {}",
                      want.type, want.kernel, wanted.isa, want.panel_rows, want.panel_bytes,
                      want.offset));
    }
  }
  if (header_.sections.size() != wanted.sections.size() ||
      header_.data_bytes != wanted.data_bytes) {
    return Differs(path(), "sections",
                   fmt::format("{} of {} bytes", header_.sections.size(), header_.data_bytes),
                   fmt::format("{} of {} bytes", wanted.sections.size(), wanted.data_bytes));
  }
  return absl::OkStatus();
}

absl::Status PackedFile::Verify(const std::function<bool(int64_t, int64_t)>& progress) const {
  for (const PackedSection& section : header_.sections) {
    const std::string digest = Sha256Of(data(section));
    if (digest != section.sha256) {
      return base::InputError(
          absl::StatusCode::kDataLoss,
          {.file = path(),
           .field = fmt::format("'{}' at data offset {}", Printable(section.name), section.offset),
           .value = digest,
           .expected = fmt::format("SHA-256 {}", section.sha256),
           .hint = "Make it anew with `inhouse pack`."});
    }
    const auto begin = static_cast<size_t>(file_->bytes().size() - data().size());
    file_->DontNeed(begin + static_cast<size_t>(section.offset),
                    static_cast<size_t>(section.bytes()));
    if (!progress(section.offset + section.bytes(), header_.data_bytes)) {
      return absl::CancelledError(path() + ": verifying cancelled");
    }
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
