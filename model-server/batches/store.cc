#include "model-server/batches/store.h"

#include <array>
#include <filesystem>
#include <functional>
#include <utility>

#include "SQLiteCpp/SQLiteCpp.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, kBatchStatuses> kStatusNames = {
    "validating", "failed",  "in_progress", "finalizing",
    "completed",  "expired", "cancelling",  "cancelled"};
constexpr int kVersion = 2;

constexpr char kSchema[] = R"(
  CREATE TABLE files (id TEXT PRIMARY KEY, filename TEXT, purpose TEXT, bytes INTEGER,
                      created_at INTEGER, expires_at INTEGER);
  CREATE TABLE batches (id TEXT PRIMARY KEY, input_file TEXT, endpoint TEXT, metadata TEXT,
                        status INTEGER, at0 INTEGER, at1 INTEGER, at2 INTEGER, at3 INTEGER,
                        at4 INTEGER, at5 INTEGER, at6 INTEGER, at7 INTEGER, expires_at INTEGER,
                        total INTEGER, completed INTEGER, failed INTEGER, output_file TEXT,
                        error_file TEXT, errors TEXT);
  CREATE TABLE results (batch TEXT, line INTEGER, custom_id TEXT, status INTEGER, body TEXT,
                        request_id TEXT, PRIMARY KEY (batch, line)) WITHOUT ROWID;
)";
// What version 2 adds: whose they are. What was there before is the operator's.
constexpr char kOwners[] = R"(
  ALTER TABLE files ADD COLUMN owner TEXT NOT NULL DEFAULT '';
  ALTER TABLE batches ADD COLUMN owner TEXT NOT NULL DEFAULT '';
  ALTER TABLE batches ADD COLUMN key TEXT NOT NULL DEFAULT '';
)";
constexpr char kBatchColumns[] =
    "id, input_file, endpoint, metadata, status, at0, at1, at2, at3, at4, at5, at6, at7, "
    "expires_at, total, completed, failed, output_file, error_file, errors, owner, key";

absl::Status NotFound(std::string_view kind, const std::string& id) {
  return absl::NotFoundError(fmt::format("No such {}: {}", kind, id.substr(0, 100)));
}

StoredFile FileOf(SQLite::Statement& row) {
  return {.id = row.getColumn(0).getString(),
          .filename = row.getColumn(1).getString(),
          .purpose = row.getColumn(2).getString(),
          .bytes = row.getColumn(3).getInt64(),
          .created_at = row.getColumn(4).getInt64(),
          .expires_at = row.getColumn(5).getInt64(),
          .owner = row.getColumn(6).getString()};
}

Batch BatchOf(SQLite::Statement& row) {
  Batch batch{.id = row.getColumn(0).getString(),
              .input_file = row.getColumn(1).getString(),
              .endpoint = row.getColumn(2).getString(),
              .metadata = row.getColumn(3).getString(),
              .status = static_cast<BatchStatus>(row.getColumn(4).getInt())};
  for (int i = 0; i < kBatchStatuses; ++i) batch.reached[i] = row.getColumn(5 + i).getInt64();
  batch.expires_at = row.getColumn(13).getInt64();
  batch.total = row.getColumn(14).getInt64();
  batch.completed = row.getColumn(15).getInt64();
  batch.failed = row.getColumn(16).getInt64();
  batch.output_file = row.getColumn(17).getString();
  batch.error_file = row.getColumn(18).getString();
  batch.errors = row.getColumn(19).getString();
  batch.owner = row.getColumn(20).getString();
  batch.key = row.getColumn(21).getString();
  return batch;
}

class SqliteStore final : public BatchStore {
 public:
  explicit SqliteStore(std::string directory)
      : directory_(std::move(directory)),
        db_(directory_ + "/batches.sqlite", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE, 5000) {
    db_.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;");
    const int version = db_.execAndGet("PRAGMA user_version").getInt();
    if (version > kVersion) {
      throw SQLite::Exception(fmt::format("made by a newer version ({})", version));
    }
    if (version == kVersion) return;
    SQLite::Transaction transaction(db_);
    if (version < 1) db_.exec(kSchema);
    db_.exec(kOwners);
    db_.exec(fmt::format("PRAGMA user_version = {}", kVersion));
    transaction.commit();
  }

