// Both ways of merging against the definition, on random rules.
#include "engine/tokenizer/bpe.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

struct Rules {
  std::vector<std::string> tokens;  // by id; the first three are a, b, c
  std::map<std::pair<int32_t, int32_t>, MergeTable::Merge> merges = {};
};

// Joins random tokens that exist already, as training would, with ranks in any order.
Rules RandomRules(std::mt19937* random, int count) {
  Rules rules{.tokens = {"a", "b", "c"}};
  for (int i = 0; i < count; ++i) {
    std::uniform_int_distribution<size_t> pick(0, rules.tokens.size() - 1);
    const auto left = static_cast<int32_t>(pick(*random));
    const auto right = static_cast<int32_t>(pick(*random));
    const std::string joined =
        rules.tokens[static_cast<size_t>(left)] + rules.tokens[static_cast<size_t>(right)];
    if (joined.size() > 8) continue;
    auto at = std::find(rules.tokens.begin(), rules.tokens.end(), joined);
    const auto id = static_cast<int32_t>(at - rules.tokens.begin());
    if (at == rules.tokens.end()) rules.tokens.push_back(joined);
    rules.merges[{left, right}] = {static_cast<uint32_t>((*random)() % 1000), id};
  }
  return rules;
}

Bpe MakeBpe(const Rules& rules) {
  MergeTable table(rules.merges.size());
  for (const auto& [pair, merge] : rules.merges) table.Set(pair.first, pair.second, merge);
  Bpe::ByteTokens bytes;
  bytes.id.fill(-1);
  for (int32_t i = 0; i < 3; ++i) bytes.id[static_cast<size_t>('a' + i)] = i;
  return Bpe(std::move(table), bytes);
}

std::vector<int32_t> ByDefinition(const Rules& rules, const std::string& text) {
  std::vector<int32_t> ids;
  for (const char c : text) ids.push_back(c - 'a');
  while (true) {
    size_t best = ids.size();
    MergeTable::Merge lowest{MergeTable::kNoRank, -1};
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto rule = rules.merges.find({ids[i], ids[i + 1]});
      if (rule != rules.merges.end() && rule->second.rank < lowest.rank) {
        lowest = rule->second;
        best = i;
      }
    }
    if (best == ids.size()) return ids;
    ids[best] = lowest.id;
    ids.erase(ids.begin() + static_cast<ptrdiff_t>(best) + 1);
  }
}

std::vector<int32_t> Encode(const Bpe& bpe, std::string_view text) {
  std::vector<int32_t> ids;
  bpe.Append(text, &ids);
  return ids;
}

TEST(Bpe, EqualsTheDefinitionOnShortAndLongPieces) {
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    const Rules rules = RandomRules(&random, 60);
    const Bpe bpe = MakeBpe(rules);
    for (const size_t size : std::vector<size_t>{0, 1, 2, 3, 10, 60, 95, 96, 97, 200, 500}) {
      std::string text;
      for (size_t i = 0; i < size; ++i) text += static_cast<char>('a' + random() % 3);
      ASSERT_EQ(Encode(bpe, text), ByDefinition(rules, text)) << text;
    }
  }
}

TEST(Bpe, AppendsToWhatIsThere) {
  std::vector<int32_t> ids = {7};
  MakeBpe({.tokens = {"a", "b", "c", "ab"}, .merges = {{{0, 1}, {0, 3}}}}).Append("ab", &ids);
  EXPECT_EQ(ids, (std::vector<int32_t>{7, 3}));
}

TEST(Bpe, AMillionLettersAreNotQuadratic) {
  Rules rules{.tokens = {"a", "b", "c"}};
  for (size_t size = 2; size <= 64; size *= 2) {
    const auto half = static_cast<int32_t>(rules.tokens.size() == 3 ? 0 : rules.tokens.size() - 1);
    rules.merges[{half, half}] = {static_cast<uint32_t>(size),
                                  static_cast<int32_t>(rules.tokens.size())};
    rules.tokens.push_back(std::string(size, 'a'));
  }
  const std::vector<int32_t> ids = Encode(MakeBpe(rules), std::string(1 << 20, 'a'));
  EXPECT_EQ(ids.size(), size_t{1 << 20} / 64);
}

TEST(Bpe, BytesWithoutATokenVanishOrBecomeUnk) {
  MergeTable none(0);
  Bpe::ByteTokens bytes;
  bytes.id.fill(-1);
  bytes.id['a'] = 0;
  EXPECT_EQ(Encode(Bpe(none, bytes), "xayya"), (std::vector<int32_t>{0, 0}));
  bytes.unk_id = 9;
  EXPECT_EQ(Encode(Bpe(none, bytes), "xayya"), (std::vector<int32_t>{9, 0, 9, 9, 0}));
  bytes.fuse_unk = true;
  EXPECT_EQ(Encode(Bpe(none, bytes), "xayya"), (std::vector<int32_t>{9, 0, 9, 0}));
}

TEST(MergeTable, TheLastOfTwoEqualRulesCounts) {
  MergeTable table(2);
  table.Set(1, 2, {5, 3});
  table.Set(1, 2, {8, 3});
  EXPECT_EQ(table.Find(1, 2).rank, 8u);
  EXPECT_EQ(table.Find(2, 1).rank, MergeTable::kNoRank);
}

}  // namespace
}  // namespace inhouse::engine
