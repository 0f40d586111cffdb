// Speed of packing: stored rows, mapped from a file in the page cache, into panels in new memory.
//
//   pack_bench [--isa avx512bf16] [--threads 2] [--types Q8_0,BF16] [--k 4096] [--mib 512]
//              [--rounds 5] [--file pack_bench.tmp]
//
// For each type: bytes of the file per second, and as a share of a plain copy of the same mapped
// bytes into new memory just before (what any load that owns its memory must do). min / median /
// max over the rounds. The file is written once, with random bytes, and removed at the end.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/thread_team.h"
#include "engine/kernels/kernel_table.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {
namespace {

struct Settings {
  std::string isa;
  int threads = base::DefaultThreadCount();
  std::vector<std::string> types = {"BF16", "F16",  "F32",  "F8_E4M3", "Q8_0",
                                    "Q4_0", "Q4_1", "Q5_0", "Q5_1",    "Q2_K",
                                    "Q3_K", "Q4_K", "Q5_K", "Q6_K",    "MXFP4"};
  int64_t k = 4096;
  int64_t mib = 512;
  int rounds = 5;
  std::string file = "pack_bench.tmp";
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void WriteRandomFile(const std::string& path, int64_t bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    fmt::print(stderr, "cannot write {}\n", path);
    std::exit(1);
  }
  std::mt19937_64 random(1);
  std::vector<uint64_t> block(1 << 17);
  for (uint64_t& word : block) word = random();
  for (int64_t done = 0; done < bytes; done += int64_t{1} << 20) {
    block[0] = random();
    std::fwrite(block.data(), 1, 1 << 20, file);
  }
  std::fclose(file);
}

// The file, opened anew for each measurement, so that its pages are mapped by whoever reads them.
double SecondsOn(
    const Settings& settings, base::ThreadTeam& team, int64_t memory_bytes,
    const std::function<void(const base::TeamMember&, const std::byte*, std::byte*)>& work) {
  const auto file = base::MappedFile::Open(settings.file);
  if (!file.ok()) std::exit(1);
  const double start = Now();
  const Arena memory(static_cast<size_t>(memory_bytes));
  team.Run([&](const base::TeamMember& member) {
    work(member, (*file)->bytes().data(), memory.data());
  });
  return Now() - start;
}

struct Speeds {
  std::vector<double> gb_per_second, share;
};

Speeds Measure(const Settings& settings, const MatMulKernel& kernel, base::ThreadTeam& team) {
  const int64_t row_bytes = RowBytes(kernel.weights, settings.k);
  const int64_t panels = (settings.mib << 20) / (row_bytes * kernel.panel_rows);
  const int64_t bytes = panels * kernel.panel_rows * row_bytes;
  const int64_t panel_bytes = kernel.panel_bytes(settings.k);
  Speeds speeds;
  for (int round = 0; round < settings.rounds; ++round) {
    const double copy =
        SecondsOn(settings, team, bytes,
                  [&](const base::TeamMember& member, const std::byte* from, std::byte* to) {
                    const auto [begin, end] = member.Share(bytes, 1 << 21);
                    std::memcpy(to + begin, from + begin, static_cast<size_t>(end - begin));
                  });
    const double pack = SecondsOn(
        settings, team, panels * panel_bytes,
        [&](const base::TeamMember& member, const std::byte* from, std::byte* to) {
          const auto [begin, end] = member.Share(panels);
          std::vector<const std::byte*> rows(static_cast<size_t>(kernel.panel_rows));
          for (int64_t p = begin; p < end; ++p) {
            for (int r = 0; r < kernel.panel_rows; ++r) {
              rows[static_cast<size_t>(r)] = from + (p * kernel.panel_rows + r) * row_bytes;
            }
            kernel.pack_panel(rows.data(), kernel.panel_rows, settings.k, to + p * panel_bytes);
          }
        });
    speeds.gb_per_second.push_back(static_cast<double>(bytes) / pack * 1e-9);
    speeds.share.push_back(copy / pack);
  }
  return speeds;
}

std::string Spread(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return fmt::format("{:6.2f} /{:6.2f} /{:6.2f}", values.front(), values[values.size() / 2],
                     values.back());
}

std::vector<std::string> Split(const std::string& list) {
  std::vector<std::string> items;
  std::stringstream stream(list);
  for (std::string item; std::getline(stream, item, ',');) items.push_back(item);
  return items;
}

Settings Parse(int argc, char** argv) {
  Settings s;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const char* value = argv[i + 1];
    if (flag == "--isa") s.isa = value;
    if (flag == "--threads") s.threads = std::atoi(value);
    if (flag == "--types") s.types = Split(value);
    if (flag == "--k") s.k = std::atoll(value);
    if (flag == "--mib") s.mib = std::atoll(value);
    if (flag == "--rounds") s.rounds = std::atoi(value);
    if (flag == "--file") s.file = value;
  }
  return s;
}

int Main(int argc, char** argv) {
  const Settings settings = Parse(argc, argv);
  const KernelTable* table = ChooseTable(settings.isa);
  if (table == nullptr) {
    fmt::print(stderr, "this machine cannot run {}\n", settings.isa);
    return 1;
  }
  base::ThreadTeam team(settings.threads);
  WriteRandomFile(settings.file, settings.mib << 20);
  fmt::print("{}, {} threads, rows of {} columns, {} MiB of a file in the page cache\n",
             Name(table->level), team.count(), settings.k, settings.mib);
  fmt::print("{:10}{:26}{:>26}{:>26}\n", "type", "kernel", "GB/s of the file", "share of a copy");
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    const MatMulKernel* kernel = table->matmul(type);
    if (kernel == nullptr || std::find(settings.types.begin(), settings.types.end(), Name(type)) ==
                                 settings.types.end()) {
      continue;
    }
    const Speeds speeds = Measure(settings, *kernel, team);
    fmt::print("{:10}{:26}{:>26}{:>26}\n", Name(type), kernel->name, Spread(speeds.gb_per_second),
               Spread(speeds.share));
    std::fflush(stdout);
  }
  unlink(settings.file.c_str());
  return 0;
}

}  // namespace
}  // namespace inhouse::engine

int main(int argc, char** argv) { return inhouse::engine::Main(argc, argv); }