  // Contents that a crash has left without a row.
  void Sweep() {
    for (const auto& entry : fs::directory_iterator(directory_ + "/files")) {
      const std::string name = entry.path().filename().string();
      // Only what is surely ours, and surely without a row: not a stranger's file in the same
      // place, and nothing because the database could not be read.
      if (name.starts_with("file-") && absl::IsNotFound(File(name).status())) {
        fs::remove(entry.path());
      }
    }
  }

  absl::Status AddFile(const StoredFile& file, std::string_view content) override {
    return Try([&] {
      absl::Status status = base::ReplaceFile(PathOf(file.id), content);
      if (status.ok()) InsertFile(file);
      return status;
    });
  }

  absl::StatusOr<StoredFile> File(const std::string& id) override {
    return TryOr<StoredFile>([&]() -> absl::StatusOr<StoredFile> {
      SQLite::Statement row(db_, "SELECT * FROM files WHERE id = ?");
      row.bind(1, id);
      if (!row.executeStep()) return NotFound("file", id);
      return FileOf(row);
    });
  }

  absl::StatusOr<std::string> Content(const std::string& id) override {
    INHOUSE_RETURN_IF_ERROR(File(id).status());
    return base::ReadFile(PathOf(id));
  }

  absl::Status RemoveFile(const std::string& id) override {
    return Try([&]() -> absl::Status {
      SQLite::Statement row(db_, "DELETE FROM files WHERE id = ?");
      row.bind(1, id);
      if (row.exec() == 0) return NotFound("file", id);
      std::error_code ignored;  // what stays is swept at the next start
      fs::remove(PathOf(id), ignored);
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<StoredFile>> Files(const ListOptions& options) override {
    return TryOr<std::vector<StoredFile>>([&]() -> absl::StatusOr<std::vector<StoredFile>> {
      SQLite::Statement row(
          db_,
          "SELECT * FROM files WHERE (?1 = '' OR purpose = ?1) AND (?2 = '' OR rowid < "
          "(SELECT rowid FROM files WHERE id = ?2)) AND (?4 OR owner = ?5) ORDER BY rowid DESC "
          "LIMIT ?3");
      row.bind(1, options.purpose);
      row.bind(2, options.after);
      row.bind(3, options.limit);
      row.bind(4, options.owner ? 0 : 1);
      row.bind(5, options.owner.value_or(""));
      std::vector<StoredFile> files;
      while (row.executeStep()) files.push_back(FileOf(row));
      return files;
    });
  }

  absl::Status RemoveExpiredFiles(int64_t now) override {
    std::vector<std::string> ids;
    INHOUSE_RETURN_IF_ERROR(Try([&] {
      SQLite::Statement row(db_,
                            "SELECT id FROM files WHERE expires_at BETWEEN 1 AND ? AND id NOT IN "
                            "(SELECT input_file FROM batches WHERE status IN (0, 2, 3, 6))");
      row.bind(1, now);
      while (row.executeStep()) ids.push_back(row.getColumn(0).getString());
      return absl::OkStatus();
    }));
    for (const std::string& id : ids) INHOUSE_RETURN_IF_ERROR(RemoveFile(id));
    return absl::OkStatus();
  }

  absl::StatusOr<Usage> UsageOf(const std::string& owner) override {
    return TryOr<Usage>([&]() -> absl::StatusOr<Usage> {
      SQLite::Statement row(
          db_,
          "SELECT (SELECT count(*) FROM files WHERE owner = ?1), (SELECT coalesce(sum(bytes), 0) "
          "FROM files WHERE owner = ?1), (SELECT count(*) FROM batches WHERE owner = ?1 AND "
          "status IN (0, 2, 3, 6))");
      row.bind(1, owner);
      row.executeStep();
      return Usage{row.getColumn(0).getInt64(), row.getColumn(1).getInt64(),
                   row.getColumn(2).getInt64()};
    });
  }

  absl::Status AddBatch(const Batch& batch) override {
    return Try([&] {
      SQLite::Statement row(db_,
                            "INSERT INTO batches (id, input_file, endpoint, metadata, status, at0, "
                            "expires_at, total, completed, failed, owner, key) VALUES "
                            "(?,?,?,?,?,?,?,0,0,0,?,?)");
      row.bind(1, batch.id);
      row.bind(2, batch.input_file);
      row.bind(3, batch.endpoint);
      row.bind(4, batch.metadata);
      row.bind(5, static_cast<int>(batch.status));
      row.bind(6, batch.reached[0]);
      row.bind(7, batch.expires_at);
      row.bind(8, batch.owner);
      row.bind(9, batch.key);
      row.exec();
      return absl::OkStatus();
    });
  }

  absl::StatusOr<Batch> FindBatch(const std::string& id) override {
    return TryOr<Batch>([&]() -> absl::StatusOr<Batch> {
      SQLite::Statement row(db_, fmt::format("SELECT {} FROM batches WHERE id = ?", kBatchColumns));
      row.bind(1, id);
      if (!row.executeStep()) return NotFound("batch", id);
      return BatchOf(row);
    });
  }

  absl::StatusOr<std::vector<Batch>> Batches(const ListOptions& options) override {
    return TryOr<std::vector<Batch>>([&]() -> absl::StatusOr<std::vector<Batch>> {
      SQLite::Statement row(
          db_, fmt::format("SELECT {} FROM batches WHERE (?1 = '' OR rowid < (SELECT rowid FROM "
                           "batches WHERE id = ?1)) AND (?3 OR owner = ?4) ORDER BY rowid DESC "
                           "LIMIT ?2",
                           kBatchColumns));
      row.bind(1, options.after);
      row.bind(2, options.limit);
      row.bind(3, options.owner ? 0 : 1);
      row.bind(4, options.owner.value_or(""));
      std::vector<Batch> batches;
      while (row.executeStep()) batches.push_back(BatchOf(row));
      return batches;
    });
  }

  absl::StatusOr<std::optional<Batch>> Oldest(const std::vector<BatchStatus>& states,
                                              const std::vector<std::string>& skip) override {
    using Result = std::optional<Batch>;
    return TryOr<Result>([&]() -> absl::StatusOr<Result> {
      std::string list;
      for (const BatchStatus state : states) {
        list += fmt::format("{}{}", list.empty() ? "" : ",", static_cast<int>(state));
      }
      std::string places;
      for (size_t i = 0; i < skip.size(); ++i) places += i == 0 ? "?" : ",?";
      SQLite::Statement row(db_, fmt::format("SELECT {} FROM batches WHERE status IN ({}) AND id "
                                             "NOT IN ({}) ORDER BY rowid LIMIT 1",
                                             kBatchColumns, list, places));
      for (size_t i = 0; i < skip.size(); ++i) row.bind(static_cast<int>(i) + 1, skip[i]);
      if (!row.executeStep()) return Result();
      return Result(BatchOf(row));
    });
  }

  absl::Status SetStatus(const std::string& id, BatchStatus status, int64_t now) override {
    return Try([&] {
      UpdateStatus(id, status, now);
      return absl::OkStatus();
    });
  }

  absl::Status SetTotal(const std::string& id, int64_t total) override {
    return Set("total", id, total);
  }
  absl::Status SetErrors(const std::string& id, const std::string& errors) override {
    return Set("errors", id, errors);
  }

  absl::Status AddResult(const std::string& batch, const LineResult& result) override {
    return Try([&] {
      SQLite::Transaction transaction(db_);
      SQLite::Statement row(db_, "INSERT OR IGNORE INTO results VALUES (?,?,?,?,?,?)");
      row.bind(1, batch);
      row.bind(2, result.line);
      row.bind(3, result.custom_id);
      row.bind(4, result.status);
      row.bind(5, result.body);
      row.bind(6, result.request_id);
      if (row.exec() > 0) {
        const char* column = result.status == 200 ? "completed" : "failed";
        SQLite::Statement count(
            db_, fmt::format("UPDATE batches SET {0} = {0} + 1 WHERE id = ?", column));
        count.bind(1, batch);
        count.exec();
      }
      transaction.commit();
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<int64_t>> AnsweredLines(const std::string& batch) override {
    using Result = std::vector<int64_t>;
    return TryOr<Result>([&]() -> absl::StatusOr<Result> {
      SQLite::Statement row(db_, "SELECT line FROM results WHERE batch = ?");
      row.bind(1, batch);
      Result lines;
      while (row.executeStep()) lines.push_back(row.getColumn(0).getInt64());
      return lines;
    });
  }

  absl::StatusOr<std::vector<LineResult>> Results(const std::string& batch) override {
    using Result = std::vector<LineResult>;
    return TryOr<Result>([&]() -> absl::StatusOr<Result> {
      SQLite::Statement row(db_,
                            "SELECT line, custom_id, status, body, request_id FROM results WHERE "
                            "batch = ? ORDER BY line");
      row.bind(1, batch);
      Result results;
      while (row.executeStep()) {
        results.push_back({.line = row.getColumn(0).getInt64(),
                           .custom_id = row.getColumn(1).getString(),
                           .status = row.getColumn(2).getInt(),
                           .body = row.getColumn(3).getString(),
                           .request_id = row.getColumn(4).getString()});
      }
      return results;
    });
  }

  absl::Status Finish(const std::string& batch, const Outcome& outcome, int64_t now) override {
    return Try([&]() -> absl::Status {
      for (const auto& [file, content] : {std::pair(&outcome.output, &outcome.output_content),
                                          std::pair(&outcome.errors, &outcome.errors_content)}) {
        if (file->id.empty()) continue;
        INHOUSE_RETURN_IF_ERROR(base::ReplaceFile(PathOf(file->id), *content));
      }
      SQLite::Transaction transaction(db_);
      if (!outcome.output.id.empty()) InsertFile(outcome.output);
      if (!outcome.errors.id.empty()) InsertFile(outcome.errors);
      SQLite::Statement row(db_, "UPDATE batches SET output_file = ?, error_file = ? WHERE id = ?");
      row.bind(1, outcome.output.id);
      row.bind(2, outcome.errors.id);
      row.bind(3, batch);
      row.exec();
      SQLite::Statement results(db_, "DELETE FROM results WHERE batch = ?");
      results.bind(1, batch);
      results.exec();
      UpdateStatus(batch, outcome.status, now);
      transaction.commit();
      return absl::OkStatus();
    });
  }

 private:
  std::string PathOf(const std::string& id) const { return directory_ + "/files/" + id; }

  void InsertFile(const StoredFile& file) {
    SQLite::Statement row(db_, "INSERT INTO files VALUES (?,?,?,?,?,?,?)");
    row.bind(1, file.id);
    row.bind(2, file.filename);
    row.bind(3, file.purpose);
    row.bind(4, file.bytes);
    row.bind(5, file.created_at);
    row.bind(6, file.expires_at);
    row.bind(7, file.owner);
    row.exec();
  }

  void UpdateStatus(const std::string& id, BatchStatus status, int64_t now) {
    const int number = static_cast<int>(status);
    SQLite::Statement row(
        db_, fmt::format("UPDATE batches SET status = {0}, at{0} = ? WHERE id = ?", number));
    row.bind(1, now);
    row.bind(2, id);
    row.exec();
  }

  template <typename Value>
  absl::Status Set(const char* column, const std::string& id, const Value& value) {
    return Try([&] {
      SQLite::Statement row(db_, fmt::format("UPDATE batches SET {} = ? WHERE id = ?", column));
      row.bind(1, value);
      row.bind(2, id);
      row.exec();
      return absl::OkStatus();
    });
  }

  // SQLiteCpp throws; nothing leaves this file.
  absl::Status Try(const std::function<absl::Status()>& work) {
    try {
      return work();
    } catch (const std::exception& e) {
      return absl::InternalError(fmt::format("{}: {}", directory_, e.what()));
    }
  }
  template <typename T>
  absl::StatusOr<T> TryOr(const std::function<absl::StatusOr<T>()>& work) {
    absl::StatusOr<T> result = absl::InternalError("");
    const absl::Status status = Try([&] {
      result = work();
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    return result;
  }

  const std::string directory_;
  SQLite::Database db_;
};

}  // namespace

std::string_view BatchStatusName(BatchStatus status) {
  return kStatusNames[static_cast<size_t>(status)];
}

bool IsFinal(BatchStatus status) {
  return status == BatchStatus::kFailed || status == BatchStatus::kCompleted ||
         status == BatchStatus::kExpired || status == BatchStatus::kCancelled;
}

absl::StatusOr<std::unique_ptr<BatchStore>> BatchStore::Open(const std::string& directory) {
  try {
    fs::create_directories(directory + "/files");
    // Others' conversations: for the owner only.
    fs::permissions(directory, fs::perms::owner_all);
    auto store = std::make_unique<SqliteStore>(directory);
    store->Sweep();
    return store;
  } catch (const std::exception& e) {
    return base::InvalidInput({.file = directory,
                               .field = "batches-dir",
                               .value = e.what(),
                               .expected = "a directory that can be written"});
  }
}

}  // namespace inhouse::model_server
