// Which build of the program this is.
#pragma once

#include <string>

namespace inhouse::base {

// Hexadecimal: the build id that the linker wrote into the program (a note, `readelf -n`), or where
// it wrote none, the SHA-256 of the program's file; "unknown" if that cannot be read either.
// Another compiler, another flag or another line of code is another build.
const std::string& BuildId();

}  // namespace inhouse::base
