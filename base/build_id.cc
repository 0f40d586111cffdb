#include "base/build_id.h"

#include <elf.h>
#include <link.h>

#include <cstddef>
#include <cstring>
#include <string_view>

#include "base/file.h"
#include "base/sha256.h"
#include "fmt/format.h"

namespace inhouse::base {
namespace {

constexpr size_t AlignNote(size_t size) { return (size + 3) & ~size_t{3}; }

// The build id among the notes of a segment; "" if it has none.
std::string FindBuildId(const char* at, size_t size) {
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note = {};
    std::memcpy(&note, at, sizeof(note));
    const size_t name_bytes = AlignNote(note.n_namesz);
    const size_t whole = sizeof(note) + name_bytes + AlignNote(note.n_descsz);
    if (whole > size) break;
    const std::string_view name(at + sizeof(note), note.n_namesz);
    if (note.n_type == NT_GNU_BUILD_ID && name == std::string_view("GNU\0", 4)) {
      std::string id;
      for (const char c : std::string_view(at + sizeof(note) + name_bytes, note.n_descsz)) {
        id += fmt::format("{:02x}", static_cast<unsigned char>(c));
      }
      return id;
    }
    at += whole;
    size -= whole;
  }
  return "";
}

// The first object is the program itself: a value other than 0 ends the walk.
int OnObject(dl_phdr_info* info, size_t /*size*/, void* out) {
  auto* id = static_cast<std::string*>(out);
  for (int i = 0; i < info->dlpi_phnum && id->empty(); ++i) {
    const ElfW(Phdr)& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    const auto address = static_cast<uintptr_t>(info->dlpi_addr + segment.p_vaddr);
    *id = FindBuildId(reinterpret_cast<const char*>(address), segment.p_memsz);
  }
  return 1;
}

std::string ReadBuildId() {
  std::string id;
  dl_iterate_phdr(OnObject, &id);
  if (!id.empty()) return id;
  const auto program = MappedFile::Open("/proc/self/exe");
  if (!program.ok()) return "unknown";
  Sha256 hash;
  hash.Update((*program)->bytes());
  return hash.FinishHex();
}

}  // namespace

const std::string& BuildId() {
  static const std::string& id = *new std::string(ReadBuildId());
  return id;
}

}  // namespace inhouse::base
