#include "model-server/routes/recorder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWaitingMax = 256;  // answers
constexpr uint64_t kRecordBytesMax = uint64_t{1} << 30;
constexpr size_t kTimeDigits = 19;
constexpr size_t kDigits = 24;
// Younger, it may be another server's that still writes it.
constexpr std::chrono::minutes kHalfAgeMin{1};

// Ids are the client's in part, and no names of files.
std::string Digits(std::string_view id) {
  base::Sha256 hash;
  hash.Update(id);
  return hash.FinishHex().substr(0, kDigits);
}

// "<unix ns>-<digits of the answer's id>-<digits of the request's>.json": names are in the order
// of time.
std::string NameOf(const AnswerRecord& record) {
  return fmt::format("{:0{}}-{}-{}.json", absl::ToUnixNanos(absl::Now()), kTimeDigits,
                     Digits(record.id), Digits(record.request_id));
}

bool IsRecordName(const std::string& name) {
  return name.size() == kTimeDigits + 1 + kDigits + 1 + kDigits + 5 && name.ends_with(".json") &&
         name[kTimeDigits] == '-' && name[kTimeDigits + 1 + kDigits] == '-';
}

// What a killed process was writing (base::ReplaceFile).
bool IsUnfinished(const std::string& name) {
  const size_t dot = name.rfind('.');
  return dot != std::string::npos && IsRecordName(name.substr(0, dot));
}

// Names in the directory, sorted: for records, in the order of time.
absl::StatusOr<std::vector<std::string>> Names(const std::string& directory,
                                               bool (*is_wanted)(const std::string&)) {
  std::vector<std::string> names;
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    std::string name = entries->path().filename().string();
    if (is_wanted(name)) names.push_back(std::move(name));
  }
  if (error) return base::OsError(error.value(), directory, "read");
  std::ranges::sort(names);
  return names;
}

}  // namespace

Recorder::Recorder(RecorderOptions options)
    : options_(std::move(options)), writer_(std::make_unique<WorkQueue>(kWaitingMax)) {}

absl::StatusOr<std::shared_ptr<Recorder>> Recorder::Open(const RecorderOptions& options) {
  std::error_code error;
  if (fs::create_directories(options.directory, error)) {
    fs::permissions(options.directory, fs::perms::owner_all, error);
  }
  if (error) return base::OsError(error.value(), options.directory, "create");
  if (access(options.directory.c_str(), R_OK | W_OK | X_OK) != 0) {
    return base::OsError(errno, options.directory, "write into");
  }
  std::shared_ptr<Recorder> recorder(new Recorder(options));
  INHOUSE_RETURN_IF_ERROR(recorder->Scan());
  return recorder;
}

Recorder::~Recorder() {
  absl::Notification written;  // a queue drops what waits when it is destroyed
  writer_->AddLast([&written] { written.Notify(); });
  written.WaitForNotification();
}

absl::Status Recorder::Scan() {
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                           Names(options_.directory, IsRecordName));
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> halves,
                           Names(options_.directory, IsUnfinished));
  for (const std::string& name : halves) {
    const fs::path path = options_.directory + "/" + name;
    std::error_code gone;
    const auto age = fs::file_time_type::clock::now() - fs::last_write_time(path, gone);
    if (!gone && age > kHalfAgeMin) unlink(path.c_str());
  }
  for (const std::string& name : names) {
    std::error_code gone;
    const auto size = fs::file_size(options_.directory + "/" + name, gone);
    if (gone) continue;
    files_.emplace_back(name, static_cast<int64_t>(size));
    bytes_ += static_cast<int64_t>(size);
  }
  Shrink();
  return absl::OkStatus();
}

void Recorder::Add(std::shared_ptr<const AnswerRecord> record) {
  const std::string id = record->id;
  if (!writer_->Add([this, record = std::move(record)] { Write(*record); })) {
    spdlog::warn("{}: not recorded, because the disk does not keep up", id);
  }
}

void Recorder::Write(const AnswerRecord& record) {
  const std::string name = NameOf(record);
  const std::string text = RecordJson(record);
  const absl::Status status = base::ReplaceFile(options_.directory + "/" + name, text, 0600);
  if (status.ok()) {
    files_.emplace_back(name, static_cast<int64_t>(text.size()));
    bytes_ += static_cast<int64_t>(text.size());
    Shrink();
  } else if (!failed_) {  // of a disk that stays full, the log tells once
    spdlog::error("answers are not recorded: {}", base::Message(status));
  }
  failed_ = !status.ok();
}

void Recorder::Shrink() {
  while (bytes_ > options_.bytes_max && files_.size() > 1) {
    const auto& [name, size] = files_.front();
    unlink((options_.directory + "/" + name).c_str());
    bytes_ -= size;
    files_.pop_front();
  }
}

absl::StatusOr<AnswerRecord> FindRecord(const std::string& directory, const std::string& id) {
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> names, Names(directory, IsRecordName));
  const std::string digits = Digits(id);
  for (size_t i = names.size(); i-- > 0;) {
    if (names[i].find("-" + digits) == std::string::npos) continue;
    const std::string path = directory + "/" + names[i];
    INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, kRecordBytesMax));
    return ParseRecord(path, text);
  }
  return base::InputError(
      absl::StatusCode::kNotFound,
      {.file = directory,
       .field = "id",
       .value = id,
       .expected = "the id of a recorded answer (chatcmpl-..., cmpl-..., resp_..., msg_...) or its "
                   "x-request-id"});
}

}  // namespace inhouse::model_server
