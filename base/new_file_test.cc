#include "base/new_file.h"

#include <filesystem>
#include <string>

#include "base/file.h"
#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

class NewFileTest : public testing::Test {
 protected:
  NewFileTest() {
    std::string pattern = testing::TempDir() + "inhouse-new-file-XXXXXX";
    directory_ = mkdtemp(pattern.data());
    path_ = directory_ + "/out";
  }
  ~NewFileTest() override { std::filesystem::remove_all(directory_); }
  size_t FileCount() const {
    const std::filesystem::directory_iterator files(directory_);
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }
  static std::span<const std::byte> Bytes(std::string_view text) {
    return std::as_bytes(std::span(text));
  }

  std::string directory_;
  std::string path_;
};

TEST_F(NewFileTest, AppearsWholeAndReplaces) {
  for (const std::string text : {"first", "second"}) {
    auto file = NewFile::Create(path_, text.size());
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->WriteAt(3, Bytes(text).subspan(3)).ok());
    EXPECT_TRUE((*file)->WriteAt(0, Bytes(text).first(3)).ok());
    ASSERT_TRUE((*file)->Commit().ok());
    EXPECT_EQ(*ReadFile(path_), text);
    EXPECT_EQ(FileCount(), 1U);
  }
}

TEST_F(NewFileTest, LeavesNothingWithoutCommit) {
  {
    auto file = NewFile::Create(path_, 100);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->WriteAt(0, Bytes("abc")).ok());
    EXPECT_FALSE(std::filesystem::exists(path_));
  }
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(NewFileTest, RefusesWhatCannotBe) {
  const auto missing = NewFile::Create(directory_ + "/no/such/out", 1);
  EXPECT_FALSE(missing.ok());
  EXPECT_NE(missing.status().message().find("no/such"), absl::string_view::npos);
  EXPECT_FALSE(NewFile::Create(directory_, 1).ok()) << "a directory is not replaced";
  const auto huge = NewFile::Create(path_, uint64_t{1} << 60);
  ASSERT_FALSE(huge.ok());
  EXPECT_NE(huge.status().message().find("reserve 1152921504606846976 bytes"),
            absl::string_view::npos)
      << huge.status();
  EXPECT_EQ(FileCount(), 0U);
}

}  // namespace
}  // namespace inhouse::base
