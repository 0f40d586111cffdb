#include "engine/formats/packed_file.h"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

const std::string kDigest(64, 'a');

PackedHeader TwoSections() {
  PackedHeader header;
  header.isa = "avx2";
  header.fingerprint = kDigest;
  header.data_bytes = 64 * 5;
  header.sections = {{.name = "a.weight",
                      .type = "BF16",
                      .kernel = "k1",
                      .rows = 33,
                      .columns = 8,
                      .panel_rows = 32,
                      .panel_bytes = 64,
                      .offset = 0,
                      .sha256 = kDigest},
                     {.name = "b.weight",
                      .type = "Q8_0",
                      .kernel = "k2",
                      .rows = 16,
                      .columns = 32,
                      .panel_rows = 16,
                      .panel_bytes = 128,
                      .offset = 192,
                      .sha256 = kDigest}};
  return header;
}

std::string WholeFile(const PackedHeader& header) {
  std::string file = PackedPreamble(header);
  file.append(static_cast<size_t>(header.data_bytes), '\5');
  return file;
}

// A file around any JSON, with the right length and digest.
std::string FileOf(const std::string& json, size_t data_bytes) {
  std::string file = "INHPACK1";
  for (int i = 0; i < 8; ++i) file += static_cast<char>(json.size() >> (8 * i) & 0xFFU);
  base::Sha256 hash;
  hash.Update(json);
  file += hash.FinishHex() + json;
  file.resize((file.size() + (2 << 20) - 1) / (2 << 20) * (2 << 20) + data_bytes);
  return file;
}

absl::StatusOr<PackedHeader> Parse(const std::string& file) {
  return ParsePacked("x.inhouse-pack", std::as_bytes(std::span(file)));
}

void ExpectRefused(const std::string& file, const std::string& text) {
  const auto header = Parse(file);
  ASSERT_FALSE(header.ok()) << "expected: " << text;
  const std::string message = base::Message(header.status());
  EXPECT_EQ(message.rfind("x.inhouse-pack", 0), 0U) << message;
  EXPECT_NE(message.find(text), std::string::npos) << message;
}

std::string Json(const PackedHeader& header) {
  const std::string preamble = PackedPreamble(header);
  return preamble.substr(80, preamble.find('\0', 80) - 80);
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(PackedFileTest, RoundTrip) {
  const PackedHeader header = TwoSections();
  const std::string file = WholeFile(header);
  EXPECT_EQ((file.size() - static_cast<size_t>(header.data_bytes)) % (2 << 20), 0U);
  const auto parsed = Parse(file);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->isa, "avx2");
  EXPECT_EQ(parsed->data_bytes, 320);
  ASSERT_EQ(parsed->sections.size(), 2U);
  EXPECT_EQ(parsed->sections[0].panels(), 2);
  EXPECT_EQ(parsed->sections[1].name, "b.weight");
  EXPECT_EQ(parsed->sections[1].offset, 192);
  EXPECT_EQ(PackedPreamble(*parsed), PackedPreamble(header));
}

TEST(PackedFileTest, EveryTruncationIsRefused) {
  const std::string file = WholeFile(TwoSections());
  for (const size_t size : {size_t{0}, size_t{7}, size_t{8}, size_t{15}, size_t{79}, size_t{80},
                            size_t{300}, file.size() - 321, file.size() - 1}) {
    EXPECT_FALSE(Parse(file.substr(0, size)).ok()) << size;
  }
  ExpectRefused(file.substr(0, file.size() - 1), "size: value '2097471': expected 2097472");
  ExpectRefused(file + "x", "size: value '2097473'");
}

TEST(PackedFileTest, DamageIsRefusedByOffset) {
  std::string file = WholeFile(TwoSections());
  ExpectRefused("GGUF" + file.substr(4), "offset 0");
  std::string damaged = file;
  damaged[100] ^= 1;
  ExpectRefused(damaged, "offset 16: value");
  damaged = file;
  damaged[15] = '\x7F';  // the length of the header
  ExpectRefused(damaged, "offset 8: value '9151314442816848");
}

