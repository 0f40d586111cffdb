#include "engine/formats/tensor_table.h"

#include <string>
#include <utility>
#include <variant>

#include "engine/formats/printable.h"
#include "engine/formats/test_files.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

class TensorTableTest : public FilesTest {};

TEST_F(TensorTableTest, FindsAndRequires) {
  auto mapped = base::MappedFile::Open(Write("w.bin", "12345678"));
  ASSERT_TRUE(mapped.ok());
  TensorTable table;
  const base::MappedFile* file = table.AddFile(*std::move(mapped));
  StoredTensor tensor{.name = "a",
                      .view = {.dtype = DType::kF32, .shape = {2, 1}, .bytes = file->bytes()},
                      .file = file};
  ASSERT_TRUE(table.Add(tensor).ok());
  const absl::Status again = table.Add(tensor);
  EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
  ExpectRefused(again, "w.bin", "tensor 'a': expected each tensor once");
  EXPECT_EQ(table.total_bytes(), 8U);
  EXPECT_EQ(table.Find("b"), nullptr);
  EXPECT_EQ(table.Find("a")->file, file);
  EXPECT_TRUE(table.Require("a").ok());
  EXPECT_TRUE(table.Require("a", {2, 1}).ok());
  EXPECT_EQ(table.Require("b").status().code(), absl::StatusCode::kNotFound);
  ExpectRefused(table.Require("b").status(), "w.bin", "tensor 'b'");
  ExpectRefused(table.Require("a", {1, 2}).status(), "w.bin",
                "tensor 'a': shape: value '[2, 1]': expected [1, 2]");
}

TEST(TensorBytesTest, NeverOverflows) {
  EXPECT_EQ(std::get<uint64_t>(TensorBytes(DType::kBF16, {3, 5})), 30U);
  EXPECT_EQ(std::get<uint64_t>(TensorBytes(DType::kF32, {})), 4U);
  EXPECT_EQ(std::get<uint64_t>(TensorBytes(DType::kQ4_K, {2, 512})), 576U);
  EXPECT_EQ(std::get<uint64_t>(TensorBytes(DType::kF4E2M1, {3, 2})), 3U);
  EXPECT_EQ(std::get<uint64_t>(TensorBytes(DType::kI8, {INT64_MAX})), 9223372036854775807U);
  EXPECT_EQ(std::get<uint64_t>(TensorBytes(DType::kF64, {0, INT64_MAX, INT64_MAX})), 0U);
  for (const Shape& shape : {Shape{-1}, Shape{-1, -1}, Shape{INT64_MAX, 2}, Shape{INT64_MAX, 2, 0},
                             Shape{1LL << 61}, Shape{1LL << 31, 1LL << 31, 2}}) {
    EXPECT_TRUE(std::holds_alternative<std::string>(TensorBytes(DType::kF32, shape)))
        << ToString(shape);
  }
  EXPECT_TRUE(std::holds_alternative<std::string>(TensorBytes(DType::kQ8_0, {})));
  EXPECT_TRUE(std::holds_alternative<std::string>(TensorBytes(DType::kQ8_0, {32, 16})));
}

TEST(PrintableTest, CutsAndEscapes) {
  EXPECT_EQ(Printable("model.层.weight"), "model.层.weight");
  EXPECT_EQ(Printable("a\x1b[2J\n"), "a\\x1b[2J\\x0a");
  EXPECT_EQ(Printable("\xC2\x9B"), "\\x9b");
  EXPECT_EQ(Printable("a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(Printable("abcdef", 4), "abcd...");
  EXPECT_EQ(Printable("层层", 4), "层...");
  EXPECT_EQ(Printable(""), "");
}

}  // namespace
}  // namespace inhouse::engine
