#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "engine/formats/safetensors.h"
#include "engine/formats/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr char kIndex[] = "model.safetensors.index.json";

class SafetensorsIndexTest : public FilesTest {
 protected:
  std::string Shard(const std::string& name, const std::string& tensor) const {
    return Write(name, Safetensors("{" + Entry(tensor, "F32", "[1]", "[0,4]") + "}", "1234"));
  }
  absl::Status Read(const std::string& weight_map) {
    const std::string index = Write(kIndex, "{\"weight_map\":" + weight_map + "}");
    return ReadSafetensorsShards(index, &table_);
  }
  TensorTable table_;
};

TEST_F(SafetensorsIndexTest, ReadsShards) {
  Shard("s1.safetensors", "a");
  Shard("s2.safetensors", "b");
  const absl::Status status = Read(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(table_.files().size(), 2U);
  EXPECT_EQ(table_.total_bytes(), 8U);
  ASSERT_NE(table_.Find("b"), nullptr);
  EXPECT_EQ(table_.Find("b")->file->path(), dir_ + "/s2.safetensors");
}

TEST_F(SafetensorsIndexTest, RefusesAMissingShard) {
  Shard("s1.safetensors", "a");
  const absl::Status status = Read(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  ExpectRefused(status, "s2.safetensors", "lists it as a shard");
}

TEST_F(SafetensorsIndexTest, RefusesATensorThatNoShardHas) {
  Shard("s1.safetensors", "a");
  ExpectRefused(Read(R"({"a":"s1.safetensors","b":"s1.safetensors"})"), kIndex,
                "weight_map: 'b': value 's1.safetensors': expected a file that holds this tensor");
}

TEST_F(SafetensorsIndexTest, RefusesATensorOfAnotherShard) {
  Shard("s1.safetensors", "a");
  Shard("s2.safetensors", "b");
  ExpectRefused(Read(R"({"a":"s2.safetensors","b":"s2.safetensors","c":"s1.safetensors"})"), kIndex,
                "weight_map: 'a'");
}

TEST_F(SafetensorsIndexTest, RefusesATensorInTwoShards) {
  Shard("s1.safetensors", "a");
  Shard("s2.safetensors", "a");
  const absl::Status status = Read(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  ExpectRefused(status, "s2.safetensors", "s1.safetensors' has it too");
}

TEST_F(SafetensorsIndexTest, RefusesATruncatedShard) {
  Write("s1.safetensors", Safetensors("{" + Entry("a", "F32", "[1]", "[0,4]") + "}", "12"));
  ExpectRefused(Read(R"({"a":"s1.safetensors"})"), "s1.safetensors", "truncated");
}

TEST(SafetensorsIndexTextTest, RefusesMalformedIndexes) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "valid JSON"},
      {"[]", "a JSON object"},
      {"1", "a JSON object"},
      {"{}", "weight_map: expected to be there"},
      {R"({"weight_map":1})", "weight_map: value '1': expected an object"},
      {R"({"weight_map":[]})", "an object"},
      {R"({"weight_map":{},"weight_map":{}})", "each key once"},
      {R"({"weight_map":{"a":1}})", "the name of a file"},
      {R"({"weight_map":{"a":{}}})", "the name of a file"},
      {R"({"weight_map":{"a":"x","a":"y"}})", "each tensor once"},
      {R"({"weight_map":{"a":"../x.safetensors"}})", "in the same directory"},
      {R"({"weight_map":{"a":"/etc/passwd"}})", "in the same directory"},
      {R"({"weight_map":{"a":"b\\x"}})", "in the same directory"},
      {R"({"weight_map":{"a":""}})", "in the same directory"},
      {R"({"weight_map":{"a":".."}})", "in the same directory"},
      {R"({"weight_map":{"a":"x\u0000y"}})", "in the same directory"},
      {R"({"metadata":)" + std::string(1000, '[') + "}", "at most 16 nested"},
  };
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text.substr(0, 60));
    ExpectRefused(ParseSafetensorsIndex("i.json", text).status(), "i.json", message);
  }
  const auto map = ParseSafetensorsIndex(
      "i.json", R"({"metadata":{"x":{"weight_map":3}},"weight_map":{"a":"f"}})");
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(*map, testing::ElementsAre(testing::Pair("a", "f")));
}

}  // namespace
}  // namespace inhouse::engine
