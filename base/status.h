// Errors. Whatever the outside can cause is an absl::Status; our own mistakes are ABSL_CHECKs that
// end the process with a message. A status about input names the file, the field, the value and
// what was expected, both in its text and as payloads, so that `--json` can print them apart.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace inhouse::base {

// What is wrong with a piece of input. Empty members are left out of the text.
struct BadInput {
  std::string file = {};      // path, URL or request part
  std::string field = {};     // key, tensor name, flag, or "offset 123"
  std::string value = {};     // as given; cut to 120 bytes in the text
  std::string expected = {};  // "a positive integer"
  std::string hint = {};      // what to do about it
};

// InvalidArgument with the text "file: field: value 'x': expected y. hint".
absl::Status InvalidInput(const BadInput& bad);

// The same for other codes (NotFound for a missing tensor, ResourceExhausted for what does not fit,
// ...).
absl::Status InputError(absl::StatusCode code, const BadInput& bad);

// An operating system error: "path: cannot open: No such file or directory". Code by errno.
absl::Status OsError(int error_number, std::string_view file, std::string_view action);

// The text of a status. (Debian's Abseil is built with its own string_view type, which does not
// convert to std's.)
inline std::string Message(const absl::Status& status) { return std::string(status.message()); }

// The `file` and `field` that InvalidInput attached, if any.
std::optional<std::string> ErrorFile(const absl::Status& status);
std::optional<std::string> ErrorField(const absl::Status& status);

}  // namespace inhouse::base

// Returns the status from the surrounding function unless it is OK.
#define INHOUSE_RETURN_IF_ERROR(expression)                                                      \
  do {                                                                                           \
    if (absl::Status inhouse_status = (expression); !inhouse_status.ok()) return inhouse_status; \
  } while (false)

#define INHOUSE_CONCAT_INNER(a, b) a##b
#define INHOUSE_CONCAT(a, b) INHOUSE_CONCAT_INNER(a, b)

// INHOUSE_ASSIGN_OR_RETURN(auto value, MayFail()): the value, or an early return of the status.
#define INHOUSE_ASSIGN_OR_RETURN(declaration, expression) \
  INHOUSE_ASSIGN_OR_RETURN_INNER(INHOUSE_CONCAT(inhouse_or_, __LINE__), declaration, expression)
#define INHOUSE_ASSIGN_OR_RETURN_INNER(temporary, declaration, expression) \
  auto temporary = (expression);                                           \
  if (!temporary.ok()) return std::move(temporary).status();               \
  declaration = *std::move(temporary)
