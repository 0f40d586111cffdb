// The JSON of a safetensors header.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "engine/formats/safetensors.h"

namespace inhouse::engine {

// Reads {"name": {"dtype": ..., "shape": [...], "data_offsets": [begin, end]}, "__metadata__":
// {"key": "value"}}, which lies at `file_offset` of the file `path`. Tensors come in the order of
// the text, `begin` and `end` as written: what they mean together is for ParseSafetensors to check.
absl::Status ReadSafetensorsJson(const std::string& path, std::string_view text,
                                 uint64_t file_offset, SafetensorsHeader* header);

}  // namespace inhouse::engine
