// GGUF files that lie, and split sets that do not fit together.
#include <filesystem>
#include <string>
#include <vector>

#include "engine/formats/gguf.h"
#include "engine/formats/gguf_cursor.h"
#include "engine/formats/test_files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

struct Hostile {
  std::string what;
  std::string file;
  std::string message;
};

void ExpectAllRefused(const std::vector<Hostile>& cases) {
  for (const auto& [what, file, message] : cases) {
    SCOPED_TRACE(what);
    ExpectRefused(ParseGguf("m.gguf", Bytes(file)).status(), "m.gguf", message);
  }
}

std::string Array(uint32_t type, uint64_t count, const std::string& elements) {
  return Raw(type) + Raw(count) + elements;
}

std::string WithValue(uint32_t type, const std::string& bytes) {
  return GgufFile().RawValue("k", type, bytes).Build();
}

TEST(GgufHostileTest, Preamble) {
  const auto preamble = [](const auto& change) {
    GgufFile file;
    file.Text("k", "v").Tensor("t", {1}, 0, 4);
    change(file);
    return file.Build();
  };
  ExpectAllRefused({
      {"empty", "", "offset 0: expected 4 more bytes"},
      {"three bytes", "GGU", "the file ends at 3"},
      {"other magic", preamble([](auto& f) { f.magic = "GGML"; }), "the letters GGUF"},
      {"reversed magic", preamble([](auto& f) { f.magic = "FUGG"; }), "the letters GGUF"},
      {"version 0", preamble([](auto& f) { f.version = 0; }),
       "offset 4: value '0': expected GGUF version 2"},
      {"version 1", preamble([](auto& f) { f.version = 1; }), "version 2 or 3"},
      {"version 4", preamble([](auto& f) { f.version = 4; }), "version 2 or 3"},
      {"big-endian", preamble([](auto& f) { f.version = 0x03000000; }), "big-endian"},
      {"tensors 2^64 - 1", preamble([](auto& f) { f.tensors = UINT64_MAX; }), "offset 8: value"},
      {"tensors that do not fit", preamble([](auto& f) { f.tensors = 50; }),
       "tensors in a file of this size"},
      {"key-values 2^63", preamble([](auto& f) { f.values = 1ULL << 63; }), "offset 16: value"},
      {"one key-value more", preamble([](auto& f) { f.values = 2; }), "expected"},
      {"one tensor more", preamble([](auto& f) { f.tensors = 2; }), "tensor name"},
  });
}

TEST(GgufHostileTest, KeysAndValues) {
  const std::string huge = Raw<uint64_t>(UINT64_MAX);
  std::string long_key(70000, 'k');
  ExpectAllRefused({
      {"empty key", GgufFile().Text("", "v").Build(), "at least one byte"},
      {"long key", GgufFile().Text(long_key, "v").Build(), "at most 65535 bytes"},
      {"key twice", GgufFile().Text("k", "1").Text("k", "2").Build(),
       "key 'k': expected each key once"},
      {"unknown type", WithValue(13, Raw<uint64_t>(0)),
       "value '13': expected a value type from 0 to 12"},
      {"bool 2", WithValue(7, "\x02"), "key 'k': value '2': expected a boolean"},
      {"string length", WithValue(8, huge + "abc"), "a string of at most 3 bytes"},
      {"string length of one more", WithValue(8, Raw<uint64_t>(4) + "abc"), "at most 3 bytes"},
      {"nested array", WithValue(9, Array(9, 1, Array(0, 1, "x"))), "no nested arrays"},
      {"array of unknown type", WithValue(9, Array(77, 1, "x")), "value '77'"},
      {"array count", WithValue(9, Array(0, UINT64_MAX, "abc")), "an array of at most 3 elements"},
      {"array bytes overflow", WithValue(9, Array(12, 1ULL << 61, "abcdefgh")),
       "at most 1 elements"},
      {"array of strings", WithValue(9, Array(8, 1ULL << 60, std::string(64, '\0'))), "at most 8"},
      {"string of an array", WithValue(9, Array(8, 1, huge)), "a string of at most 0 bytes"},
      {"u64 of an array", WithValue(9, Array(10, 1, huge)), "below 2^63"},
      {"bool of an array", WithValue(9, Array(7, 2, "\x01\x05")), "value '5'"},
  });
}

