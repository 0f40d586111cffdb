#include "engine/formats/config_json.h"

#include <string>
#include <utility>
#include <vector>

#include "engine/formats/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using testing::ElementsAre;

ConfigJson Config(const std::string& text) {
  auto config = ConfigJson::Parse("config.json", text);
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *std::move(config) : ConfigJson("", nlohmann::json::object());
}

TEST(ConfigJsonTest, ReadsFields) {
  const ConfigJson config = Config(
      R"({"n": 32, "whole": 32768.0, "theta": 1e4, "eps": 1e-6, "yes": true, "name": "中", "no": null,
          "one": 5, "many": [5, 6], "rope": {"factor": 8, "deep": {"x": 1}}})");
  EXPECT_EQ(*config.Int("n", {1, 100}), 32);
  EXPECT_EQ(*config.Int("whole", {1, 1 << 20}), 32768);
  EXPECT_EQ(*config.IntOr("absent", 3, {1, 100}), 3);
  EXPECT_EQ(*config.IntOr("no", 3, {1, 100}), 3);
  EXPECT_EQ(*config.Double("theta", 1, 1e9), 10000.0);
  EXPECT_EQ(*config.Double("n", 1, 1e9), 32.0);
  EXPECT_EQ(*config.DoubleOr("absent", 0.5, 1, 2), 0.5);
  EXPECT_TRUE(*config.BoolOr("yes", false));
  EXPECT_FALSE(*config.BoolOr("no", false));
  EXPECT_EQ(*config.String("name"), "中");
  EXPECT_EQ(*config.StringOr("no", "x"), "x");
  EXPECT_THAT(*config.Ints("one", {0, 10}), ElementsAre(5));
  EXPECT_THAT(*config.Ints("many", {0, 10}), ElementsAre(5, 6));
  EXPECT_TRUE(config.Ints("no", {0, 10})->empty());
  EXPECT_TRUE(config.Has("rope"));
  EXPECT_FALSE(config.Has("no"));
  const auto rope = config.Object("rope");
  ASSERT_TRUE(rope.ok() && rope->has_value());
  EXPECT_EQ(*(*rope)->Double("factor", 1, 100), 8.0);
  EXPECT_FALSE(config.Object("absent")->has_value());
}

TEST(ConfigJsonTest, NamesFileFieldValueAndExpectation) {
  const ConfigJson config = Config(
      R"({"n": -5, "huge": 1e30, "u64": 18446744073709551615, "half": 0.5, "text": "32", "flag": 1,
          "list": [1, "x"], "rope": {"factor": -8, "deep": {"x": "y"}}, "long": ")" +
      std::string(5000, 'l') + R"("})");
  const auto refused = [](const absl::Status& status, const std::string& text) {
    ExpectRefused(status, "config.json", text);
  };
  refused(config.Int("n", {1, 100}).status(), "n: value '-5': expected an integer from 1 to 100");
  refused(config.Int("absent", {1, 100}).status(),
          "absent: expected an integer from 1 to 100, it is");
  refused(config.Int("huge", {1, 100}).status(), "huge");
  refused(config.Int("u64", {1, INT64_MAX}).status(), "value '18446744073709551615'");
  refused(config.Int("half", {0, 100}).status(), "value '0.5'");
  refused(config.Int("text", {0, 100}).status(), "value '32'");
  refused(config.Int("rope", {0, 100}).status(), "value 'an object of 2 fields'");
  refused(config.Double("text", 0, 100).status(), "a number from 0 to 100");
  refused(config.Double("huge", 0, 100).status(), "value '1e+30'");
  refused(config.Double("absent", 0, 100).status(), "it is missing");
  refused(config.BoolOr("flag", true).status(), "flag: value '1': expected true or false");
  refused(config.String("n").status(), "a string");
  refused(config.String("absent").status(), "it is missing");
  refused(config.Ints("list", {0, 10}).status(), "list[1]: value 'x'");
  refused(config.Ints("text", {0, 10}).status(), "text");
  refused(config.Object("n").status(), "an object");
  refused(config.Int("long", {0, 10}).status(), "lll...");
  const auto rope = config.Object("rope");
  ASSERT_TRUE(rope.ok() && rope->has_value());
  refused((*rope)->Double("factor", 1, 100).status(), "rope.factor: value '-8'");
  const auto deep = (*rope)->Object("deep");
  ASSERT_TRUE(deep.ok() && deep->has_value());
  refused((*deep)->Int("x", {1, 100}).status(), "rope.deep.x: value 'y'");
}

TEST(ConfigJsonTest, RefusesWhatIsNoObject) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "offset 0: expected valid JSON"},
      {"[]", "a JSON object"},
      {"3", "a JSON object"},
      {"{", "valid JSON"},
      {"{\"a\": 1,}", "valid JSON"},
      {"{\"a\": NaN}", "valid JSON"},
      {"{\"a\": 1e999}", "valid JSON"},
      {"{\"a\": 1} x", "offset 10: expected valid JSON"},
      {std::string("{\"a\": 1}\0", 9), "NUL"},
      {"{\"a\": \"\xFF\"}", "valid JSON"},
      {"{\"a\": " + std::string(100000, '['), "at most 64 nested"},
  };
  for (const auto& [text, message] : cases) {
    SCOPED_TRACE(text.substr(0, 40));
    ExpectRefused(ConfigJson::Parse("config.json", text).status(), "config.json", message);
  }
}

TEST(ConfigJsonTest, BoundsTheNumberOfValues) {
  std::string text = "{\"a\": [0";
  for (int i = 0; i < 1'000'000; ++i) text += ",0";
  ExpectRefused(ConfigJson::Parse("config.json", text + "]}").status(), "config.json",
                "at most 1000000 values");
}

TEST(ConfigJsonTest, BuildsWhatNlohmannBuilds) {
  const std::string text =
      R"({"a": [1, -2, 3.5, "x", null, true, {}, [], [[{"b": [1]}]]], "c": {"d": {"e": [{"f": 1}, 2]}},
          "twice": 1, "twice": {"last": "wins"}, "": 0})";
  EXPECT_EQ(Config(text).json(), nlohmann::json::parse(text));
}

}  // namespace
}  // namespace inhouse::engine
