#include "engine/formats/gguf.h"

#include <string>
#include <vector>

#include "base/file.h"
#include "engine/formats/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using testing::ElementsAre;

absl::StatusOr<GgufHeader> Parse(const std::string& file) {
  return ParseGguf("m.gguf", Bytes(file));
}

std::string Array(uint32_t type, uint64_t count, const std::string& elements) {
  return Raw(type) + Raw(count) + elements;
}

TEST(GgufTest, ReadsEveryTypeOfValue) {
  GgufFile file;
  file.Value<uint8_t>("u8", 0, 200)
      .Value<int8_t>("i8", 1, -100)
      .Value<uint16_t>("u16", 2, 60000)
      .Value<int16_t>("i16", 3, -30000)
      .Value<uint32_t>("u32", 4, 4000000000U)
      .Value<int32_t>("i32", 5, -2000000000)
      .Value<float>("f32", 6, 0.1F)
      .Value<uint8_t>("bool", 7, 1)
      .Text("string", "语言 text")
      .Value<uint64_t>("u64", 10, 1ULL << 40)
      .Value<uint64_t>("u64 large", 10, UINT64_MAX)
      .Value<int64_t>("i64", 11, INT64_MIN)
      .Value<double>("f64", 12, 0.1)
      .RawValue("i8s", 9, Array(1, 2, "\xFF\x01"))
      .RawValue("f32s", 9, Array(6, 2, Raw(0.5F) + Raw(-1.0F)))
      .RawValue("bools", 9, Array(7, 2, std::string("\x01\x00", 2)))
      .RawValue("strings", 9, Array(8, 3, GgufString("a") + GgufString("") + GgufString("\xFF")))
      .RawValue("none", 9, Array(5, 0, ""));
  auto header = Parse(file.Build());
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_TRUE(header->tensors.empty());
  const GgufMetadata kv("m.gguf", header->values);
  EXPECT_EQ(*kv.Int("u8", 0, 255), 200);
  EXPECT_EQ(*kv.Int("i8", -128, 127), -100);
  EXPECT_EQ(*kv.Int("u16", 0, INT64_MAX), 60000);
  EXPECT_EQ(*kv.Int("i16", INT64_MIN, 0), -30000);
  EXPECT_EQ(*kv.Int("u32", 0, INT64_MAX), 4000000000);
  EXPECT_EQ(*kv.Int("i32", INT64_MIN, 0), -2000000000);
  EXPECT_EQ(*kv.DoubleOr("f32", 0, 0, 1), static_cast<double>(0.1F));
  EXPECT_TRUE(*kv.BoolOr("bool", false));
  EXPECT_EQ(*kv.String("string"), "语言 text");
  EXPECT_EQ(*kv.Int("u64", 0, INT64_MAX), 1LL << 40);
  EXPECT_EQ(std::get<uint64_t>(header->values.at("u64 large")), UINT64_MAX);
  EXPECT_EQ(*kv.Int("i64", INT64_MIN, 0), INT64_MIN);
  EXPECT_EQ(*kv.DoubleOr("f64", 0, 0, 1), 0.1);
  EXPECT_THAT(**kv.Ints("i8s"), ElementsAre(-1, 1));
  EXPECT_THAT(**kv.Doubles("f32s"), ElementsAre(0.5, -1.0));
  EXPECT_THAT(std::get<std::vector<bool>>(header->values.at("bools")), ElementsAre(true, false));
  EXPECT_THAT(**kv.Strings("strings"), ElementsAre("a", "", "\xFF"));
  EXPECT_TRUE((*kv.Ints("none"))->empty());
}

TEST(GgufTest, GettersRefuseTypesAndRanges) {
  GgufFile file;
  file.Value<int32_t>("n", 5, -1).Text("s", "x").Value<uint64_t>("big", 10, UINT64_MAX);
  file.Value<float>("nan", 6, __builtin_nanf(""));
  auto header = Parse(file.Build());
  ASSERT_TRUE(header.ok()) << header.status();
  const GgufMetadata kv("m.gguf", std::move(header->values));
  ExpectRefused(kv.Int("n", 0, 10).status(), "m.gguf", "n: value '-1': expected an integer from 0");
  ExpectRefused(kv.Int("s", 0, 10).status(), "m.gguf", "s: value 'x'");
  ExpectRefused(kv.Int("big", 0, INT64_MAX).status(), "m.gguf", "value '18446744073709551615'");
  ExpectRefused(kv.Int("no", 0, 10).status(), "m.gguf", "no: expected an integer from 0 to 10, it");
  ExpectRefused(kv.DoubleOr("nan", 0, -1e300, 1e300).status(), "m.gguf", "nan: value 'nan'");
  ExpectRefused(kv.DoubleOr("s", 0, 0, 1).status(), "m.gguf", "a number");
  ExpectRefused(kv.BoolOr("n", true).status(), "m.gguf", "a boolean");
  ExpectRefused(kv.String("n").status(), "m.gguf", "a string");
  ExpectRefused(kv.Strings("n").status(), "m.gguf", "an array of strings");
  ExpectRefused(kv.Ints("s").status(), "m.gguf", "an array of integers");
  EXPECT_EQ(*kv.IntOr("no", 7, 0, 10), 7);
  EXPECT_EQ(*kv.DoubleOr("n", 0, -2, 2), -1.0);
  EXPECT_EQ(*kv.StringOr("no", "z"), "z");
  EXPECT_EQ(*kv.Strings("no"), nullptr);
}

