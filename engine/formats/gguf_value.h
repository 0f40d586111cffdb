// One value of a GGUF header.
#pragma once

#include "absl/status/statusor.h"
#include "engine/formats/gguf.h"
#include "engine/formats/gguf_cursor.h"

namespace inhouse::engine {

// Reads the type and the value at the cursor. InvalidArgument, with the cursor's field, for an
// unknown type, a nested array, a count or length that the file cannot hold, a boolean that is
// neither 0 nor 1.
absl::StatusOr<GgufValue> ReadGgufValue(GgufCursor& cursor);

}  // namespace inhouse::engine
