#include "engine/kernels/kernel_table.h"

#include <cstdlib>
#include <cstring>
#include <set>
#include <string_view>
#include <vector>

#include "engine/kernels/probe/probe.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(KernelTableTest, BestLevelIsChosen) {
  const std::vector<IsaLevel> levels = SupportedLevels();
  ASSERT_EQ(levels.front(), IsaLevel::kRef);
  ASSERT_NE(ChooseTable(""), nullptr);
  EXPECT_EQ(ChooseTable("")->level, levels.back());
  // Set where the CPU is known: emulated ones (CMakeLists.txt).
  if (const char* expected = std::getenv("INHOUSE_EXPECTED_ISA")) {
    EXPECT_EQ(Name(levels.back()), expected);
  }
}

TEST(KernelTableTest, LevelsAreChosenByName) {
  std::set<std::string_view> names;
  for (const IsaLevel level : SupportedLevels()) {
    EXPECT_TRUE(names.insert(Name(level)).second) << Name(level);
    ASSERT_EQ(ChooseTable(Name(level)), TableFor(level));
    EXPECT_EQ(TableFor(level)->level, level);
  }
  EXPECT_EQ(ChooseTable("mmx"), nullptr);
  for (const char* name :
       {"neon", "neondot", "neoni8mm", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"}) {
    EXPECT_EQ(ChooseTable(name) != nullptr, names.contains(name)) << name;
  }
}

// The probes of every level run, read every cache line and count their operations.
TEST(KernelTableTest, ProbesRun) {
  for (const IsaLevel level : SupportedLevels()) {
    const ProbeKernels probes = ProbesFor(level);
    for (const auto& run : probes.dots) {
      EXPECT_GT(run(3), 0) << Name(level);
      EXPECT_EQ(run(6), 2 * run(3)) << Name(level);
    }
    alignas(64) std::byte data[512] = {};
    EXPECT_EQ(probes.read(data, sizeof(data)), 0U);
    for (size_t block = 0; block < sizeof(data); block += 64) {
      std::memset(data + block, 1, 64);
      EXPECT_NE(probes.read(data, sizeof(data)), 0U) << Name(level) << " block " << block;
      std::memset(data + block, 0, 64);
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
