// Which model a checkpoint is.
#pragma once

#include <string>

#include "engine/formats/checkpoint.h"

namespace inhouse::engine {

// SHA-256, hexadecimal, of what decides about a model's results: its configuration (config.json, or
// the metadata of a GGUF file with the tokenizer in it) and Fingerprint() of its tensors
// (packed_file.h: samples of each). The same for every copy of the same files.
std::string ModelDigest(const Checkpoint& checkpoint);

// The size and the time of the last change of each weight file: differs, too, where a file was
// edited in a place that no sample covers.
std::string FileTimes(const Checkpoint& checkpoint);

}  // namespace inhouse::engine
