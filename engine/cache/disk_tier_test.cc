#include "engine/cache/disk_tier.h"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

namespace fs = std::filesystem;
constexpr int64_t kBytes = 96;

class DiskTierTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/disk_tier_" +
            testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(root_);
    options_ = {.directory = root_,
                .bytes_max = 1 << 20,
                .format = {.secret = {1}, .identity = {2}, .page_bytes = kBytes}};
  }
  void TearDown() override { fs::remove_all(root_); }

  std::unique_ptr<DiskTier> OpenOrDie() const {
    auto tier = DiskTier::Open(options_);
    EXPECT_TRUE(tier.ok()) << tier.status();
    return *std::move(tier);
  }
  // Keys of the prefix that consists of these numbers, each filling a page.
  static std::vector<PrefixKey> Keys(const std::vector<int>& prefix,
                                     const std::string& tenant = "") {
    std::vector<PrefixKey> keys;
    PrefixKey key = RootKey("secret", {.tenant = tenant});
    for (const int number : prefix) {
      key = PageKey(key, std::vector<int32_t>(4, number));
      keys.push_back(key);
    }
    return keys;
  }
  static std::vector<std::byte> BytesOf(const std::vector<int>& prefix) {
    std::vector<std::byte> bytes;
    for (const int number : prefix)
      bytes.insert(bytes.end(), kBytes, std::byte{static_cast<uint8_t>(number)});
    return bytes;
  }
  static void Save(DiskTier& tier, const std::vector<int>& prefix) {
    tier.Write(Keys(prefix), BytesOf(prefix));
    tier.AwaitWrites(absl::Seconds(60));
  }
  static std::vector<std::byte> Read(DiskTier& tier, std::vector<PrefixKey> keys) {
    std::vector<std::byte> out;
    absl::Notification done;
    tier.Read(std::move(keys), [&](std::vector<std::byte> bytes) {
      out = std::move(bytes);
      done.Notify();
    });
    done.WaitForNotification();
    return out;
  }
  std::string Directory() const {
    return root_ + "/" + DiskDirectoryName(options_.format.identity);
  }
  std::vector<std::string> FileNames() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(Directory())) {
      if (entry.path().filename() != "lock") names.push_back(entry.path().string());
    }
    return names;
  }
  std::string OnlyFile() const {
    const auto names = FileNames();
    EXPECT_EQ(names.size(), 1U);
    return names.empty() ? "" : names[0];
  }
  static void Overwrite(const std::string& path, const std::string& content) {
    std::ofstream(path, std::ios::binary) << content;
  }

  std::string root_;
  DiskTierOptions options_;
};

TEST_F(DiskTierTest, PagesSurviveARestart) {
  {
    const auto tier = OpenOrDie();
    EXPECT_TRUE(tier->stats().ready);
    Save(*tier, {1, 2, 3});
    EXPECT_EQ(Read(*tier, Keys({1, 2, 3})), BytesOf({1, 2, 3}));
  }
  const auto tier = OpenOrDie();
  EXPECT_EQ(tier->stats().files, 1);
  EXPECT_EQ(tier->stats().bytes, static_cast<int64_t>(fs::file_size(OnlyFile())));
  EXPECT_TRUE(tier->Contains(Keys({1, 2}).back()));
  EXPECT_FALSE(tier->Contains(Keys({2}).back()));
  // From its middle, and up to where it ends.
  auto keys = Keys({1, 2, 3, 4});
  keys.erase(keys.begin());
  EXPECT_EQ(Read(*tier, keys), BytesOf({2, 3}));
  EXPECT_EQ(tier->stats().refused, 0);
}

// Written or not yet: whoever asks gets the page.
TEST_F(DiskTierTest, WhatIsQueuedCanBeRead) {
  const auto tier = OpenOrDie();
  for (int i = 0; i < 50; ++i) {
    tier->Write(Keys({i, 1}), BytesOf({i, 1}));
    EXPECT_EQ(Read(*tier, Keys({i, 1})), BytesOf({i, 1}));
  }
  tier->AwaitWrites(absl::Seconds(60));
  for (int i = 0; i < 50; ++i) EXPECT_EQ(Read(*tier, Keys({i, 1})), BytesOf({i, 1}));
  EXPECT_EQ(tier->stats().files, 50);
}

