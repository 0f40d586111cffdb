#include "engine/tokenizer/code_points.h"

#include <algorithm>
#include <iterator>
#include <unordered_map>

namespace inhouse::engine {
namespace {

enum Category : uint8_t {
  kLu,
  kLl,
  kLt,
  kLm,
  kLo,
  kMn,
  kMc,
  kMe,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPs,
  kPe,
  kPi,
  kPf,
  kPo,
  kSm,
  kSc,
  kSk,
  kSo,
  kZs,
  kZl,
  kZp,
  kCc,
  kCf,
  kCo,
  kCn,
  kCs,
};
constexpr std::string_view kCategoryNames[] = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Co", "Cn", "Cs"};

struct CategoryRun {
  char32_t first;
  Category category;
};
using Range = CodePointRange;

#include "engine/tokenizer/unicode_tables.inc"

// Unicode's White_Space; it has not changed since 6.3.
constexpr Range kSpaces[] = {{0x09, 0x0D},     {0x20, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
                             {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
                             {0x205F, 0x205F}, {0x3000, 0x3000}};
// Alphabetic symbols (circled and squared letters) and the joiners: in \w, in no letter category.
constexpr Range kExtraWordChars[] = {
    {0x200C, 0x200D}, {0x24B6, 0x24E9}, {0x1F130, 0x1F149}, {0x1F150, 0x1F169}, {0x1F170, 0x1F189}};

bool Contains(std::span<const Range> ranges, char32_t c) {
  const auto after =
      std::upper_bound(ranges.begin(), ranges.end(), c,
                       [](char32_t value, const Range& range) { return value < range.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}

uint8_t TraitsOf(Category category) {
  int traits = 0;
  if (category <= kLo) traits |= kLetter | kWordChar;
  if (category >= kMn && category <= kMe) traits |= kMark | kWordChar;
  if (category >= kNd && category <= kNo) traits |= kNumber | kNumeric;
  if (category >= kPc && category <= kPo) traits |= kPunctuation;
  if (category >= kSm && category <= kSo) traits |= kSymbol;
  if (category == kNd || category == kNl || category == kPc) traits |= kWordChar;
  return static_cast<uint8_t>(traits);
}

char32_t EndOfRun(size_t i) {
  return i + 1 < std::size(kCategoryRuns) ? kCategoryRuns[i + 1].first : kCodePointMax + 1;
}

CodePointTable MakeTraits() {
  std::vector<CodePointTable::Assignment> bits;
  for (size_t i = 0; i < std::size(kCategoryRuns); ++i) {
    bits.push_back(
        {{kCategoryRuns[i].first, EndOfRun(i) - 1}, TraitsOf(kCategoryRuns[i].category)});
  }
  for (const Range& range : kSpaces) bits.push_back({range, kSpace});
  for (const Range& range : kExtraDigits) bits.push_back({range, kNumeric});
  for (const Range& range : kExtraWordChars) bits.push_back({range, kWordChar});
  return CodePointTable(bits);
}

bool InCategory(Category category, std::string_view name) {
  const std::string_view own = kCategoryNames[category];
  return own == name || (name.size() == 1 && own[0] == name[0]);
}

template <typename Keep>
std::vector<Range> CollectRanges(std::string_view name, Keep keep) {
  std::vector<Range> out;
  for (size_t i = 0; i < std::size(kCategoryRuns); ++i) {
    if (!InCategory(kCategoryRuns[i].category, name)) continue;
    for (char32_t c = kCategoryRuns[i].first; c < EndOfRun(i); ++c) {
      if (!keep(c)) continue;
      if (!out.empty() && out.back().last + 1 == c) {
        out.back().last = c;
      } else {
        out.push_back({c, c});
      }
    }
  }
  return out;
}

}  // namespace

CodePointTable::CodePointTable(std::span<const Assignment> assignments) {
  std::vector<uint8_t> flat(size_t{kCodePointMax} + 1);
  for (const auto& [range, bits] : assignments) {
    for (size_t c = range.first; c <= range.last; ++c) {
      flat[c] = static_cast<uint8_t>(flat[c] | bits);
    }
  }
  std::unordered_map<std::string_view, uint16_t> known;
  for (size_t block = 0; block < block_.size(); ++block) {
    const auto* cells = reinterpret_cast<const char*>(&flat[block << 8]);
    const auto [it, is_new] = known.emplace(std::string_view(cells, 256), known.size());
    if (is_new) cells_.insert(cells_.end(), cells, cells + 256);
    block_[block] = it->second;
  }
}

const CodePointTable& CharTraits() {
  static const CodePointTable table = MakeTraits();
  return table;
}

std::vector<Range> CategoryRanges(std::string_view name) {
  return CollectRanges(name, [](char32_t) { return true; });
}

std::vector<Range> CategoryRangesNewerThanPcre2(std::string_view name) {
  return CollectRanges(name, [](char32_t c) { return Contains(kNewerThanPcre2, c); });
}

std::vector<Range> SpaceRanges() { return {std::begin(kSpaces), std::end(kSpaces)}; }

std::vector<Range> Complement(std::span<const Range> ranges) {
  std::vector<Range> out;
  char32_t next = 0;
  for (const Range& range : ranges) {
    if (range.first > next) out.push_back({next, range.first - 1});
    next = range.last + 1;
  }
  if (next <= kCodePointMax) out.push_back({next, kCodePointMax});
  return out;
}

std::span<const Range> NfcUnsafeRanges() { return kNfcUnsafe; }
std::span<const Range> NfcUnknownRanges() { return kNfcUnknown; }

}  // namespace inhouse::engine
