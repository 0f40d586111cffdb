#include "base/sha256.h"

#include <string>

#include "base/file.h"
#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

// FIPS 180-2, appendix B.
TEST(Sha256Test, KnownDigests) {
  Sha256 empty;
  EXPECT_EQ(empty.FinishHex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 abc;
  abc.Update("a");
  abc.Update("bc");
  EXPECT_EQ(abc.FinishHex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, FilesReportProgressAndCanBeCancelled) {
  const std::string path = testing::TempDir() + "inhouse-sha256";
  ASSERT_TRUE(ReplaceFile(path, "abc").ok());
  uint64_t seen = 0;
  const auto digest = Sha256File(path, [&seen](uint64_t done) {
    seen = done;
    return true;
  });
  ASSERT_TRUE(digest.ok());
  EXPECT_EQ(*digest, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(seen, 3U);
  EXPECT_EQ(Sha256File(path, [](uint64_t) { return false; }).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace inhouse::base
