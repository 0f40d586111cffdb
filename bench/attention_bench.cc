// Speed of attention against the limits of this machine, measured in the same run.
//
//   attention_bench [--isa avx512bf16] [--threads 1,2] [--kv F32,F16,BF16,F8_E4M3] [--heads
//   12:2,32:32,32:8]
//                   [--head-dim 128,64] [--context 1024,4096,16384] [--prefill 512,4096]
//                   [--rounds 5]
//
// Decode: one new token after `context` tokens, layer after layer over so many layers that the
// pages never come from a cache; the bytes of the pages per second as a share of a plain read of
// the same memory just before and after. Prefill: a prompt of so many tokens, as a share of the
// fastest float32 and BF16 multiply-adds in registers; what the mask hides is not counted. min /
// median / max over the rounds. A list that is empty skips its part.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_team.h"
#include "engine/kernels/kernel_table.h"
#include "engine/kernels/probe/probe.h"
#include "engine/ops/attention.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kWorkingSet = int64_t{384} << 20;

struct Settings {
  std::string isa;
  std::vector<std::string> threads = {"1", "2"};
  std::vector<std::string> kv = {"F16"};
  std::vector<std::string> heads = {"12:2", "32:32", "32:8"};
  std::vector<std::string> head_dims = {"128"};
  std::vector<std::string> contexts = {"1024", "4096", "16384"};
  std::vector<std::string> prefills = {"512", "4096"};
  int rounds = 5;
};

// What the members of one team can do.
struct Limits {
  double f32;
  double bf16;
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

// Operations per second of all threads.
double Peak(base::ThreadTeam& team, int64_t (*probe)(int64_t)) {
  double best = 0;
  for (int i = 0; i < 20; ++i) {
    std::vector<int64_t> operations(static_cast<size_t>(team.count()));
    const double seconds = Seconds(team, [&](const base::TeamMember& member) {
      operations[static_cast<size_t>(member.index())] = probe(200'000);
    });
    double total = 0;
    for (const int64_t count : operations) total += static_cast<double>(count);
    best = std::max(best, total / seconds);
  }
  return best;
}

std::vector<float> Normal(int64_t n, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& x : values) x = normal(random);
  return values;
}

// One sequence: its pages in `layers` layers, queries and room for the results.
class Case {
 public:
  Case(const KernelTable& kernels, const KvLayout& layout, int heads, int64_t context, int64_t rows,
       base::ThreadTeam& team)
      : kernels_(kernels),
        layout_(layout),
        heads_(heads),
        context_(context),
        rows_(rows),
        arena_(
            static_cast<size_t>((context + kPageTokens - 1) / kPageTokens * layout.page_bytes())),
        scratch_(team.count(), 64, AttentionMemberBytes(layout.head_dim, heads / layout.kv_heads)),
        partial_(SplitRowsMax(layout, heads), (context + kPageTokens - 1) / kPageTokens,
                 layout.head_dim),
        q_(Normal(rows * heads * layout.head_dim, 1)),
        out_(q_.size()) {
    const int64_t pages = (context + kPageTokens - 1) / kPageTokens;
    for (int64_t i = 0; i < pages; ++i) pages_.push_back(arena_.data() + i * layout.page_bytes());
    slice_ = {pages_, context - rows, rows, 0};
    FillPages(team);
  }

  double Bytes() const { return static_cast<double>(arena_.size()); }
  double Operations() const {
    double seen = 0;
    for (int64_t i = 0; i < rows_; ++i) seen += static_cast<double>(slice_.position + i + 1);
    return 4.0 * seen * heads_ * layout_.head_dim * layout_.layers;
  }

  double Run(base::ThreadTeam& team) {
    const AttentionPlan plan({&slice_, 1}, layout_, heads_);
    return Seconds(team, [&](const base::TeamMember& member) {
      OpContext context{member, kernels_, scratch_, comm_};
      for (int layer = 0; layer < layout_.layers; ++layer) {
        Attention(context, Arguments(layer), plan, partial_);
      }
    });
  }

  double Read(const ProbeKernels& probes, base::ThreadTeam& team) {
    return Seconds(team, [&](const base::TeamMember& member) {
      const auto [begin, end] = member.Share(static_cast<int64_t>(arena_.size()), 4096);
      volatile uint64_t sink = probes.read(arena_.data() + begin, end - begin);
      (void)sink;
    });
  }

