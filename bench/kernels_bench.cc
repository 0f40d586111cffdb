// Speed of the matrix products against the limits of this machine, measured in the same run.
//
//   kernels_bench [--isa avx512bf16] [--threads 2] [--types Q8_0,BF16] [--rows 1,4,16,512]
//                 [--bits 16|8] [--k 4096] [--n 11008] [--rounds 9]
//
// For each type and number of activation rows: the bytes of the panels per second as a share of a
// plain read of the same memory, and the operations per second as a share of the dot product of its
// arithmetic in registers, both just before and after. min / median / max over the rounds. Weights
// are random bytes in at least 384 MiB, cycled, so that they never come from a cache.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "base/thread_team.h"
#include "engine/kernels/kernel_table.h"
#include "engine/kernels/probe/probe.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kWorkingSet = int64_t{384} << 20;

struct Settings {
  std::string isa;
  int threads = base::DefaultThreadCount();
  std::vector<std::string> types = {"Q8_0", "BF16",  "Q4_K",    "Q4_0", "Q6_K", "Q4_1",
                                    "Q5_K", "MXFP4", "F8_E4M3", "F16",  "F32"};
  std::vector<int64_t> rows = {1, 2, 4, 8, 16, 32, 512};
  int64_t k = 4096;
  int64_t n = 11008;
  int rounds = 9;
  ActivationBits bits = ActivationBits::k16;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Spread {
  double min, median, max;
};
Spread SpreadOf(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {values.front(), values[values.size() / 2], values.back()};
}

double Seconds(base::ThreadTeam& team, const std::function<void(const base::TeamMember&)>& work) {
  const double start = Now();
  team.Run(work);
  return Now() - start;
}

// Operations per second of all threads; about a millisecond.
double Peak(base::ThreadTeam& team, int64_t (*probe)(int64_t)) {
  std::vector<int64_t> operations(static_cast<size_t>(team.count()));
  const double seconds = Seconds(team, [&](const base::TeamMember& member) {
    operations[static_cast<size_t>(member.index())] = probe(400'000);
  });
  return static_cast<double>(std::accumulate(operations.begin(), operations.end(), int64_t{0})) /
         seconds;
}

// Panels of one type, and activations for them.
class Case {
 public:
  Case(const MatMulKernel& kernel, const Settings& settings, int64_t m, base::ThreadTeam& team)
      : kernel_(kernel),
        k_(settings.k),
        m_(m),
        panels_(settings.n / kernel.panel_rows),
        panel_bytes_(kernel.panel_bytes(k_)),
        matrices_(std::max<int64_t>(1, m > 64 ? 1 : kWorkingSet / (panels_ * panel_bytes_) + 1)),
        weights_(static_cast<size_t>(matrices_ * panels_ * panel_bytes_)),
        x_(static_cast<size_t>((m + kernel.strip_rows - 1) / kernel.strip_rows *
                               kernel.strip_bytes(k_))),
        y_(static_cast<size_t>(m * settings.n) * sizeof(float)) {
    for (int i = 0; i < team.count(); ++i) {
      scratch_.emplace_back(static_cast<size_t>(std::max<int64_t>(64, kernel.scratch_bytes(k_))));
    }
    // One real panel, copied: random bytes could be NaN scales, which are slow nowhere but ugly.
    std::mt19937 rng(1);
    std::vector<std::byte> row(static_cast<size_t>(RowBytes(kernel.weights, k_)));
    for (std::byte& byte : row) byte = static_cast<std::byte>(rng() & 0x3BU);
    const std::vector<const std::byte*> rows(static_cast<size_t>(kernel.panel_rows), row.data());
    team.Run([&](const base::TeamMember& member) {  // first touch by the thread that reads
      for (int64_t matrix = 0; matrix < matrices_; ++matrix) {
        const auto [begin, end] = member.Share(panels_);
        for (int64_t p = begin; p < end; ++p) {
          if (matrix == 0 && p == begin) {
            kernel.pack_panel(rows.data(), kernel.panel_rows, k_, Panel(matrix, p));
          } else {
            std::memcpy(Panel(matrix, p), Panel(0, begin), static_cast<size_t>(panel_bytes_));
          }
        }
      }
    });
    std::normal_distribution<float> normal;
    std::vector<float> x(static_cast<size_t>(m * k_));
    for (float& value : x) value = normal(rng);
    for (int64_t m0 = 0; m0 < m; m0 += kernel.strip_rows) {
      kernel.pack_strip(x.data(), k_, m0, std::min<int64_t>(m, m0 + kernel.strip_rows), m, k_,
                        x_.data());
    }
  }

  double Bytes() const { return static_cast<double>(panels_ * panel_bytes_); }
  double Operations() const {
    return 2.0 * static_cast<double>(m_ * k_ * panels_ * kernel_.panel_rows);
  }

  void Run(int64_t matrix, const base::TeamMember& member) {
    const auto [begin, end] = member.Share(panels_);
    for (int64_t p = begin; p < end; ++p) {
      kernel_.run({.panel = Panel(matrix, p),
                   .x = x_.data(),
                   .m = m_,
                   .k = k_,
                   .n_rows = kernel_.panel_rows,
                   .y = reinterpret_cast<float*>(y_.data()) + p * kernel_.panel_rows,
                   .ldy = panels_ * kernel_.panel_rows,
                   .scratch = scratch_[static_cast<size_t>(member.index())].data()});
    }
  }

  void Read(const ProbeKernels& probes, int64_t matrix, const base::TeamMember& member) {
    const auto [begin, end] = member.Share(panels_);
    volatile uint64_t sink =
        probes.read(Panel(matrix, begin), (end - begin) * panel_bytes_ / 256 * 256);
    (void)sink;
  }

  int64_t matrices() const { return matrices_; }

 private:
  std::byte* Panel(int64_t matrix, int64_t panel) {
    return weights_.data() + (matrix * panels_ + panel) * panel_bytes_;
  }

  const MatMulKernel& kernel_;
  int64_t k_, m_, panels_, panel_bytes_, matrices_;
  Arena weights_, x_, y_;
  std::vector<Arena> scratch_;
};

void Measure(const KernelTable& table, DType type, int64_t m, const Settings& settings,
             base::ThreadTeam& team) {
  const ProbeKernels probes = ProbesFor(table.level);
  const MatMulKernel& kernel = *table.matmul(type, settings.bits);
  const auto peak = [&] { return Peak(team, probes.dot(DotUnitOf(kernel))); };
  Case c(kernel, settings, m, team);
  std::vector<double> speed;
  std::vector<double> of_read;
  std::vector<double> of_peak;
  int64_t matrix = 0;
  // Another matrix each time: what one pass left in the cache must not help the next.
  const auto timed = [&](const auto& work) {
    matrix = (matrix + 1) % c.matrices();
    return Seconds(team, [&](const base::TeamMember& t) { work(t); });
  };
  for (int round = 0; round < settings.rounds; ++round) {
    const double peak_before = peak();
    const double before = timed([&](const base::TeamMember& t) { c.Read(probes, matrix, t); });
    const double seconds = timed([&](const base::TeamMember& t) { c.Run(matrix, t); });
    const double after = timed([&](const base::TeamMember& t) { c.Read(probes, matrix, t); });
    const double peak_after = peak();
    speed.push_back(1 / seconds);
    of_read.push_back((before + after) / 2 / seconds);
    of_peak.push_back(c.Operations() / seconds * 2 / (peak_before + peak_after));
  }
  const Spread s = SpreadOf(speed);
  const Spread f = SpreadOf(of_read);
  const Spread p = SpreadOf(of_peak);
  fmt::print(
      "{:8} {:22} rows {:4}: {:6.1f} GB/s, of the read {:4.2f}/{:4.2f}/{:4.2f}; {:7.1f} GOP/s, of "
      "the peak {:4.2f}/{:4.2f}/{:4.2f}\n",
      Name(type), kernel.name, m, c.Bytes() * s.median / 1e9, f.min, f.median, f.max,
      c.Operations() * s.median / 1e9, p.min, p.median, p.max);
  std::fflush(stdout);
}

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

bool Parse(int argc, char** argv, Settings& settings) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    if (flag == "--isa") {
      settings.isa = value;
    } else if (flag == "--threads") {
      settings.threads = std::atoi(value.c_str());
    } else if (flag == "--types") {
      settings.types = Split(value);
    } else if (flag == "--rows") {
      settings.rows.clear();
      for (const std::string& part : Split(value))
        settings.rows.push_back(std::atoll(part.c_str()));
    } else if (flag == "--k") {
      settings.k = std::atoll(value.c_str());
    } else if (flag == "--bits") {
      settings.bits = value == "8" ? ActivationBits::k8 : ActivationBits::k16;
    } else if (flag == "--n") {
      settings.n = std::atoll(value.c_str());
    } else if (flag == "--rounds") {
      settings.rounds = std::atoi(value.c_str());
    } else {
      return false;
    }
  }
  return argc % 2 == 1 && settings.threads > 0 && settings.k > 0 && settings.n >= 32;
}

int Main(int argc, char** argv) {
  Settings settings;
  if (!Parse(argc, argv, settings)) {
    fmt::print(stderr, "unknown flag; see the head of bench/kernels_bench.cc\n");
    return 2;
  }
  const KernelTable* table = ChooseTable(settings.isa);
  if (table == nullptr) {
    fmt::print(stderr, "--isa {}: not supported here\n", settings.isa);
    return 2;
  }
  std::map<std::string, DType> types;
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto type = static_cast<DType>(i);
    if (table->matmul(type) != nullptr) types.emplace(Name(type), type);
  }
  base::ThreadTeam team(settings.threads);
  fmt::print("isa {}, {} threads, {} x {}\n", Name(table->level), settings.threads, settings.n,
             settings.k);
  for (const std::string& name : settings.types) {
    const auto type = types.find(name);
    if (type == types.end()) {
      fmt::print(stderr, "--types {}: no such type\n", name);
      return 2;
    }
    for (const int64_t m : settings.rows) {
      Measure(*table, type->second, m, settings, team);
    }
  }
  return 0;
}

}  // namespace
}  // namespace inhouse::engine

int main(int argc, char** argv) { return inhouse::engine::Main(argc, argv); }
