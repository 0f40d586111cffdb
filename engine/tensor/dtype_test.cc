#include "engine/tensor/dtype.h"

#include "engine/tensor/tensor_view.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(DTypeTest, NamesAndSizes) {
  EXPECT_EQ(Name(DType::kF8E8M0), "F8_E8M0");
  EXPECT_EQ(Name(DType::kMXFP4), "MXFP4");
  EXPECT_EQ(RowBytes(DType::kBF16, 64), 128);
  EXPECT_EQ(RowBytes(DType::kQ4_K, 512), 288);
  EXPECT_EQ(RowBytes(DType::kF4E2M1, 64), 32);
  EXPECT_EQ(RowBytes(DType::kI4MinGroup32, 32), 24);
  EXPECT_EQ(RowBytes(DType::kF8Group128, 129), 264);  // the only types whose rows may be ragged
}

TEST(DTypeTest, ReadsFormatNames) {
  EXPECT_EQ(FromSafetensorsName("F8_E4M3"), DType::kF8E4M3);
  EXPECT_EQ(FromSafetensorsName("BOOL"), DType::kBool);
  EXPECT_FALSE(FromSafetensorsName("Q4_K").has_value());
  EXPECT_EQ(FromGgmlType(14), DType::kQ6_K);
  EXPECT_EQ(FromGgmlType(39), DType::kMXFP4);
  EXPECT_FALSE(FromGgmlType(9).has_value());
}

TEST(TensorViewTest, SeesRows) {
  const TensorView view{.dtype = DType::kQ8_0, .shape = {3, 2, 64}, .bytes = {}};
  EXPECT_EQ(view.rows(), 6);
  EXPECT_EQ(view.row_bytes(), 68);
  EXPECT_EQ(ToString(view.shape), "[3, 2, 64]");
}

}  // namespace
}  // namespace inhouse::engine