 private:
  AttentionArguments Arguments(int layer) {
    return {.layout = &layout_,
            .layer = layer,
            .heads = heads_,
            .scale = 1.0F / std::sqrt(static_cast<float>(layout_.head_dim)),
            .sequences = {&slice_, 1},
            .q = q_.data(),
            .ldq = int64_t{heads_} * layout_.head_dim,
            .out = out_.data(),
            .ldout = int64_t{heads_} * layout_.head_dim};
  }

  // Real tokens in the first page of the first layer, copied everywhere.
  void FillPages(base::ThreadTeam& team) {
    const int64_t width = int64_t{layout_.kv_heads} * layout_.head_dim;
    const std::vector<float> k = Normal(kPageTokens * width, 2);
    const std::vector<float> v = Normal(kPageTokens * width, 3);
    const SequenceSlice first{std::span(pages_).first(1), 0, kPageTokens, 0};
    team.Run([&](const base::TeamMember& member) {
      OpContext context{member, kernels_, scratch_, comm_};
      AttentionArguments arguments = Arguments(0);
      arguments.sequences = {&first, 1};
      StoreKv(context, arguments, k.data(), v.data(), width);
      member.Barrier();
      const int64_t layer_bytes = layout_.page_bytes() / layout_.layers;
      const int64_t blocks = static_cast<int64_t>(pages_.size()) * layout_.layers;
      const auto [begin, end] = member.Share(blocks);
      for (int64_t i = std::max<int64_t>(begin, 1); i < end; ++i) {
        std::memcpy(arena_.data() + i * layer_bytes, arena_.data(),
                    static_cast<size_t>(layer_bytes));
      }
    });
  }

  const KernelTable& kernels_;
  KvLayout layout_;
  int heads_;
  int64_t context_, rows_;
  Arena arena_;
  std::vector<std::byte*> pages_;
  SequenceSlice slice_{};
  OpScratch scratch_;
  AttentionScratch partial_;
  SingleProcess comm_;
  std::vector<float> q_, out_;
};

std::string Shape(const KvLayout& layout, int heads, int threads) {
  return fmt::format("{} threads, {:4} {:2}:{:<2} x {:3}", threads, Name(layout.dtype), heads,
                     layout.kv_heads, layout.head_dim);
}

void MeasureDecode(const KernelTable& table, KvLayout layout, int heads, int64_t context,
                   int rounds, base::ThreadTeam& team) {
  layout.layers = 1;
  layout.layers = static_cast<int>(kWorkingSet / (layout.page_bytes() * context / kPageTokens) + 1);
  const ProbeKernels probes = ProbesFor(table.level);
  Case c(table, layout, heads, context, 1, team);
  std::vector<double> speed;
  std::vector<double> share;
  c.Run(team);
  for (int round = 0; round < rounds; ++round) {
    const double before = c.Read(probes, team);
    const double seconds = c.Run(team);
    const double after = c.Read(probes, team);
    speed.push_back(c.Bytes() / seconds);
    share.push_back((before + after) / 2 / seconds);
  }
  const Spread s = SpreadOf(speed);
  const Spread f = SpreadOf(share);
  fmt::print("{} decode at  {:5}: {:6.1f} GB/s, of the read {:4.2f}/{:4.2f}/{:4.2f}\n",
             Shape(layout, heads, team.count()), context, s.median / 1e9, f.min, f.median, f.max);
  std::fflush(stdout);
}

void MeasurePrefill(const KernelTable& table, KvLayout layout, int heads, int64_t tokens,
                    int rounds, base::ThreadTeam& team, const Limits& limits) {
  layout.layers = 1;
  Case c(table, layout, heads, tokens, tokens, team);
  std::vector<double> speed;
  c.Run(team);
  for (int round = 0; round < rounds; ++round) speed.push_back(c.Operations() / c.Run(team));
  const Spread s = SpreadOf(speed);
  fmt::print(
      "{} prefill of {:5}: {:6.1f} GFLOP/s, of f32 {:3.0f}/{:3.0f}/{:3.0f} %, of bf16 {:3.0f} %\n",
      Shape(layout, heads, team.count()), tokens, s.median / 1e9, 100 * s.min / limits.f32,
      100 * s.median / limits.f32, 100 * s.max / limits.f32, 100 * s.median / limits.bf16);
  std::fflush(stdout);
}

std::vector<std::string> Split(const std::string& text, char by) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, by);) parts.push_back(part);
  return parts;
}