TEST(GgufHostileTest, TensorInfos) {
  const auto info = [](std::string_view name, std::initializer_list<uint64_t> dims, uint32_t type,
                       uint64_t offset) {
    GgufFile file;
    file.Info(name, dims, type, offset);
    file.data = std::string(4096, '\0');
    return file.Build();
  };
  GgufFile twice;
  twice.Tensor("t", {8}, 0, 32).Tensor("t", {8}, 0, 32);
  ExpectAllRefused({
      {"no name", info("", {1}, 0, 0), "at least one byte"},
      {"long name", info(std::string(128, 'n'), {1}, 0, 0), "at most 127 bytes"},
      {"no dimensions", info("t", {}, 0, 0), "value '0': expected 1 to 4 dimensions"},
      {"five dimensions", info("t", {1, 1, 1, 1, 1}, 0, 0), "1 to 4 dimensions"},
      {"a zero dimension", info("t", {4, 0}, 0, 0), "value '0': expected a dimension from 1"},
      {"2^63", info("t", {1ULL << 63}, 0, 0), "a dimension from 1"},
      {"product overflows", info("t", {1ULL << 32, 1ULL << 32}, 0, 0), "a product"},
      {"bytes overflow", info("t", {1ULL << 62}, 0, 0), "below 2^63 bytes"},
      {"unknown type", info("t", {256}, 99, 0), "value '99 '"},
      {"removed type", info("t", {256}, 4, 0), "value '4 Q4_2'"},
      {"unsupported type", info("t", {256}, 20, 0), "value '20 IQ4_NL': expected a type of F32"},
      {"31 in a block of 32", info("t", {31}, 8, 0), "a multiple of 32 (whole Q8_0 blocks)"},
      {"128 in a block of 256", info("t", {128, 2}, 12, 0),
       "a multiple of 256 (whole Q4_K blocks)"},
      {"unaligned offset", info("t", {4}, 0, 4),
       "value '4': expected an offset that is a multiple of 32"},
      {"offset near 2^64", info("t", {1024}, 0, UINT64_MAX - 31), "tensor 't'"},
      {"offset plus size wraps", info("t", {1ULL << 60}, 0, (UINT64_MAX - 31) / 2), "tensor 't'"},
      {"the same name", twice.Build(), "tensor 't': expected each tensor once"},
  });
}

TEST(GgufHostileTest, TensorsThatDoNotTileTheData) {
  GgufFile two;
  two.Tensor("a", {8}, 0, 32).Tensor("b", {8}, 0, 32);
  const std::string good = two.Build();
  ASSERT_TRUE(ParseGguf("m.gguf", Bytes(good)).ok());
  const auto at = [](uint64_t a, uint64_t b) {
    GgufFile file;
    file.Info("a", {8}, 0, a).Info("b", {8}, 0, b);
    file.data = std::string(128, '\0');
    return file.Build();
  };
  ExpectAllRefused({
      {"truncated", good.substr(0, good.size() - 1), "and is truncated"},
      {"no data", two.Header(), "within the 0 bytes of data"},
      {"padded", good + std::string(32, '\0'), "found 32 more bytes"},
      {"one byte more", good + "x", "found 1 more bytes"},
      {"overlap", at(0, 0), "tensor 'b': offset: value '0': expected 32"},
      {"hole", at(0, 64), "tensor 'b': offset: value '64': expected 32"},
      {"late start", at(32, 64), "expected 0"},
      {"beyond the file", at(0, 1ULL << 40), "tensor 'b'"},
  });
}

TEST(GgufHostileTest, Alignment) {
  const auto with = [](uint32_t type, const std::string& bytes) {
    return GgufFile().RawValue("general.alignment", type, bytes).Build();
  };
  ExpectAllRefused({
      {"zero", with(4, Raw(0U)), "general.alignment: value '0': expected a power of two"},
      {"24", with(4, Raw(24U)), "a power of two"},
      {"4", with(4, Raw(4U)), "from 8"},
      {"2^31", with(4, Raw(1U << 31)), "a power of two"},
      {"negative", with(5, Raw(-32)), "value '-32'"},
      {"text", with(8, GgufString("32")), "a power of two"},
      {"u64", with(10, Raw(UINT64_MAX)), "a power of two"},
  });
}

