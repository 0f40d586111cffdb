#include "engine/runtime/packed.h"

#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>

#include "base/new_file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "engine/pack.h"
#include "engine/runtime/bind_options.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// A bound model that is not loaded.
struct Bound {
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Model> model;
  std::unique_ptr<base::ThreadTeam> team;
  PackedHeader wanted;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();

  static absl::StatusOr<Bound> Open(const EngineOptions& options) {
    Bound bound;
    INHOUSE_ASSIGN_OR_RETURN(const BindOptions bind, BindOptionsOf(options));
    INHOUSE_ASSIGN_OR_RETURN(bound.checkpoint, Checkpoint::Open(options.model));
    INHOUSE_ASSIGN_OR_RETURN(bound.model, Model::Bind(*bound.checkpoint, bind));
    bound.team = std::make_unique<base::ThreadTeam>(
        options.threads > 0 ? options.threads : base::DefaultThreadCount());
    bound.wanted = DescribePacked(*bound.checkpoint, *bind.kernels, *bound.model);
    return bound;
  }

  PackReport Report(const std::string& path, int64_t file_bytes) const {
    return {
        .path = path,
        .isa = wanted.isa,
        .fingerprint = wanted.fingerprint,
        .file_bytes = file_bytes,
        .stored_bytes = model->weights().stored_bytes(),
        .matrices = static_cast<int64_t>(wanted.sections.size()),
        .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()};
  }
};

// Writes one product and fills in the digests of its sections, both at the same time if there are
// threads for it.
absl::Status WritePiece(base::ThreadTeam& team, const WeightMemory::Piece& piece,
                        int64_t data_offset, base::NewFile& file, PackedHeader* header) {
  absl::Status written;
  team.Run([&](const base::TeamMember& member) {
    if (member.index() == 0) {
      written = file.WriteAt(static_cast<uint64_t>(data_offset + piece.offset), piece.bytes);
    }
    if (member.index() != member.count() - 1) return;
    for (size_t i = piece.section; i < piece.section + piece.section_count; ++i) {
      PackedSection& section = header->sections[i];
      base::Sha256 hash;
      hash.Update(piece.bytes.subspan(static_cast<size_t>(section.offset - piece.offset),
                                      static_cast<size_t>(section.bytes())));
      section.sha256 = hash.FinishHex();
    }
  });
  return written;
}

absl::Status TryToMap(const std::string& path, const PackedHeader& wanted, base::ThreadTeam& team,
                      Model& model) {
  INHOUSE_ASSIGN_OR_RETURN(auto file, PackedFile::Open(path));
  INHOUSE_RETURN_IF_ERROR(file->Matches(wanted));
  return model.weights().Map(team, std::move(file));
}

}  // namespace

PackedHeader DescribePacked(const Checkpoint& checkpoint, const KernelTable& kernels,
                            Model& model) {
  PackedHeader header = model.weights().Describe();
  header.isa = std::string(Name(kernels.level));
  header.fingerprint = Fingerprint(checkpoint);
  return header;
}

std::string PackedCachePath(const EngineOptions& options, const PackedHeader& wanted) {
  base::Sha256 layout;
  for (const PackedSection& s : wanted.sections) {
    layout.Update(fmt::format("{} {} {}\n", s.kernel, s.panel_rows, s.panel_bytes));
  }
  return fmt::format("{}/{}-{}-{}{}", options.packed_cache, wanted.fingerprint.substr(0, 24),
                     wanted.isa, layout.FinishHex().substr(0, 8), kPackedExtension);
}

absl::Status MapPacked(const EngineOptions& options, const Checkpoint& checkpoint,
                       const KernelTable& kernels, base::ThreadTeam& team, Model& model,
                       LoadReport* report) {
  if (options.packed.empty() && options.packed_cache.empty()) return absl::OkStatus();
  const PackedHeader wanted = DescribePacked(checkpoint, kernels, model);
  const bool named = !options.packed.empty();
  const std::string path = named ? options.packed : PackedCachePath(options, wanted);
  std::error_code ignored;
  if (!named && !std::filesystem::exists(path, ignored)) return absl::OkStatus();
  absl::Status status = TryToMap(path, wanted, team, model);
  if (status.ok()) {
    report->packed = path;
  } else if (named) {
    return status;
  } else {
    report->problem = base::Message(status);
  }
  return absl::OkStatus();
}

absl::StatusOr<PackReport> SavePacked(const EngineOptions& options, const std::string& out,
                                      const PackProgress& progress) {
  INHOUSE_ASSIGN_OR_RETURN(Bound bound, Bound::Open(options));
  PackedHeader header = bound.wanted;
  for (PackedSection& section : header.sections) section.sha256.assign(64, '0');
  const auto data_offset = static_cast<int64_t>(PackedPreamble(header).size());
  std::string path = out;
  if (path.empty()) {
    path = PackedCachePath(options, header);
    std::error_code error;
    std::filesystem::create_directories(options.packed_cache, error);
    if (error) return base::OsError(error.value(), options.packed_cache, "create");
  }
  const int64_t file_bytes = data_offset + header.data_bytes;
  INHOUSE_ASSIGN_OR_RETURN(const auto file,
                           base::NewFile::Create(path, static_cast<uint64_t>(file_bytes)));
  INHOUSE_RETURN_IF_ERROR(bound.model->weights().ForEach(
      *bound.team, [&](const WeightMemory::Piece& piece) -> absl::Status {
        INHOUSE_RETURN_IF_ERROR(WritePiece(*bound.team, piece, data_offset, *file, &header));
        const int64_t done = piece.offset + static_cast<int64_t>(piece.bytes.size());
        if (!progress(done, header.data_bytes)) return absl::CancelledError("interrupted");
        return absl::OkStatus();
      }));
  const std::string preamble = PackedPreamble(header);
  INHOUSE_RETURN_IF_ERROR(file->WriteAt(0, std::as_bytes(std::span(preamble))));
  INHOUSE_RETURN_IF_ERROR(file->Commit());
  return bound.Report(path, file_bytes);
}

absl::StatusOr<PackReport> VerifyPacked(const EngineOptions& options, const std::string& file,
                                        const PackProgress& progress) {
  INHOUSE_ASSIGN_OR_RETURN(Bound bound, Bound::Open(options));
  const std::string path = file.empty() ? PackedCachePath(options, bound.wanted) : file;
  INHOUSE_ASSIGN_OR_RETURN(auto packed, PackedFile::Open(path));
  INHOUSE_RETURN_IF_ERROR(packed->Matches(bound.wanted));
  INHOUSE_RETURN_IF_ERROR(packed->Verify(progress));
  PackReport report = bound.Report(path, packed->file_bytes());
  INHOUSE_RETURN_IF_ERROR(bound.model->weights().Map(*bound.team, std::move(packed)));
  return report;
}

}  // namespace inhouse::engine