bool Parse(int argc, char** argv, Settings& settings) {
  const std::vector<std::pair<std::string, std::vector<std::string>*>> lists = {
      {"--threads", &settings.threads},  {"--kv", &settings.kv},
      {"--heads", &settings.heads},      {"--head-dim", &settings.head_dims},
      {"--context", &settings.contexts}, {"--prefill", &settings.prefills}};
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    const std::string value = argv[i + 1];
    const auto list = std::find_if(lists.begin(), lists.end(),
                                   [&flag](const auto& entry) { return entry.first == flag; });
    if (list != lists.end()) {
      *list->second = Split(value, ',');
    } else if (flag == "--isa") {
      settings.isa = value;
    } else if (flag == "--rounds") {
      settings.rounds = std::max(1, std::atoi(value.c_str()));
    } else {
      return false;
    }
  }
  return argc % 2 == 1;
}

// Calls `measure(layout, heads)` for every shape that was asked for; false if one is not possible.
bool ForEachShape(const Settings& settings,
                  const std::function<void(const KvLayout&, int)>& measure) {
  for (const std::string& kv : settings.kv) {
    const auto type = [&kv] {
      for (int i = 0; i < kDTypeCount; ++i) {
        if (Name(static_cast<DType>(i)) == kv) return static_cast<DType>(i);
      }
      return DType::kF64;
    }();
    if (type != DType::kF16 && type != DType::kF32 && type != DType::kBF16 &&
        type != DType::kF8E4M3) {
      fmt::print(stderr, "--kv {}: no such type of pages\n", kv);
      return false;
    }
    for (const std::string& pair : settings.heads) {
      const std::vector<std::string> counts = Split(pair, ':');
      const int heads = std::atoi(counts.front().c_str());
      const int kv_heads = std::atoi(counts.back().c_str());
      if (kv_heads <= 0 || heads % kv_heads != 0) {
        fmt::print(stderr, "--heads {}: expected heads:kv_heads\n", pair);
        return false;
      }
      for (const std::string& head_dim : settings.head_dims) {
        measure({1, kv_heads, std::atoi(head_dim.c_str()), type}, heads);
      }
    }
  }
  return true;
}

int Main(int argc, char** argv) {
  Settings settings;
  if (!Parse(argc, argv, settings)) {
    fmt::print(stderr, "unknown flag; see the head of bench/attention_bench.cc\n");
    return 2;
  }
  const KernelTable* table = ChooseTable(settings.isa);
  if (table == nullptr) {
    fmt::print(stderr, "--isa {}: not supported here\n", settings.isa);
    return 2;
  }
  for (const std::string& threads : settings.threads) {
    base::ThreadTeam team(std::max(1, std::atoi(threads.c_str())));
    const ProbeKernels probes = ProbesFor(table->level);
    const Limits limits{Peak(team, probes.dot(DotUnit::kF32)),
                        Peak(team, probes.dot(DotUnit::kBf16))};
    fmt::print("isa {}, {} threads; in registers: f32 {:.0f} GFLOP/s, bf16 {:.0f} GFLOP/s\n",
               Name(table->level), team.count(), limits.f32 / 1e9, limits.bf16 / 1e9);
    const bool good = ForEachShape(settings, [&](const KvLayout& layout, int heads) {
      for (const std::string& context : settings.contexts) {
        MeasureDecode(*table, layout, heads, std::atoll(context.c_str()), settings.rounds, team);
      }
      for (const std::string& tokens : settings.prefills) {
        MeasurePrefill(*table, layout, heads, std::atoll(tokens.c_str()), settings.rounds, team,
                       limits);
      }
    });
    if (!good) return 2;
  }
  return 0;
}

}  // namespace
}  // namespace inhouse::engine

int main(int argc, char** argv) { return inhouse::engine::Main(argc, argv); }