TEST(PackedFileTest, HostileHeadersAreRefused) {
  const std::string json = Json(TwoSections());
  ASSERT_TRUE(Parse(FileOf(json, 320)).ok());
  ExpectRefused(FileOf("[1, 2", 0), "offset 80: expected a JSON object");
  ExpectRefused(FileOf("[]", 0), "expected an object");
  ExpectRefused(FileOf("{}", 0), "isa: expected a string");
  ExpectRefused(FileOf(Replaced(json, kDigest, "no digest"), 320), "fingerprint: value");
  ExpectRefused(FileOf(Replaced(json, "\"data_bytes\":320", "\"data_bytes\":-1"), 0), "data_bytes");
  ExpectRefused(FileOf(Replaced(json, "\"rows\":33", "\"rows\":18446744073709551615"), 320),
                "sections[0].rows");
  ExpectRefused(FileOf(Replaced(json, "\"rows\":33", "\"rows\":1099511627776"), 320),
                "sections[0].offset: value '0': expected 34359738368 panels");
  ExpectRefused(FileOf(Replaced(json, "\"panel_rows\":32", "\"panel_rows\":0"), 320),
                "sections[0].panel_rows");
  ExpectRefused(FileOf(Replaced(json, "\"panel_bytes\":64", "\"panel_bytes\":65"), 320),
                "a multiple of 64");
  ExpectRefused(FileOf(Replaced(json, "\"offset\":192", "\"offset\":64"), 320),
                "sections[1].offset: value '64': expected at least 128");
  ExpectRefused(FileOf(Replaced(json, "\"offset\":192", "\"offset\":256"), 320),
                "sections[1].offset");
  ExpectRefused(FileOf(Replaced(json, "\"sections\":[", "\"sections\":[[],"), 320), "sections[0].");
}

class PackedFileOnDisk : public testing::Test {
 protected:
  PackedFileOnDisk() {
    std::string pattern = testing::TempDir() + "inhouse-packed-XXXXXX";
    directory_ = mkdtemp(pattern.data());
  }
  ~PackedFileOnDisk() override { std::filesystem::remove_all(directory_); }
  std::unique_ptr<PackedFile> Open(const PackedHeader& header) {
    const std::string path = directory_ + "/x.inhouse-pack";
    EXPECT_TRUE(base::ReplaceFile(path, WholeFile(header)).ok());
    auto file = PackedFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    return *std::move(file);
  }
  std::string directory_;
};

TEST_F(PackedFileOnDisk, SaysWhatDoesNotMatch) {
  const auto file = Open(TwoSections());
  EXPECT_TRUE(file->Matches(TwoSections()).ok());
  const auto refused = [&file](const auto& change, const std::string& text) {
    PackedHeader wanted = TwoSections();
    change(wanted);
    const absl::Status status = file->Matches(wanted);
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << text;
    EXPECT_NE(base::Message(status).find(text), std::string::npos) << status;
  };
  refused([](PackedHeader& h) { h.fingerprint[0] = 'b'; }, "fingerprint");
  refused([](PackedHeader& h) { h.sections[1].kernel = "k3"; },
          "'b.weight': value 'Q8_0 for kernel k2 (level avx2)");
  refused([](PackedHeader& h) { h.sections[1].columns = 64; }, "'b.weight'");
  refused([](PackedHeader& h) { h.sections.pop_back(); }, "sections: value '2 of 320 bytes'");
}

TEST_F(PackedFileOnDisk, VerifyFindsADamagedPanel) {
  PackedHeader header = TwoSections();
  const std::string panels(128, '\5');
  base::Sha256 hash;
  hash.Update(panels);
  header.sections[0].sha256 = header.sections[1].sha256 = hash.FinishHex();
  const auto never = [](int64_t, int64_t) { return true; };
  EXPECT_TRUE(Open(header)->Verify(never).ok());
  EXPECT_EQ(Open(header)->Verify([](int64_t, int64_t) { return false; }).code(),
            absl::StatusCode::kCancelled);
  header.sections[1].sha256[0] ^= 1;
  const absl::Status status = Open(header)->Verify(never);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(base::Message(status).find("'b.weight' at data offset 192"), std::string::npos)
      << status;
}

}  // namespace
}  // namespace inhouse::engine
