#include "engine/formats/safetensors_writer.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "engine/formats/safetensors.h"
#include "engine/formats/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr char kReference[] = "tests/fixtures/formats/dtypes.safetensors";

class SafetensorsWriterTest : public FilesTest {
 protected:
  void SetUp() override {
    FilesTest::SetUp();
    path_ = dir_ + "/out.safetensors";
  }
  size_t FileCount() const {
    const std::filesystem::directory_iterator files(dir_);
    return static_cast<size_t>(std::distance(begin(files), end(files)));
  }
  std::string path_;
};

// The file that the reference implementation wrote, written again from its tensors: byte by byte
// the same, whatever the order and the size of the pieces.
TEST_F(SafetensorsWriterTest, WritesTheBytesOfTheReference) {
  TensorTable table;
  ASSERT_TRUE(ReadSafetensors(kReference, &table).ok());
  for (const size_t piece : {1U, 5U, 1000U}) {
    std::vector<SafetensorsSpec> specs;
    for (const auto& [name, tensor] : table.tensors()) {
      specs.push_back({name, tensor.view.dtype, tensor.view.shape});
    }
    auto writer = SafetensorsWriter::Create(path_, specs, {{"format", "pt"}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const auto& [name, tensor] : table.tensors()) {
      for (auto rest = tensor.view.bytes; !rest.empty();) {
        const size_t size = std::min(piece, rest.size());
        ASSERT_TRUE((*writer)->Append(name, rest.first(size)).ok());
        rest = rest.subspan(size);
      }
    }
    EXPECT_FALSE(std::filesystem::exists(path_) && piece == 1U);  // nothing to see before the end
    ASSERT_TRUE((*writer)->Finish().ok());
    const auto written = base::ReadFile(path_);
    const auto expected = base::ReadFile(kReference);
    ASSERT_TRUE(written.ok() && expected.ok());
    EXPECT_EQ(*written, *expected);
    EXPECT_EQ((*writer)->file_bytes(), written->size());
    EXPECT_EQ(FileCount(), 1U);
  }
  struct stat info = {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0644U);
}

TEST_F(SafetensorsWriterTest, ReadsBackWhatItWrote) {
  const std::map<std::string, std::string> metadata = {{"a", "\"quoted\"\n"}, {"中", "文"}};
  const std::vector<SafetensorsSpec> specs = {{"层.\"w\"", DType::kBF16, {3, 1}},
                                              {"empty", DType::kF32, {0, 5}},
                                              {"scalar", DType::kF32, {}}};
  auto writer = SafetensorsWriter::Create(path_, specs, metadata);
  ASSERT_TRUE(writer.ok()) << writer.status();
  ASSERT_TRUE((*writer)->Append("层.\"w\"", Bytes("123456")).ok());
  ASSERT_TRUE((*writer)->Append("scalar", Bytes("abcd")).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto mapped = base::MappedFile::Open(path_);
  ASSERT_TRUE(mapped.ok());
  const auto header = ParseSafetensors(path_, (*mapped)->bytes());
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->metadata, metadata);
  ASSERT_EQ(header->tensors.size(), 3U);
  for (const SafetensorsEntry& tensor : header->tensors) {
    EXPECT_EQ(tensor.begin % static_cast<uint64_t>(Info(tensor.dtype).block_bytes), 0U);
  }
  EXPECT_EQ(header->tensors[2].name, "层.\"w\"");

  auto none = SafetensorsWriter::Create(path_, {}, {});
  ASSERT_TRUE(none.ok() && (*none)->Finish().ok());
  EXPECT_EQ(*base::ReadFile(path_), Safetensors("{}      "));
}

TEST_F(SafetensorsWriterTest, RefusesWhatTheFormatCannotHold) {
  const auto create = [this](std::vector<SafetensorsSpec> specs) {
    return SafetensorsWriter::Create(path_, std::move(specs), {}).status();
  };
  ExpectRefused(create({{"a", DType::kF32, {1}}, {"a", DType::kI8, {1}}}), path_, "tensor 'a'");
  ExpectRefused(create({{"__metadata__", DType::kF32, {1}}}), path_, "other than __metadata__");
  ExpectRefused(create({{"\xFF", DType::kF32, {1}}}), path_, "UTF-8");
  ExpectRefused(create({{"a", DType::kQ4_K, {256}}}), path_, "value 'Q4_K'");
  ExpectRefused(create({{"a", DType::kF4E2M1, {3}}}), path_, "a multiple of 2");
  ExpectRefused(create({{"a", DType::kF32, {-1}}}), path_, "no negative dimension");
  ExpectRefused(create({{"a", DType::kI8, {INT64_MAX}}}), path_, "below 2^63 bytes");
  ExpectRefused(SafetensorsWriter::Create(path_, {}, {{"k", "\xFF"}}).status(), path_, "'k'");
  ExpectRefused(SafetensorsWriter::Create(dir_ + "/no/x", {}, {}).status(), "/no/x", "create");
  EXPECT_EQ(FileCount(), 0U);
}

TEST_F(SafetensorsWriterTest, RefusesWrongUseAndLeavesNothingBehind) {
  Write("out.safetensors", "old");
  {
    auto writer = SafetensorsWriter::Create(path_, {{"a", DType::kI8, {3}}}, {});
    ASSERT_TRUE(writer.ok()) << writer.status();
    ExpectRefused((*writer)->Append("b", Bytes("x")), path_, "tensor 'b'");
    ExpectRefused((*writer)->Append("a", Bytes("1234")), path_, "at most 3 more bytes");
    ASSERT_TRUE((*writer)->Append("a", Bytes("12")).ok());
    const absl::Status early = (*writer)->Finish();
    EXPECT_EQ(early.code(), absl::StatusCode::kFailedPrecondition);
    ExpectRefused(early, path_, "tensor 'a': expected 1 more bytes");
    EXPECT_EQ(FileCount(), 2U);
  }
  EXPECT_EQ(FileCount(), 1U);
  EXPECT_EQ(*base::ReadFile(path_), "old");
  auto writer = SafetensorsWriter::Create(path_, {}, {});
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_FALSE((*writer)->Finish().ok());
}

// A limit on the size of files stands in for a full disk.
TEST_F(SafetensorsWriterTest, SaysEarlyThatTheFileDoesNotFit) {
  rlimit old = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  rlimit small = old;
  small.rlim_cur = 4096;
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto writer = SafetensorsWriter::Create(path_, {{"a", DType::kI8, {1 << 20}}}, {});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
  signal(SIGXFSZ, handler);
  ExpectRefused(writer.status(), path_, "cannot reserve 1048");
  EXPECT_EQ(FileCount(), 0U);
}

}  // namespace
}  // namespace inhouse::engine
