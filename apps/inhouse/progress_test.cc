#include "apps/inhouse/progress.h"

#include <gtest/gtest.h>

namespace inhouse::apps {
namespace {

TEST(Progress, WidthCountsColumnsNotBytes) {
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("模型"), 4);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1);  // a combining accent
  EXPECT_EQ(DisplayWidth("\xff"), 1);     // not UTF-8: one U+FFFD
}

TEST(Progress, CutsBetweenCharacters) {
  EXPECT_EQ(FitToWidth("abc", 3), "abc");
  EXPECT_EQ(FitToWidth("abcd", 3), "ab…");
  EXPECT_EQ(FitToWidth("模型库", 4), "模…");  // half a wide character does not fit
  EXPECT_EQ(FitToWidth("abc", 0), "");
}

TEST(Progress, SizesKeepThreeDigits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(98362432), "98.4 MB");
  EXPECT_EQ(FormatBytes(999999), "1.00 MB");
  EXPECT_EQ(FormatBytes(1.43e9), "1.43 GB");
  EXPECT_EQ(FormatBinaryBytes(3.0 * 1024 * 1024 * 1024), "3.00 GiB");
}

TEST(Progress, Times) {
  EXPECT_EQ(FormatSeconds(4.23), "4.2 s");
  EXPECT_EQ(FormatSeconds(59.99), "1 min 0 s");
  EXPECT_EQ(FormatSeconds(200), "3 min 20 s");
  EXPECT_EQ(FormatSeconds(7500), "2 h 5 min");
}

TEST(Progress, TableAlignsByDisplayWidth) {
  Table table({{.title = "name"}, {.title = "size", .align = Table::Align::kRight}});
  table.AddRow({"模型", "9 B"});
  table.AddRow({"abcdef", "100 B"});
  std::FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  table.Print(file);
  std::rewind(file);
  char text[200] = {};
  const size_t size = std::fread(text, 1, sizeof(text) - 1, file);
  std::fclose(file);
  EXPECT_EQ(std::string(text, size), "name     size\n模型      9 B\nabcdef  100 B\n");
}

}  // namespace
}  // namespace inhouse::apps
