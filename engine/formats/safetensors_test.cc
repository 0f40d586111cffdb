#include "engine/formats/safetensors.h"

#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using testing::ElementsAre;

absl::StatusOr<SafetensorsHeader> Parse(const std::string& file) {
  return ParseSafetensors("m.safetensors", Bytes(file));
}

TEST(SafetensorsTest, ReadsWhatTheReferenceWrote) {
  TensorTable table;
  const absl::Status status = ReadSafetensors("tests/fixtures/formats/dtypes.safetensors", &table);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(table.tensors().size(), 14U);
  for (const auto& [name, tensor] : table.tensors()) {
    EXPECT_EQ(Name(tensor.view.dtype), name);
    EXPECT_EQ(tensor.view.shape, (name == "F4" ? Shape{3, 4} : Shape{3, 2}));
    ASSERT_EQ(tensor.view.bytes.size(), static_cast<size_t>(3 * tensor.view.row_bytes())) << name;
    // A view of the map, not a copy.
    EXPECT_EQ(tensor.view.bytes.data(), tensor.file->bytes().data() + tensor.file_offset);
    for (size_t i = 0; i < tensor.view.bytes.size(); ++i) {
      ASSERT_EQ(static_cast<size_t>(tensor.view.bytes[i]), i) << name;
    }
  }
}

TEST(SafetensorsTest, AcceptsWhatTheFormatAllows) {
  const std::string f32 = Entry("a", "F32", "[1]", "[0,4]");
  const std::string four(4, '\0');
  const std::vector<std::pair<std::string, std::string>> files = {
      {"no tensors", Safetensors("{}")},
      {"padding of blanks, tabs and line ends", Safetensors("{}  \t\r\n")},
      {"leading blanks", Safetensors("  {}")},
      {"a scalar", Safetensors("{" + Entry("a", "F32", "[]", "[0,4]") + "}", four)},
      {"a zero dimension", Safetensors("{" + Entry("a", "F32", "[3,0,7]", "[0,0]") + "}")},
      {"empty tensors between others",
       Safetensors("{" + f32 + "," + Entry("z", "F32", "[0]", "[4,4]") + "," +
                       Entry("b", "F32", "[1]", "[4,8]") + "}",
                   four + four)},
      {"names in another order than bytes",
       Safetensors("{" + Entry("z", "F32", "[1]", "[4,8]") + "," + f32 + "}", four + four)},
      {"unaligned tensors", Safetensors("{" + Entry("a", "U8", "[1]", "[0,1]") + "," +
                                            Entry("b", "F32", "[1]", "[1,5]") + "}",
                                        four + "x")},
      {"unknown fields of a tensor",
       Safetensors(
           R"({"a":{"x":[1,{"y":null}],"dtype":"U8","shape":[1],"data_offsets":[0,1],"z":2}})",
           "x")},
      {"null metadata", Safetensors(R"({"__metadata__":null})")},
      {"an empty name", Safetensors("{" + Entry("", "F32", "[1]", "[0,4]") + "}", four)},
      {"64 dimensions", Safetensors("{" +
                                        Entry(
                                            "a", "U8",
                                            "[1" +
                                                [] {
                                                  std::string ones;
                                                  for (int i = 1; i < 64; ++i) ones += ",1";
                                                  return ones;
                                                }() +
                                                "]",
                                            "[0,1]") +
                                        "}",
                                    "x")},
  };
  for (const auto& [what, file] : files) {
    const auto header = Parse(file);
    EXPECT_TRUE(header.ok()) << what << ": " << header.status();
  }
}

TEST(SafetensorsTest, GivesTensorsInTheOrderOfTheirBytesAndMetadata) {
  const std::string text = R"({"__metadata__":{"format":"pt","note":"中"},)" +
                           Entry("z", "F32", "[1]", "[0,4]") + "," +
                           Entry("a", "F16", "[2,1]", "[4,8]") + "}";
  const auto header = Parse(Safetensors(text, "12345678"));
  ASSERT_TRUE(header.ok()) << header.status();
  EXPECT_THAT(header->metadata,
              ElementsAre(testing::Pair("format", "pt"), testing::Pair("note", "中")));
  EXPECT_EQ(header->data_offset, 8 + text.size());
  ASSERT_EQ(header->tensors.size(), 2U);
  EXPECT_EQ(header->tensors[0].name, "z");
  EXPECT_EQ(header->tensors[1].name, "a");
  EXPECT_EQ(header->tensors[1].shape, (Shape{2, 1}));
  EXPECT_EQ(header->tensors[1].begin, header->data_offset + 4);
  EXPECT_EQ(header->tensors[1].end, header->data_offset + 8);
}

