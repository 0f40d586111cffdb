#include "lifecycle/registry/store.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/sha256.h"
#include "base/status.h"
#include "lifecycle/registry/names.h"
#include "lifecycle/registry/resolve.h"

namespace inhouse::lifecycle {
namespace {

namespace fs = std::filesystem;

std::string Digest(std::string_view text) {
  base::Sha256 hash;
  hash.Update(text);
  return hash.FinishHex();
}

class StoreTest : public ::testing::Test {
 protected:
  StoreTest() {
    std::string name = fs::temp_directory_path().string() + "/inhouse-store-XXXXXX";
    home_ = mkdtemp(name.data());
    setenv("INHOUSE_HOME", home_.c_str(), 1);
  }
  ~StoreTest() override { fs::remove_all(home_); }

  void Write(const std::string& path, const std::string& content) {
    fs::create_directories(fs::path(path).parent_path());
    std::ofstream(path) << content;
  }

  // Adds a version of one file.
  absl::StatusOr<StoredVersion> Add(const std::string& name, const std::string& content,
                                    const std::string& file = "model.gguf") {
    const std::string staging = home_ + "/staging";
    Write(staging + "/" + file, content);
    Manifest manifest = {.format = "gguf", .entry = file, .source = "import:test"};
    manifest.files.push_back({file, content.size(), Digest(content)});
    return Store(home_).Add(name, staging, manifest);
  }