TEST(GgufTest, ReversesDimensionsAndPlacesTensors) {
  GgufFile file;
  file.Tensor("f32", {3, 2}, 0, 24, 'a').Tensor("q8", {64, 5}, 8, 340, 'b');
  file.Tensor("k", {256, 1, 2, 3}, 12, 6 * 144, 'c').Tensor("fp4", {32}, 39, 17, 'd');
  for (const uint32_t version : {2U, 3U}) {
    file.version = version;
    const std::string bytes = file.Build();
    const auto header = Parse(bytes);
    ASSERT_TRUE(header.ok()) << header.status();
    ASSERT_EQ(header->tensors.size(), 4U);
    EXPECT_EQ(header->tensors[0].shape, (Shape{2, 3}));
    EXPECT_EQ(header->tensors[1].shape, (Shape{5, 64}));
    EXPECT_EQ(header->tensors[2].shape, (Shape{3, 2, 1, 256}));
    EXPECT_EQ(header->tensors[3].dtype, DType::kMXFP4);
    char fill = 'a';
    for (const GgufTensor& tensor : header->tensors) {
      EXPECT_EQ(tensor.begin % 32, 0U);
      EXPECT_EQ(bytes.substr(tensor.begin, tensor.end - tensor.begin),
                std::string(tensor.end - tensor.begin, fill++));
    }
  }
}

TEST(GgufTest, AcceptsEveryTypeAndAnyOrderAndAlignment) {
  const std::vector<std::pair<uint32_t, size_t>> types = {
      {0, 1024},  {1, 512},   {2, 144},   {3, 160},  {6, 176},  {7, 192},  {8, 272},
      {10, 84},   {11, 110},  {12, 144},  {13, 176}, {14, 210}, {24, 256}, {25, 512},
      {26, 1024}, {27, 2048}, {28, 2048}, {30, 512}, {39, 136}};
  for (const auto& [type, bytes] : types) {
    GgufFile file;
    file.Tensor("t", {256}, type, bytes);
    EXPECT_TRUE(Parse(file.Build()).ok()) << type;
  }
  for (const uint32_t alignment : {8U, 64U, 4096U}) {
    GgufFile file;
    file.alignment = alignment;
    file.Value<uint32_t>("general.alignment", 4, alignment);
    file.Tensor("a", {3}, 0, 12).Tensor("b", {3}, 0, 12);
    EXPECT_TRUE(Parse(file.Build()).ok()) << alignment;
  }
  GgufFile file;  // the second in the header is the first in the data; padding at the end
  file.Info("b", {1}, 0, 32).Info("a", {1}, 0, 0);
  file.data = std::string(64, 'x');
  const auto header = Parse(file.Build());
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_EQ(header->tensors[0].name, "a");
}

TEST(GgufTest, TruncationAtEveryByteIsRefused) {
  GgufFile file;
  file.Value<uint32_t>("general.alignment", 4, 32).Text("general.architecture", "llama");
  file.RawValue("strings", 9, Array(8, 2, GgufString("a") + GgufString("bc")));
  file.RawValue("ints", 9, Array(5, 2, Raw(1) + Raw(2)));
  file.Tensor("a", {4, 2}, 0, 32).Tensor("b", {32}, 8, 34);
  const std::string whole = file.Build();
  ASSERT_TRUE(Parse(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Parse(whole.substr(0, size)).ok()) << size;
  }
}

TEST(GgufTest, ReadsTheFixtures) {
  for (const std::string name : {"kquants", "mxfp4"}) {
    TensorTable table;
    const auto kv = ReadGguf("tests/fixtures/formats/" + name + ".gguf", &table);
    ASSERT_TRUE(kv.ok()) << kv.status();
    EXPECT_EQ(*kv->String("general.architecture"), "llama");
    EXPECT_EQ(table.tensors().size(), 21U);
    EXPECT_TRUE(table.Require("token_embd.weight").ok());
    for (const auto& [tensor_name, tensor] : table.tensors()) {
      EXPECT_EQ(tensor.view.bytes.data(), tensor.file->bytes().data() + tensor.file_offset);
      EXPECT_EQ(static_cast<int64_t>(tensor.view.bytes.size()),
                tensor.view.rows() * tensor.view.row_bytes());
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