struct Hostile {
  std::string what;
  std::string file;
  std::string message;
};

void ExpectAllRefused(const std::vector<Hostile>& cases) {
  for (const auto& [what, file, message] : cases) {
    SCOPED_TRACE(what);
    ExpectRefused(Parse(file).status(), "m.safetensors", message);
  }
}

TEST(SafetensorsTest, RefusesALyingLengthAndWhatIsNotJson) {
  const std::string deep(100000, '[');
  ExpectAllRefused({
      {"empty file", "", "at least 8 bytes, found 0"},
      {"seven bytes", std::string(7, '\0'), "at least 8 bytes, found 7"},
      {"no header", std::string(8, '\0'), "offset 8: expected valid JSON"},
      {"one byte too long", Raw<uint64_t>(3) + "{}",
       "header length: value '3': expected at most 2"},
      {"huge length", Raw<uint64_t>(UINT64_MAX) + "{}", "value '18446744073709551615'"},
      {"overflowing length", Raw<uint64_t>(UINT64_MAX - 7) + "{}", "header length"},
      {"a list", Safetensors("[]"), "a JSON object"},
      {"null", Safetensors("null"), "a JSON object"},
      {"cut JSON", Safetensors("{\"a\":"), "valid JSON"},
      {"two documents", Safetensors("{}{}"), "offset 11: expected valid JSON"},
      {"a comment", Safetensors("{}/**/"), "valid JSON"},
      {"padding of NULs", Safetensors(std::string("{}\0\0", 4)), "NUL"},
      {"byte order mark", Safetensors("\xEF\xBB\xBF{}"), "byte order mark"},
      {"not UTF-8", Safetensors("{\"\xFF\":1}"), "valid JSON"},
      {"half a surrogate pair", Safetensors("{\"\\ud800\":1}"), "valid JSON"},
      {"a raw control character", Safetensors("{\"\x01\":1}"), "valid JSON"},
      {"deep", Safetensors("{\"a\":{\"x\":" + deep), "at most 16 nested"},
      {"huge number", Safetensors("{\"a\":1" + std::string(1000, '0') + "}"), "valid JSON"},
  });
}

TEST(SafetensorsTest, RefusesMalformedEntries) {
  const auto file = [](const std::string& entries) {
    return Safetensors("{" + entries + "}", "1234");
  };
  const auto shape = [&file](const std::string& text) {
    return file(Entry("a", "F32", text, "[0,4]"));
  };
  const auto offsets = [&file](const std::string& text) {
    return file(Entry("a", "F32", "[1]", text));
  };
  const std::string good = Entry("a", "F32", "[1]", "[0,4]");
  std::string rank65 = "[1";
  for (int i = 1; i < 65; ++i) rank65 += ",1";
  ExpectAllRefused({
      {"no dtype", file(R"("a":{"shape":[1],"data_offsets":[0,4]})"),
       "dtype, shape and data_offsets"},
      {"no shape", file(R"("a":{"dtype":"F32","data_offsets":[0,4]})"), "tensor 'a'"},
      {"no offsets", file(R"("a":{"dtype":"F32","shape":[1]})"), "tensor 'a'"},
      {"field twice", file(R"("a":{"dtype":"F32","dtype":"F32"})"), "each field once"},
      {"tensor twice", file(good + "," + good), "tensor 'a': expected each tensor once"},
      {"a list for a tensor", file(R"("a":["F32",[1],[0,4]])"), "an object"},
      {"null for a tensor", file(R"("a":null)"), "tensor 'a': value 'null': expected an object"},
      {"unknown dtype", file(Entry("a", "F7", "[1]", "[0,4]")),
       "dtype: value 'F7': expected one of"},
      {"lower case dtype", file(Entry("a", "f32", "[1]", "[0,4]")), "value 'f32'"},
      {"a block type", file(Entry("a", "Q8_0", "[1]", "[0,4]")), "value 'Q8_0'"},
      {"dtype of another type", file(R"("a":{"dtype":1})"), "dtype: value '1'"},
      {"dtype object", file(R"("a":{"dtype":{}})"), "dtype"},
      {"negative dimension", shape("[-1]"), "shape: value '-1'"},
      {"fraction", shape("[1.0]"), "shape: value '1.0'"},
      {"exponent", shape("[1e0]"), "shape"},
      {"minus zero", shape("[-0]"), "shape"},
      {"text", shape("[\"1\"]"), "shape: value '1': expected a list of"},
      {"number for a list", shape("1"), "shape"},
      {"object for a list", shape("{}"), "shape"},
      {"nested list", shape("[[1]]"), "shape"},
      {"2^63", shape("[9223372036854775808]"), "below 2^63"},
      {"2^64", shape("[18446744073709551616]"), "shape"},
      {"65 dimensions", shape(rank65 + "]"), "at most 64"},
      {"three offsets", offsets("[0,4,4]"), "two offsets"},
      {"one offset", offsets("[0]"), "two offsets"},
      {"no offset", offsets("[]"), "two offsets"},
      {"negative offset", offsets("[-4,0]"), "two offsets"},
      {"metadata number", file(good + R"(,"__metadata__":{"k":1})"),
       "'k': value '1': expected a string"},
      {"metadata nested", file(good + R"(,"__metadata__":{"k":{}})"), "a string"},
      {"metadata list", file(good + R"(,"__metadata__":[])"), "__metadata__"},
      {"metadata twice", file(R"("__metadata__":{},"__metadata__":{})"), "each key once"},
      {"metadata key twice", file(R"("__metadata__":{"k":"1","k":"2"})"), "each key once"},
  });
}

