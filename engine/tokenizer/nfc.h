// Normalization to NFC as Hugging Face `tokenizers` does it (its tables stop at Unicode 9).
#pragma once

#include <string>
#include <string_view>

namespace inhouse::engine {

// Whether a look at each character shows that `text` (UTF-8) is in NFC; false = maybe not.
bool IsPlainNfc(std::string_view text);

// `text` must be UTF-8.
std::string ToNfc(std::string_view text);

}  // namespace inhouse::engine
