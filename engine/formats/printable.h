// Text that came out of a file, made fit for a one-line message.
#pragma once

#include <string>
#include <string_view>

namespace inhouse::engine {

// At most `bytes_max` bytes of `text`, with "..." if something was cut. Control characters become
// \xNN and what is not UTF-8 becomes U+FFFD: a hostile tensor name must neither fill the log nor
// talk to the terminal.
std::string Printable(std::string_view text, size_t bytes_max = 80);

}  // namespace inhouse::engine
