#include "base/file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "inhouse-file-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  std::string dir_;
};

TEST_F(FileTest, ReplacesAndReadsBack) {
  const std::string path = dir_ + "/a.txt";
  ASSERT_TRUE(ReplaceFile(path, "one").ok());
  ASSERT_TRUE(ReplaceFile(path, std::string(100000, 'x')).ok());
  const auto content = ReadFile(path);
  ASSERT_TRUE(content.ok()) << content.status();
  EXPECT_EQ(content->size(), 100000U);
}

TEST_F(FileTest, LeavesNothingBehindWhenItCannotReplace) {
  ASSERT_EQ(mkdir((dir_ + "/sub").c_str(), 0755), 0);
  EXPECT_FALSE(ReplaceFile(dir_ + "/sub", "x").ok());  // a directory is in the way
  EXPECT_EQ(system(("test \"$(ls " + dir_ + ")\" = sub").c_str()), 0);
}

TEST_F(FileTest, RefusesTooLargeMissingAndSpecialFiles) {
  const std::string path = dir_ + "/big";
  ASSERT_TRUE(ReplaceFile(path, "12345").ok());
  EXPECT_EQ(ReadFile(path, 4).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadFile(dir_ + "/none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadFile(dir_).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(MappedFile::Open("/dev/null").ok());
}

TEST_F(FileTest, MapsContentAndEmptyFiles) {
  const std::string path = dir_ + "/m";
  ASSERT_TRUE(ReplaceFile(path, "mapped").ok());
  const auto map = MappedFile::Open(path);
  ASSERT_TRUE(map.ok());
  EXPECT_EQ((*map)->bytes().size(), 6U);
  EXPECT_EQ((*map)->bytes()[0], std::byte{'m'});
  std::array<std::byte, 3> part{};
  EXPECT_TRUE((*map)->Read(2, part));
  EXPECT_EQ(std::memcmp(part.data(), "ppe", 3), 0);
  EXPECT_FALSE((*map)->Read(4, part));  // one byte too many
  ASSERT_TRUE(ReplaceFile(path, "").ok());
  const auto empty = MappedFile::Open(path);
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE((*empty)->bytes().empty());
}

TEST_F(FileTest, SecretsAreTheirOwnersAlone) {
  const std::string path = testing::TempDir() + "/secret";
  ASSERT_TRUE(ReplaceFile(path, "a secret\r\n", 0600).ok());
  EXPECT_EQ(ReadSecretFile(path).value(), "a secret");
  ASSERT_TRUE(ReplaceFile(path, "a secret\n", 0640).ok());
  EXPECT_EQ(ReadSecretFile(path).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorField(ReadSecretFile(path).status()), "mode");
  ASSERT_TRUE(ReplaceFile(path, std::string(5000, 'x'), 0600).ok());
  EXPECT_FALSE(ReadSecretFile(path).ok());
}

}  // namespace
}  // namespace inhouse::base
