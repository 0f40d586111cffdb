#include "engine/ops/rows.h"

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

// Rows of a table come from its file, or from the map where the file cannot be read (here: the
// offset says that it ends too early).
TEST(RowsTest, EmbedsFromTheFileOrTheMap) {
  constexpr int64_t kColumns = 20;
  std::vector<float> values(10 * kColumns);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  std::string content(7, 'x');  // misaligned, as safetensors may be
  content.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
  const std::string path = testing::TempDir() + "inhouse-rows-table";
  ASSERT_TRUE(base::ReplaceFile(path, content).ok());
  const auto file = base::MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  const TensorView view{DType::kF32, {10, kColumns}, (*file)->bytes().subspan(7)};
  const std::vector<int32_t> ids = {9, 0, 4, 4, 1};
  for (const uint64_t offset : {uint64_t{7}, uint64_t{content.size()}}) {
    const StoredTensor table{.name = "t", .view = view, .file = file->get(), .file_offset = offset};
    for (const int threads : {1, 3}) {
      base::ThreadTeam team(threads);
      OpScratch scratch(threads, 0, kColumns * sizeof(float));
      SingleProcess comm;
      std::vector<float> y(ids.size() * kColumns);
      team.Run([&](const base::TeamMember& member) {
        const OpContext context{member, *TableFor(IsaLevel::kRef), scratch, comm};
        Embed(context, table, ids, y.data());
      });
      for (size_t r = 0; r < ids.size(); ++r) {
        const float* row = values.data() + static_cast<int64_t>(ids[r]) * kColumns;
        EXPECT_EQ(std::memcmp(y.data() + r * kColumns, row, kColumns * sizeof(float)), 0) << r;
      }
    }
  }
  std::remove(path.c_str());
}

}  // namespace
}  // namespace inhouse::engine
