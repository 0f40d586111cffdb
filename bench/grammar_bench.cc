// What a grammar costs before each token: grammar_bench MODEL [SEED]
//
// For schemas and other grammars: the time to compile them, and the time of a mask along random
// answers that they allow (tokens in proportion to a random weight, as at temperature 1), with
// nothing remembered ("cold", the first 2,000 tokens) and after it ("warm").
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/runtime/grammar_cache.h"
#include "engine/runtime/tokenizer_loader.h"
#include "fmt/format.h"

namespace inhouse::bench {
namespace {

using Clock = std::chrono::steady_clock;
using engine::GrammarSpec;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct Case {
  const char* name;
  GrammarSpec spec;
};

std::vector<Case> Cases() {
  using Kind = GrammarSpec::Kind;
  const auto schema = [](const char* text) {
    return GrammarSpec{.kind = Kind::kJsonSchema, .text = text};
  };
  return {
      {"any object", {.kind = Kind::kJsonObject}},
      {"person", schema(R"({"type":"object","properties":{"name":{"type":"string"},
          "age":{"type":"integer","minimum":0,"maximum":150},"email":{"type":"string"},
          "tags":{"type":"array","items":{"type":"string"}}},"required":["name","age"]})")},
      {"maxLength 200", schema(R"({"type":"array","items":{"type":"string","maxLength":200}})")},
      {"pattern", schema(R"({"type":"array","items":{"type":"string",
          "pattern":"^[A-Z][a-z]+( [A-Z][a-z]+)*$"}})")},
      {"tree", schema(R"({"$defs":{"t":{"type":"object","properties":{"v":{"type":"string"},
          "l":{"anyOf":[{"$ref":"#/$defs/t"},{"type":"null"}]},
          "r":{"anyOf":[{"$ref":"#/$defs/t"},{"type":"null"}]}},"required":["v","l","r"]}},
          "$ref":"#/$defs/t"})")},
      {"regex", {.kind = Kind::kRegex, .text = "(.{1,80}\\n)*"}},
  };
}

std::string Percentiles(std::vector<double> times) {
  if (times.empty()) return "-";
  std::sort(times.begin(), times.end());
  return fmt::format("{:8.1f} {:8.1f} {:8.1f}", times[times.size() / 2],
                     times[times.size() * 99 / 100], times.back());
}

// Masks along random answers; returns the time of each.
std::vector<double> Walk(const std::shared_ptr<engine::Grammar>& grammar, std::mt19937* random) {
  std::vector<double> times;
  std::vector<int32_t> allowed;
  engine::TokenMask mask;
  while (times.size() < 2000) {
    engine::GrammarMatcher matcher(grammar);
    for (int i = 0; i < 200 && !matcher.must_end() && times.size() < 2000; ++i) {
      const Clock::time_point start = Clock::now();
      if (!matcher.FillMask(&mask).ok()) return times;
      times.push_back(MicrosecondsSince(start));
      allowed.clear();
      for (size_t word = 0; word < mask.size(); ++word) {
        for (uint64_t bits = mask[word]; bits != 0; bits &= bits - 1) {
          allowed.push_back(static_cast<int32_t>(64 * word) + __builtin_ctzll(bits));
        }
      }
      if (allowed.empty()) break;
      matcher.Accept(allowed[(*random)() % allowed.size()]);
    }
  }
  return times;
}

absl::Status Run(const std::string& model, uint32_t seed) {
  INHOUSE_ASSIGN_OR_RETURN(const auto tokenizer, engine::LoadTokenizer(model));
  const Clock::time_point start = Clock::now();
  const auto trie = engine::MakeTokenTrie(*tokenizer);
  std::printf("%lld tokens, tree of %zu nodes in %.0f ms\n",
              static_cast<long long>(tokenizer->vocab_size()), trie->nodes().size(),
              MicrosecondsSince(start) / 1000);
  std::printf("%-14s %10s %8s | %-26s | %-26s | %s\n", "", "compile us", "states",
              "cold us: median, p99, max", "warm us: median, p99, max", "KiB");
  for (const Case& one : Cases()) {
    std::mt19937 random(seed);
    const Clock::time_point compile = Clock::now();
    INHOUSE_ASSIGN_OR_RETURN(const auto grammar, engine::Grammar::Compile(one.spec, trie));
    const double compiled = MicrosecondsSince(compile);
    const std::string cold = Percentiles(Walk(grammar, &random));
    const std::string warm = Percentiles(Walk(grammar, &random));
    std::printf("%-14s %10.0f %8zu | %s | %s | %zu\n", one.name, compiled, grammar->state_count(),
                cold.c_str(), warm.c_str(), grammar->memory_bytes() >> 10);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace inhouse::bench

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: grammar_bench MODEL [SEED]\n");
    return 2;
  }
  const absl::Status status =
      inhouse::bench::Run(argv[1], argc > 2 ? static_cast<uint32_t>(std::atoi(argv[2])) : 1);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", inhouse::base::Message(status).c_str());
  return 1;
}