TEST(SafetensorsTest, RefusesTensorsThatDoNotTileTheData) {
  const auto a = [](const std::string& shape, const std::string& offsets) {
    return Entry("a", "F32", shape, offsets);
  };
  const auto file = [](const std::string& entries, size_t bytes) {
    return Safetensors("{" + entries + "}", std::string(bytes, 'x'));
  };
  const std::string b = Entry("b", "F32", "[1]", "[8,12]");
  ExpectAllRefused({
      {"truncated", file(a("[2]", "[0,8]"), 7), "and is truncated"},
      {"all data missing", file(a("[2]", "[0,8]"), 0), "within the 0 bytes of data"},
      {"padded", file(a("[2]", "[0,8]"), 9), "found 1 more bytes"},
      {"data without tensors", file("", 1), "found 1 more bytes"},
      {"a hole", file(a("[1]", "[0,4]") + "," + b, 12),
       "tensor 'b': data_offsets: value '[8, 12]'"},
      {"an overlap", file(a("[3]", "[0,12]") + "," + b, 12), "no overlaps"},
      {"the same bytes twice", file(a("[1]", "[0,4]") + "," + Entry("b", "F32", "[1]", "[0,4]"), 4),
       "no overlaps"},
      {"a late start", file(a("[1]", "[4,8]"), 8), "to begin at 0"},
      {"end before begin", file(a("[1]", "[4,0]"), 4), "to begin at 0"},
      {"end before begin at 0", file(Entry("z", "U8", "[4]", "[0,4]") + "," + a("[1]", "[4,0]"), 4),
       "not before the begin"},
      {"wrong size", file(a("[2]", "[0,4]"), 4), "8 bytes for F32 [2]"},
      {"offsets near 2^63", file(a("[1]", "[9223372036854775803,9223372036854775807]"), 4),
       "to begin at 0"},
      {"product overflows", file(a("[4294967296,4294967296]", "[0,0]"), 0), "a product"},
      {"product overflows before a zero", file(a("[4294967296,4294967296,0]", "[0,0]"), 0),
       "a product"},
      {"bytes overflow", file(a("[4611686018427387904]", "[0,0]"), 0), "below 2^63 bytes"},
      {"a size that wraps to the right one", file(a("[4611686018427387905]", "[0,4]"), 4), "2^63"},
      {"half a byte", file(Entry("f", "F4", "[1]", "[0,1]"), 1), "a multiple of 2"},
      {"rows of half bytes", file(Entry("f", "F4", "[2,3]", "[0,3]"), 3), "a multiple of 2"},
      {"F4 scalar", file(Entry("f", "F4", "[]", "[0,1]"), 1), "a multiple of 2"},
  });
}

TEST(SafetensorsTest, MessagesDoNotRepeatHostileNames) {
  const std::string name = std::string(100000, 'n') + "\\u001b[2J";
  const auto status = Parse(Safetensors("{" + Entry(name, "X", "[1]", "[0,4]") + "}")).status();
  ExpectRefused(status, "m.safetensors", "nnn...");
  const auto escape = Parse(Safetensors(R"({"\u001b[2J":1})")).status();
  ExpectRefused(escape, "m.safetensors", "tensor '\\x1b[2J'");
}

TEST(SafetensorsTest, TruncationAtEveryByteIsRefused) {
  const auto whole = base::ReadFile("tests/fixtures/formats/dtypes.safetensors");
  ASSERT_TRUE(whole.ok());
  ASSERT_TRUE(Parse(*whole).ok());
  for (size_t size = 0; size < whole->size(); ++size) {
    EXPECT_FALSE(Parse(whole->substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace inhouse::engine
