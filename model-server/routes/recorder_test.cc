#include "model-server/routes/recorder.h"

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::model_server {
namespace {

namespace fs = std::filesystem;

class RecorderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/recorder.XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
    directory_ = root_ + "/answers";
  }
  void TearDown() override { fs::remove_all(root_); }

  std::shared_ptr<Recorder> OpenOrDie(int64_t bytes_max = 1 << 20) const {
    auto recorder = Recorder::Open({.directory = directory_, .bytes_max = bytes_max});
    EXPECT_TRUE(recorder.ok()) << recorder.status();
    return *std::move(recorder);
  }
  static std::shared_ptr<AnswerRecord> Answer(const std::string& id, const std::string& request) {
    auto record = std::make_shared<AnswerRecord>();
    record->id = id;
    record->request_id = request;
    record->sequences.resize(1);
    record->sequences[0].output.text = std::string(500, 'x');
    return record;
  }
  size_t CountFiles() const {
    return static_cast<size_t>(
        std::distance(fs::directory_iterator(directory_), fs::directory_iterator()));
  }

  std::string root_;
  std::string directory_;  // made by the recorder
};

TEST_F(RecorderTest, AnswersAreFoundByEitherId) {
  auto recorder = OpenOrDie();
  recorder->Add(Answer("chatcmpl-1", "../../etc/passwd"));
  recorder->Add(Answer("chatcmpl-2", "again"));
  recorder->Add(Answer("chatcmpl-3", "again"));
  recorder.reset();  // writes what waits
  EXPECT_EQ(FindRecord(directory_, "chatcmpl-1")->request_id, "../../etc/passwd");
  EXPECT_EQ(FindRecord(directory_, "../../etc/passwd")->id, "chatcmpl-1");
  EXPECT_EQ(FindRecord(directory_, "again")->id, "chatcmpl-3");
  const absl::Status missing = FindRecord(directory_, "chatcmpl-4").status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(FindRecord(directory_ + "/none", "x").status().code(), absl::StatusCode::kNotFound);
  for (const auto& entry : fs::directory_iterator(directory_)) {
    struct stat info = {};
    ASSERT_EQ(stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
  }
}

TEST_F(RecorderTest, TheOldestGoWhenItIsFull) {
  const auto size = static_cast<int64_t>(RecordJson(*Answer("chatcmpl-1", "r1")).size());
  for (int i = 1; i <= 5; ++i) {
    OpenOrDie(3 * size)->Add(Answer("chatcmpl-" + std::to_string(i), "r" + std::to_string(i)));
  }
  std::ofstream(directory_ + "/notes.json") << "mine";
  const std::string half = directory_ + "/" + std::string(69, '-') + ".json.x1Y2z3";
  std::ofstream(half) << "half";
  OpenOrDie();
  EXPECT_TRUE(fs::exists(half));  // somebody else may be writing it
  fs::last_write_time(half, fs::file_time_type::clock::now() - std::chrono::hours(1));
  OpenOrDie(2 * size);
  EXPECT_EQ(CountFiles(), 3U);
  EXPECT_FALSE(FindRecord(directory_, "chatcmpl-3").ok());
  EXPECT_TRUE(FindRecord(directory_, "chatcmpl-4").ok());
  EXPECT_TRUE(FindRecord(directory_, "r5").ok());
}

TEST_F(RecorderTest, SaysWhatIsWrongWithADirectory) {
  EXPECT_EQ(base::ErrorFile(Recorder::Open({.directory = "/proc/nowhere"}).status()),
            "/proc/nowhere");
  const auto recorder = OpenOrDie();
  fs::remove_all(directory_);
  recorder->Add(Answer("chatcmpl-1", "r1"));  // a line in the log, nothing else
}

}  // namespace
}  // namespace inhouse::model_server
