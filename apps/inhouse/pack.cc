// inhouse pack: saves a model's weights as the kernels read them, so that a start maps them.
#include "engine/pack.h"

#include <cstdio>
#include <memory>
#include <string>

#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

struct PackFlags {
  engine::EngineOptions engine;
  std::string out;
  bool verify = false;
  bool json = false;
};

absl::StatusOr<engine::PackReport> Pack(PackFlags& flags) {
  INHOUSE_ASSIGN_OR_RETURN(flags.engine.model, lifecycle::ResolveModel(flags.engine.model));
  FindPacked(&flags.engine);
  if (flags.out.empty() && flags.engine.packed_cache.empty()) {
    return base::InvalidInput({.field = "--out", .expected = "a file: there is no store"});
  }
  ProgressBar bar(flags.verify ? "verifying" : "packing");
  const auto progress = [&bar](int64_t done, int64_t total) {
    bar.Set(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
    return !Interrupted();
  };
  if (flags.verify) return engine::VerifyPacked(flags.engine, flags.out, progress);
  return engine::SavePacked(flags.engine, flags.out, progress);
}

void Print(const PackFlags& flags, const engine::PackReport& report) {
  if (flags.json) {
    const nlohmann::ordered_json out = {{"path", report.path},
                                        {"model", flags.engine.model},
                                        {"isa", report.isa},
                                        {"fingerprint", report.fingerprint},
                                        {"file_bytes", report.file_bytes},
                                        {"stored_bytes", report.stored_bytes},
                                        {"matrices", report.matrices},
                                        {"seconds", report.seconds},
                                        {"verified", flags.verify}};
    std::printf("%s\n",
                out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
    return;
  }
  fmt::print("{}\n{} of {} matrices for level {}, {} in {}\n", report.path,
             FormatBinaryBytes(static_cast<double>(report.file_bytes)), report.matrices, report.isa,
             flags.verify ? "verified" : "packed", FormatSeconds(report.seconds));
}

}  // namespace

VerbRun SetUpPack(CLI::App& app) {
  auto flags = std::make_shared<PackFlags>();
  AddModelFlags(app, &flags->engine);
  app.add_option("-o,--out", flags->out,
                 "the file (default: in the local store, where the other verbs find it by "
                 "themselves)");
  app.add_flag("--verify", flags->verify,
               "write nothing; read the file and compare it with its digests and the model");
  app.add_flag("--json", flags->json, "print a JSON object");
  return [flags]() -> int {
    const absl::StatusOr<engine::PackReport> report = Pack(*flags);
    if (!report.ok()) return ReportError(report.status(), flags->json);
    Print(*flags, *report);
    return kDone;
  };
}

}  // namespace inhouse::apps