// A queue that is full: pages are counted, the rest is written all the same.
TEST_F(DiskTierTest, WhatTheDiskDoesNotTakeIsDropped) {
  options_.format.page_bytes = int64_t{24} << 20;
  options_.bytes_max = int64_t{1} << 30;
  const auto tier = OpenOrDie();
  std::vector<std::vector<std::byte>> pages(
      8, std::vector<std::byte>(static_cast<size_t>(options_.format.page_bytes)));
  int64_t written = 0;
  for (int i = 0; i < 8; ++i) {
    tier->Write(Keys({i}), std::move(pages[static_cast<size_t>(i)]));
    written += tier->Contains(Keys({i}).back()) ? 1 : 0;
  }
  EXPECT_EQ(tier->stats().dropped, 8 - written);
  EXPECT_GE(written, 2);
  EXPECT_LT(written, 8);
  tier->AwaitWrites(absl::Seconds(60));
  EXPECT_EQ(tier->stats().files, written);
  EXPECT_TRUE(tier->CanQueue(options_.format.page_bytes));
}

TEST_F(DiskTierTest, NothingCanBeReadInTheFile) {
  const auto tier = OpenOrDie();
  Save(*tier, {77, 77, 77, 77});
  const auto content = base::ReadFile(OnlyFile());
  ASSERT_TRUE(content.ok());
  EXPECT_EQ(content->find(std::string(8, 77)), std::string::npos);
  const PrefixKey key = Keys({77}).back();
  EXPECT_EQ(content->find(std::string(key.begin(), key.end())), std::string::npos);
  struct stat info = {};
  ASSERT_EQ(stat(Directory().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

// Whatever bit changes: the file is deleted and nothing of what it said is used.
TEST_F(DiskTierTest, DamagedFilesAreDeletedAndNeverUsed) {
  OpenOrDie()->Write(Keys({1, 2}), BytesOf({1, 2}));
  const std::string path = OnlyFile();
  const std::string good = *base::ReadFile(path);
  for (size_t at = 0; at < good.size(); at += at < 120 ? 1 : 7) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    Overwrite(path, bad);
    const auto tier = OpenOrDie();
    // Keys are verified at once, pages when they are read.
    if (tier->Contains(Keys({1}).back())) {
      const auto bytes = Read(*tier, Keys({1, 2}));
      EXPECT_TRUE(bytes.empty() || bytes == BytesOf({1})) << at;
    }
    EXPECT_EQ(tier->stats().refused, 1) << at;
    EXPECT_FALSE(tier->Contains(Keys({1}).back())) << at;
    EXPECT_TRUE(FileNames().empty()) << at;
  }
  for (size_t size = 0; size < good.size(); size += 11) {
    Overwrite(path, good.substr(0, size));
    EXPECT_EQ(OpenOrDie()->stats().refused, 1) << size;
    EXPECT_TRUE(FileNames().empty()) << size;
  }
  Overwrite(path, good + "x");
  EXPECT_EQ(OpenOrDie()->stats().refused, 1);
  Overwrite(path, good);
  EXPECT_EQ(OpenOrDie()->stats().refused, 0);
}

// A file that is damaged or goes while the server runs, after it was looked at.
TEST_F(DiskTierTest, DamageIsFoundWhenAPageIsRead) {
  const auto tier = OpenOrDie();
  Save(*tier, {1, 2, 3});
  std::string content = *base::ReadFile(OnlyFile());
  content[content.size() - 5] ^= 1;  // of the third page
  Overwrite(OnlyFile(), content);
  EXPECT_EQ(Read(*tier, Keys({1, 2, 3})), BytesOf({1, 2}));
  EXPECT_TRUE(FileNames().empty());
  EXPECT_TRUE(Read(*tier, Keys({1})).empty());
  EXPECT_EQ(tier->stats().bytes, 0);
  Save(*tier, {4});
  fs::remove(OnlyFile());
  EXPECT_TRUE(Read(*tier, Keys({4})).empty());
  EXPECT_FALSE(tier->Contains(Keys({4}).back()));
  EXPECT_EQ(tier->stats().refused, 1);
}

// Whoever swaps two good files, or their names, gains nothing: each page is bound to its key.
TEST_F(DiskTierTest, APageComesUnderItsOwnKeyOnly) {
  {
    const auto tier = OpenOrDie();
    Save(*tier, {1});
    Save(*tier, {2});
    EXPECT_FALSE(tier->Contains(Keys({1}, "another tenant").back()));
  }
  const auto names = FileNames();
  ASSERT_EQ(names.size(), 2U);
  const std::string a = *base::ReadFile(names[0]);
  const std::string b = *base::ReadFile(names[1]);
  Overwrite(names[0], b);
  Overwrite(names[1], a);
  {
    const auto tier = OpenOrDie();
    EXPECT_EQ(Read(*tier, Keys({1})), BytesOf({1}));
    EXPECT_EQ(Read(*tier, Keys({2})), BytesOf({2}));
    // Swapped while it runs: the page at that place is another one's.
    Overwrite(names[0], a);
    Overwrite(names[1], b);
    EXPECT_TRUE(Read(*tier, Keys({1})).empty());
    EXPECT_TRUE(Read(*tier, Keys({2})).empty());
  }
}

TEST_F(DiskTierTest, OtherModelsAndSecretsHaveTheirOwn) {
  OpenOrDie()->Write(Keys({1}), BytesOf({1}));
  const std::string good = *base::ReadFile(OnlyFile());
  const std::string name = fs::path(OnlyFile()).filename();
  options_.format.identity = {9};
  EXPECT_FALSE(OpenOrDie()->Contains(Keys({1}).back()));
  // Even if somebody copies its files there.
  Overwrite(Directory() + "/" + name, good);
  EXPECT_EQ(OpenOrDie()->stats().refused, 1);
  EXPECT_TRUE(FileNames().empty());
  options_.format.identity = {2};
  EXPECT_EQ(Read(*OpenOrDie(), Keys({1})), BytesOf({1}));
  options_.format.secret = {7};
  EXPECT_EQ(OpenOrDie()->stats().refused, 1);
  options_.format.secret = {1};
  Overwrite(Directory() + "/" + name, good);
  options_.format.page_bytes = 2 * kBytes;
  EXPECT_EQ(OpenOrDie()->stats().refused, 1);
}

TEST_F(DiskTierTest, TheLeastRecentlyUsedFilesGo) {
  options_.bytes_max = 2 * KvFileBytes(options_.format, 1);
  {
    const auto tier = OpenOrDie();
    Save(*tier, {1});
    Save(*tier, {2});
    EXPECT_FALSE(Read(*tier, Keys({1})).empty());
    Save(*tier, {3});
    EXPECT_FALSE(tier->Contains(Keys({2}).back()));
    EXPECT_EQ(tier->stats().files, 2);
    EXPECT_LE(tier->stats().bytes, options_.bytes_max);
    Save(*tier, {1, 2, 3, 4});  // too large for the whole tier
    EXPECT_EQ(tier->stats().files, 2);
    EXPECT_FALSE(Read(*tier, Keys({1})).empty());
  }
  options_.bytes_max = KvFileBytes(options_.format, 1);
  const auto tier = OpenOrDie();  // a smaller tier after a restart keeps what was used last
  EXPECT_TRUE(tier->Contains(Keys({1}).back()));
  EXPECT_EQ(FileNames().size(), 1U);
}

// Models that nobody serves any more go first, those of a running engine never.
TEST_F(DiskTierTest, TheLimitCountsWhatOtherModelsLeftBehind) {
  const int64_t file = KvFileBytes(options_.format, 1);
  const DiskTierOptions mine = options_;
  options_.format.identity = {8};
  Save(*OpenOrDie(), {1});
  options_.format.identity = {9};
  const auto running = OpenOrDie();
  Save(*running, {1});
  options_ = mine;
  options_.bytes_max = 2 * file;
  const auto tier = OpenOrDie();
  Save(*tier, {1});
  options_.format.identity = {8};
  EXPECT_EQ(FileNames().size(), 1U);
  Save(*tier, {2});
  EXPECT_FALSE(fs::exists(Directory()));
  EXPECT_EQ(tier->stats().files, 2);
  EXPECT_EQ(Read(*running, Keys({1})), BytesOf({1}));
}

TEST_F(DiskTierTest, OneEngineAtATimeAndTheNextTakesOver) {
  auto first = OpenOrDie();
  Save(*first, {1});
  const auto second = OpenOrDie();
  EXPECT_FALSE(second->stats().ready);
  EXPECT_FALSE(second->Contains(Keys({1}).back()));
  EXPECT_FALSE(second->CanQueue(1));
  second->Write(Keys({2}), BytesOf({2}));
  EXPECT_FALSE(second->Contains(Keys({2}).back()));
  absl::Notification room;
  second->set_on_room([&room] {
    if (!room.HasBeenNotified()) room.Notify();
  });
  first.reset();
  ASSERT_TRUE(room.WaitForNotificationWithTimeout(absl::Seconds(30)));
  EXPECT_TRUE(second->stats().ready);
  EXPECT_EQ(Read(*second, Keys({1})), BytesOf({1}));
  Save(*second, {2});
  EXPECT_EQ(Read(*second, Keys({2})), BytesOf({2}));
}

// Somebody else deletes the directory between its creation and the lock, and after it.
TEST_F(DiskTierTest, ADirectoryThatGoesIsMadeAgain) {
  DiskDirectory directory(root_, "kv-1");
  ASSERT_TRUE(directory.Create().ok());
  fs::remove_all(root_);
  EXPECT_TRUE(directory.Lock().value());
  EXPECT_TRUE(directory.Lock().value());
  DiskDirectory second(root_, "kv-1");
  EXPECT_FALSE(second.Lock().value());
  fs::remove_all(root_);
  EXPECT_TRUE(second.Lock().value());
}

TEST_F(DiskTierTest, ForeignFilesStay) {
  OpenOrDie();
  const std::string key(64, 'a');
  for (const std::string name : {"notes.txt", "abc.inhouse-kv", "lock.old"}) {
    Overwrite(Directory() + "/" + name, "mine");
  }
  Overwrite(Directory() + "/" + key + ".inhouse-kv.X1y2Z3", "half a file");
  Overwrite(root_ + "/kv-other", "mine");
  const auto tier = OpenOrDie();
  EXPECT_EQ(FileNames().size(), 3U);
  EXPECT_TRUE(fs::exists(root_ + "/kv-other"));
  EXPECT_EQ(tier->stats().refused, 0);
  EXPECT_EQ(tier->stats().bytes, 0);
}

TEST_F(DiskTierTest, ADiskThatFailsCostsNothingElse) {
  const auto tier = OpenOrDie();
  fs::remove_all(root_);
  Save(*tier, {1});
  EXPECT_EQ(tier->stats().write_errors, 1);
  EXPECT_FALSE(tier->Contains(Keys({1}).back()));
  EXPECT_TRUE(Read(*tier, Keys({1})).empty());
  fs::create_directories(Directory());  // it is there again
  Save(*tier, {1});
  EXPECT_EQ(Read(*tier, Keys({1})), BytesOf({1}));
  EXPECT_EQ(tier->stats().write_errors, 1);
  options_.directory = "/proc/nowhere";
  EXPECT_EQ(base::ErrorFile(DiskTier::Open(options_).status()), "/proc/nowhere");
}

}  // namespace
}  // namespace inhouse::engine
