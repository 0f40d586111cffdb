// Time of choosing one token of a large vocabulary.
//
//   sampling_bench [--isa avx512bf16] [--vocab 152064] [--rounds 200]
//
// For the usual options and for logits whose best token stands out more or less: min / median / max
// in microseconds.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "engine/sampling/sampler.h"

namespace inhouse::engine {
namespace {

struct Choice {
  const char* name;
  SamplingOptions options;
};

void Measure(const KernelTable& table, const Choice& choice, float spread,
             const std::vector<float>& logits, int rounds) {
  Sampler sampler(choice.options, {}, *table.elementwise);
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    sampler.Accept(sampler.Sample(logits));
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::sort(times.begin(), times.end());
  fmt::print("{:22} logits of spread {:4.1f}: {:6.0f} / {:6.0f} / {:6.0f} us\n", choice.name,
             spread, times.front(), times[times.size() / 2], times.back());
}

int Main(int argc, char** argv) {
  std::string isa;
  int64_t vocab = 152064;
  int rounds = 200;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--isa") isa = argv[i + 1];
    if (flag == "--vocab") vocab = std::max(1LL, std::atoll(argv[i + 1]));
    if (flag == "--rounds") rounds = std::max(1, std::atoi(argv[i + 1]));
  }
  const KernelTable* table = ChooseTable(isa);
  if (table == nullptr) {
    fmt::print(stderr, "--isa {}: not supported here\n", isa);
    return 2;
  }
  const std::vector<Choice> choices = {
      {"greedy", {.temperature = 0, .seed = 1}},
      {"temperature 1", {.seed = 1}},
      {"top-k 40", {.top_k = 40, .seed = 1}},
      {"top-p 0.95", {.top_p = 0.95F, .seed = 1}},
      {"top-k 40, top-p 0.95", {.top_k = 40, .top_p = 0.95F, .seed = 1}},
      {"min-p 0.05", {.min_p = 0.05F, .seed = 1}}};
  for (const float spread : {0.5F, 2.0F, 5.0F}) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0F, spread);
    std::vector<float> logits(static_cast<size_t>(vocab));
    for (float& x : logits) x = normal(random);
    for (const Choice& choice : choices) Measure(*table, choice, spread, logits, rounds);
  }
  return 0;
}

}  // namespace
}  // namespace inhouse::engine

int main(int argc, char** argv) { return inhouse::engine::Main(argc, argv); }
