#include "model-server/batches/store.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "SQLiteCpp/SQLiteCpp.h"

namespace inhouse::model_server {
namespace {

namespace fs = std::filesystem;

class StoreTest : public testing::Test {
 protected:
  StoreTest() {
    std::string name = testing::TempDir() + "/store.XXXXXX";
    directory_ = mkdtemp(name.data());
    Open();
  }
  ~StoreTest() override { fs::remove_all(directory_); }
  void Open() {
    store_.reset();
    auto store = BatchStore::Open(directory_);
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }
  void AddFile(const std::string& id, const std::string& purpose = "batch", int64_t expires = 0) {
    const StoredFile file{
        .id = id, .filename = "f", .purpose = purpose, .bytes = 3, .expires_at = expires};
    ASSERT_TRUE(store_->AddFile(file, "abc").ok());
  }
  static std::string Ids(const std::vector<StoredFile>& files) {
    std::string ids;
    for (const StoredFile& file : files) ids += file.id + " ";
    return ids;
  }

  std::string directory_;
  std::unique_ptr<BatchStore> store_;
};

TEST_F(StoreTest, FilesSurviveAndListNewestFirst) {
  AddFile("a");
  AddFile("b", "batch_output");
  AddFile("c");
  Open();
  EXPECT_EQ(*store_->Content("a"), "abc");
  EXPECT_EQ(Ids(*store_->Files({})), "c b a ");
  EXPECT_EQ(Ids(*store_->Files({.after = "c", .limit = 1})), "b ");
  EXPECT_EQ(Ids(*store_->Files({.purpose = "batch"})), "c a ");
  EXPECT_TRUE(store_->RemoveFile("a").ok());
  EXPECT_TRUE(absl::IsNotFound(store_->RemoveFile("a")));
  EXPECT_TRUE(absl::IsNotFound(store_->Content("a").status()));
  EXPECT_TRUE(absl::IsNotFound(store_->Content("../batches.sqlite").status()));
  EXPECT_FALSE(fs::exists(directory_ + "/files/a"));
}

TEST_F(StoreTest, ExpiredFilesGo) {
  AddFile("a", "batch", 100);
  AddFile("b");
  ASSERT_TRUE(store_->RemoveExpiredFiles(99).ok());
  EXPECT_EQ(Ids(*store_->Files({})), "b a ");
  ASSERT_TRUE(store_->RemoveExpiredFiles(100).ok());
  EXPECT_EQ(Ids(*store_->Files({})), "b ");
}

TEST_F(StoreTest, ContentsWithoutARowAreSwept) {
  AddFile("a");
  std::ofstream(directory_ + "/files/file-orphan") << "left by a crash";
  std::ofstream(directory_ + "/files/notes.txt") << "not ours";
  Open();
  EXPECT_FALSE(fs::exists(directory_ + "/files/file-orphan"));
  EXPECT_TRUE(fs::exists(directory_ + "/files/notes.txt"));
  EXPECT_EQ(*store_->Content("a"), "abc");
}

TEST_F(StoreTest, ALineHasOneAnswer) {
  ASSERT_TRUE(store_->AddBatch({.id = "b", .endpoint = "/e"}).ok());
  ASSERT_TRUE(store_->AddResult("b", {.line = 1, .status = 200, .body = "first"}).ok());
  ASSERT_TRUE(store_->AddResult("b", {.line = 1, .status = 200, .body = "second"}).ok());
  ASSERT_TRUE(store_->AddResult("b", {.line = 0, .status = 400}).ok());
  Open();
  const auto results = *store_->Results("b");
  ASSERT_EQ(results.size(), 2U);
  EXPECT_EQ(results[1].body, "first");
  EXPECT_EQ(store_->FindBatch("b")->completed, 1);
  EXPECT_EQ(store_->FindBatch("b")->failed, 1);
  EXPECT_EQ(store_->AnsweredLines("b")->size(), 2U);
}

TEST_F(StoreTest, FinishKeepsFilesAndTimes) {
  ASSERT_TRUE(store_->AddBatch({.id = "b", .endpoint = "/e", .reached = {5}}).ok());
  ASSERT_TRUE(store_->SetStatus("b", BatchStatus::kInProgress, 6).ok());
  ASSERT_TRUE(store_->AddResult("b", {.line = 0, .status = 200}).ok());
  EXPECT_EQ((*store_->Oldest({BatchStatus::kInProgress}, {}))->id, "b");
  BatchStore::Outcome outcome{.output = {.id = "out", .purpose = "batch_output"},
                              .output_content = "line\n"};
  ASSERT_TRUE(store_->Finish("b", outcome, 7).ok());
  Open();
  const Batch batch = *store_->FindBatch("b");
  EXPECT_EQ(batch.status, BatchStatus::kCompleted);
  EXPECT_EQ(batch.reached[static_cast<int>(BatchStatus::kInProgress)], 6);
  EXPECT_EQ(batch.reached[static_cast<int>(BatchStatus::kCompleted)], 7);
  EXPECT_EQ(batch.output_file, "out");
  EXPECT_EQ(batch.error_file, "");
  EXPECT_EQ(*store_->Content("out"), "line\n");
  EXPECT_TRUE(store_->Results("b")->empty());
  EXPECT_FALSE(store_->Oldest({BatchStatus::kInProgress}, {})->has_value());
}

TEST_F(StoreTest, OwnersAreKeptApart) {
  AddFile("a");
  ASSERT_TRUE(store_->AddFile({.id = "b", .bytes = 5, .owner = "x"}, "12345").ok());
  ASSERT_TRUE(store_->AddBatch({.id = "p", .owner = "x", .key = "key_1"}).ok());
  ASSERT_TRUE(store_->AddBatch({.id = "q"}).ok());
  Open();
  EXPECT_EQ(Ids(*store_->Files({})), "b a ");
  EXPECT_EQ(Ids(*store_->Files({.owner = "x"})), "b ");
  EXPECT_EQ(Ids(*store_->Files({.owner = ""})), "a ");
  EXPECT_EQ(store_->File("b")->owner, "x");
  ASSERT_EQ(store_->Batches({.owner = "x"})->size(), 1U);
  EXPECT_EQ(store_->Batches({})->size(), 2U);
  EXPECT_EQ(store_->FindBatch("p")->key, "key_1");
  const BatchStore::Usage usage = *store_->UsageOf("x");
  EXPECT_EQ(usage.files, 1);
  EXPECT_EQ(usage.bytes, 5);
  EXPECT_EQ(usage.open_batches, 1);
  EXPECT_EQ((*store_->Oldest({BatchStatus::kValidating}, {}))->id, "p");
  EXPECT_EQ((*store_->Oldest({BatchStatus::kValidating}, {"p", "z"}))->id, "q");
}

TEST_F(StoreTest, WhatWasThereBeforeIsTheOperators) {
  AddFile("a");
  ASSERT_TRUE(store_->AddBatch({.id = "p"}).ok());
  store_.reset();
  {
    SQLite::Database db(directory_ + "/batches.sqlite", SQLite::OPEN_READWRITE);
    db.exec(
        "ALTER TABLE files DROP COLUMN owner; ALTER TABLE batches DROP COLUMN owner; "
        "ALTER TABLE batches DROP COLUMN key; PRAGMA user_version = 1;");
  }
  Open();
  EXPECT_EQ(store_->File("a")->owner, "");
  EXPECT_EQ(store_->FindBatch("p")->key, "");
  EXPECT_EQ(Ids(*store_->Files({.owner = "x"})), "");
}

TEST_F(StoreTest, RefusesWhatItCannotWrite) {
  EXPECT_FALSE(BatchStore::Open("/proc/no-such-directory").ok());
  store_.reset();
  std::ofstream(directory_ + "/batches.sqlite", std::ios::trunc) << "this is no database at all";
  EXPECT_FALSE(BatchStore::Open(directory_).ok());
}

}  // namespace
}  // namespace inhouse::model_server