  std::string home_;
};

TEST_F(StoreTest, AddedVersionIsFoundListedAndReadOnly) {
  const auto added = Add("org/model", "abc");
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_TRUE(added->current);
  EXPECT_EQ(added->ModelPath(), added->directory + "/model.gguf");
  const auto list = Store(home_).List();
  ASSERT_TRUE(list.ok());
  ASSERT_EQ(list->size(), 1U);
  EXPECT_EQ((*list)[0].name, "org/model");
  struct stat info = {};
  ASSERT_EQ(stat(added->ModelPath().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0222U, 0U);
  EXPECT_FALSE(fs::exists(home_ + "/staging"));
}

TEST_F(StoreTest, SameContentIsOneVersionOtherContentAnother) {
  const auto first = Add("m", "one");
  const auto second = Add("m", "two");
  const auto again = Add("m", "one");
  ASSERT_TRUE(first.ok() && second.ok() && again.ok());
  EXPECT_NE(first->version, second->version);
  EXPECT_EQ(first->version, again->version);
  EXPECT_EQ(Store(home_).List()->size(), 2U);
  EXPECT_EQ(Store(home_).Find("m")->version, first->version);
  EXPECT_EQ(Store(home_).Find("m@" + second->version.substr(0, 12))->version, second->version);
  EXPECT_TRUE(absl::IsNotFound(Store(home_).Find("m@0000000000000").status()));
}

TEST_F(StoreTest, RefusesSizesThatDifferFromTheManifest) {
  Write(home_ + "/staging/a", "12345");
  Manifest manifest = {.format = "other"};
  manifest.files.push_back({"a", 4, Digest("12345")});
  const auto added = Store(home_).Add("m", home_ + "/staging", manifest);
  EXPECT_FALSE(added.ok());
  EXPECT_TRUE(Store(home_).List()->empty());
}

TEST_F(StoreTest, RemovingTheCurrentVersionPromotesTheNextAndTheLastTakesTheName) {
  const auto first = Add("org/m", "one");
  const auto second = Add("org/m", "two");
  ASSERT_TRUE(first.ok() && second.ok());
  ASSERT_TRUE(Store(home_).Remove("org/m@" + second->version.substr(0, 8)).ok());
  EXPECT_EQ(Store(home_).Find("org/m")->version, first->version);
  ASSERT_TRUE(Store(home_).Remove("org/m").ok());
  EXPECT_TRUE(absl::IsNotFound(Store(home_).Find("org/m").status()));
  EXPECT_FALSE(fs::exists(home_ + "/models/org"));
}

TEST_F(StoreTest, VerifyFindsAFlippedByteAndAMissingFile) {
  const auto added = Add("m", "abcdef");
  ASSERT_TRUE(added.ok());
  EXPECT_TRUE(Store(home_).Verify(*added)->empty());
  fs::permissions(added->ModelPath(), fs::perms::owner_all);
  Write(added->ModelPath(), "abcdeX");
  ASSERT_EQ(Store(home_).Verify(*added)->size(), 1U);
  fs::remove(added->ModelPath());
  const auto findings = Store(home_).Verify(*added);
  ASSERT_EQ(findings->size(), 1U);
  EXPECT_EQ((*findings)[0].problem, "missing");
}

TEST_F(StoreTest, AChangedManifestIsNotBelieved) {
  const auto added = Add("m", "abcdef");
  ASSERT_TRUE(added.ok());
  const std::string path = added->directory + "/" + kManifestFileName;
  fs::permissions(path, fs::perms::owner_all);
  Manifest changed = added->manifest;
  changed.files[0].sha256 = Digest("other");
  Write(path, ManifestToJson(changed));
  EXPECT_FALSE(Store(home_).Find("m").ok());
  int broken = 0;
  EXPECT_TRUE(Store(home_).List([&](const absl::Status&) { ++broken; })->empty());
  EXPECT_EQ(broken, 1);
}

TEST_F(StoreTest, ResolveTakesPathsThenNames) {
  const auto added = Add("deepseek-ai/DeepSeek-R1", "abc");
  ASSERT_TRUE(added.ok());
  EXPECT_EQ(*ResolveModel("deepseek-ai/DeepSeek-R1"), added->ModelPath());
  EXPECT_EQ(*ResolveModel("deepseek-r1"), added->ModelPath());  // unambiguous last part
  EXPECT_EQ(*ResolveModel(home_), home_);
  Write(home_ + "/x.bin", "x");
  EXPECT_FALSE(ResolveModel(home_ + "/x.bin").ok());
  EXPECT_TRUE(absl::IsNotFound(ResolveModel("./nothing").status()));
  const auto close = ResolveModel("deepseek-r2");
  ASSERT_TRUE(absl::IsNotFound(close.status()));
  EXPECT_NE(base::Message(close.status()).find("Did you mean 'deepseek-ai/DeepSeek-R1'"),
            std::string::npos)
      << close.status();
  const auto known = ResolveModel("smollm2-135m-instruct");
  EXPECT_NE(base::Message(known.status()).find("inhouse pull smollm2-135m-instruct"),
            std::string::npos);
  EXPECT_FALSE(ResolveModel("").ok());
}

TEST_F(StoreTest, AnAmbiguousLastPartIsNotGuessed) {
  ASSERT_TRUE(Add("a/m", "1").ok());
  ASSERT_TRUE(Add("b/m", "2").ok());
  const auto found = ResolveModel("m");
  ASSERT_FALSE(found.ok());
  EXPECT_NE(base::Message(found.status()).find("'a/m' or 'b/m'"), std::string::npos);
}

TEST(Names, HostileNamesAreRefused) {
  for (const char* bad : {"", "..", "../x", "a/../b", "a//b", "/a", "a/", ".hidden", "-rf", "a b",
                          "a/b/c/d/e", "current", "a/current", "x\ny", "模型"}) {
    EXPECT_FALSE(CheckModelName(bad).ok()) << bad;
  }
  for (const char* good : {"a", "a/b", "deepseek-ai/DeepSeek-V3.2", "x_y.z-1", "_x"}) {
    EXPECT_TRUE(CheckModelName(good).ok()) << good;
  }
}

TEST(ManifestTest, RoundTripAndHostilePaths) {
  Manifest manifest = {.format = "other", .entry = "", .source = "hf:a/b", .created_at = "t"};
  manifest.files.push_back({"a/b.json", 3, Digest("abc")});
  const auto again = ManifestFromJson(ManifestToJson(manifest), "m");
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(VersionId(*again), VersionId(manifest));
  manifest.created_at = "later";
  EXPECT_EQ(VersionId(*again), VersionId(manifest));  // the time is not part of the version
  for (const char* bad :
       {"/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "", "a\\b", "a\nb"}) {
    EXPECT_FALSE(CheckRelativePath(bad, "m").ok()) << bad;
    manifest.files[0].path = bad;
    EXPECT_FALSE(ManifestFromJson(ManifestToJson(manifest), "m").ok()) << bad;
  }
  for (const char* bad : {"", "[]", "{", "{}", "{\"schema\":1}", "null"}) {
    EXPECT_FALSE(ManifestFromJson(bad, "m").ok()) << bad;
  }
}

}  // namespace
}  // namespace inhouse::lifecycle