// A length that takes gigabytes of weights for a string ends where headers end.
TEST(GgufHostileTest, AHeaderHasALimit) {
  const std::string half(kGgufHeaderBytesMax / 2, 'x');
  const std::string file = GgufFile().Text("a", half).Text("b", half).Build();
  ExpectAllRefused(
      {{"128 MiB", file, "key 'b': value '67108864': expected a string of at most 67"}});
}

class GgufSplitTest : public FilesTest {
 protected:
  static GgufFile Part(uint16_t no, uint16_t count, int32_t tensors) {
    GgufFile file;
    file.Value<uint16_t>("split.no", 2, no).Value<uint16_t>("split.count", 2, count);
    file.Value<int32_t>("split.tensors.count", 5, tensors);
    return file;
  }
  std::string Name(int number, int count = 3) const {
    return "m-0000" + std::to_string(number) + "-of-0000" + std::to_string(count) + ".gguf";
  }
  void WriteSet() const {
    Write(Name(1), Part(0, 3, 2).Text("general.architecture", "llama").Build());  // no tensors
    Write(Name(2), Part(1, 3, 2).Tensor("a", {8}, 0, 32).Build());
    Write(Name(3), Part(2, 3, 2).Tensor("b", {8}, 0, 32).Build());
  }
  absl::Status Read(const std::string& name) {
    TensorTable table;
    const auto kv = ReadGguf(dir_ + "/" + name, &table);
    if (!kv.ok()) return kv.status();
    EXPECT_EQ(table.tensors().size(), 2U);
    EXPECT_EQ(table.files().size(), 3U);
    EXPECT_EQ(*kv->String("general.architecture"), "llama");
    return absl::OkStatus();
  }
};

TEST_F(GgufSplitTest, FindsTheOtherFiles) {
  WriteSet();
  const absl::Status status = Read(Name(1));
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(GgufSplitTest, RefusesSetsThatDoNotFitTogether) {
  WriteSet();
  ExpectRefused(Read(Name(2)), Name(2), "Open " + dir_ + "/" + Name(1));
  std::filesystem::copy(dir_ + "/" + Name(1), dir_ + "/other.gguf");
  ExpectRefused(Read("other.gguf"), "other.gguf", "a file name that ends in -00001-of-00003.gguf");
  std::filesystem::copy(dir_ + "/" + Name(1), dir_ + "/" + Name(1, 2));
  ExpectRefused(Read(Name(1, 2)), Name(1, 2), "-of-00003.gguf");

  Write(Name(3), Part(1, 3, 2).Tensor("b", {8}, 0, 32).Build());
  ExpectRefused(Read(Name(1)), Name(3), "split.no, split.count: value '1, 3': expected 2, 3");
  Write(Name(3), Part(2, 4, 2).Tensor("b", {8}, 0, 32).Build());
  ExpectRefused(Read(Name(1)), Name(3), "value '2, 4'");
  Write(Name(3), GgufFile().Tensor("b", {8}, 0, 32).Build());
  ExpectRefused(Read(Name(1)), Name(3), "split.no");
  Write(Name(3), Part(2, 3, 2).Tensor("a", {8}, 0, 32).Build());
  ExpectRefused(Read(Name(1)), Name(3), "each tensor once");
  Write(Name(3), Part(2, 3, 2).Tensor("b", {8}, 0, 32).Tensor("c", {8}, 0, 32).Build());
  ExpectRefused(Read(Name(1)), Name(1), "split.tensors.count: value '2': expected 3");
  std::filesystem::remove(dir_ + "/" + Name(3));
  EXPECT_EQ(Read(Name(1)).code(), absl::StatusCode::kNotFound);
  ExpectRefused(Read(Name(1)), Name(3), "No such file");
}

}  // namespace
}  // namespace inhouse::engine
