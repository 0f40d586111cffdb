#include "base/status.h"

#include <cerrno>
#include <string>

#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

TEST(StatusTest, NamesFileFieldValueAndExpectation) {
  const absl::Status status = InvalidInput({.file = "config.json",
                                            .field = "hidden_size",
                                            .value = "-4",
                                            .expected = "a positive integer",
                                            .hint = "Download it again."});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      Message(status),
      "config.json: hidden_size: value '-4': expected a positive integer. Download it again.");
  EXPECT_EQ(ErrorFile(status), "config.json");
  EXPECT_EQ(ErrorField(status), "hidden_size");
}

TEST(StatusTest, CutsLongValues) {
  const absl::Status status = InvalidInput({.value = std::string(5000, 'x'), .expected = "less"});
  EXPECT_LT(status.message().size(), 200U);
  EXPECT_FALSE(ErrorFile(status).has_value());
}

TEST(StatusTest, MapsErrnoToCodes) {
  EXPECT_EQ(OsError(ENOENT, "f", "open").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(OsError(EACCES, "f", "open").code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(OsError(ENOSPC, "f", "write").code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Message(OsError(ENOENT, "f", "open")), "f: cannot open: No such file or directory");
}

absl::StatusOr<int> Half(int n) {
  if (n % 2 != 0) return InvalidInput({.value = std::to_string(n), .expected = "an even number"});
  return n / 2;
}
absl::StatusOr<int> Quarter(int n) {
  INHOUSE_ASSIGN_OR_RETURN(const int half, Half(n));
  return Half(half);
}

TEST(StatusTest, AssignOrReturnPassesErrorsOn) {
  EXPECT_EQ(*Quarter(12), 3);
  EXPECT_FALSE(Quarter(7).ok());
  EXPECT_FALSE(Quarter(6).ok());
}

}  // namespace
}  // namespace inhouse::base
