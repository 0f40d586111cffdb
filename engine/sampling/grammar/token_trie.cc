#include "engine/sampling/grammar/token_trie.h"

#include <algorithm>
#include <numeric>

namespace inhouse::engine {
namespace {
constexpr size_t kTokenBytesMax = 4096;  // longer ones are of no use to a grammar
}

TokenTrie::TokenTrie(Vocabulary vocabulary) : vocab_size_(vocabulary.size) {
  auto& tokens = vocabulary.tokens;
  std::erase_if(tokens, [](const auto& token) {
    return token.first.empty() || token.first.size() > kTokenBytesMax;
  });
  std::sort(tokens.begin(), tokens.end());
  nodes_.push_back({});
  token_begin_ = {0};
  std::vector<uint32_t> path = {0};  // the nodes of the last token, from the root on
  std::string last;
  const auto close = [&](size_t depth) {
    for (; path.size() > depth + 1; path.pop_back()) {
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
    }
  };
  bytes_.resize(static_cast<size_t>(vocab_size_));
  for (auto& [text, id] : tokens) {
    size_t common = 0;
    while (common < last.size() && common < text.size() && last[common] == text[common]) ++common;
    close(common);
    for (size_t i = common; i < text.size(); ++i) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back(
          {.depth = static_cast<uint16_t>(i + 1), .byte = static_cast<uint8_t>(text[i])});
      token_begin_.push_back(static_cast<uint32_t>(tokens_.size()));
    }
    tokens_.push_back(id);
    longest_ = std::max(longest_, static_cast<uint32_t>(text.size()));
    last = text;
    bytes_[static_cast<size_t>(id)] = std::move(text);
  }
  close(0);
  nodes_[0].end = static_cast<uint32_t>(nodes_.size());
  token_begin_.push_back(static_cast<uint32_t>(tokens_.size()));
  for (auto& [text, id] : vocabulary.markers) markers_.emplace(std::move(text), id);
  IndexNodes();
}

void TokenTrie::IndexNodes() {
  parents_.resize(nodes_.size());
  std::vector<uint32_t> path = {0};
  for (uint32_t i = 1; i < nodes_.size(); ++i) {
    path.resize(nodes_[i].depth);
    parents_[i] = path.back();
    path.push_back(i);
    ++byte_begin_[nodes_[i].byte + 1U];
  }
  std::partial_sum(byte_begin_.begin(), byte_begin_.end(), byte_begin_.begin());
  by_byte_.resize(nodes_.size() - 1);
  std::array<uint32_t, 257> next = byte_begin_;
  for (uint32_t i = 1; i < nodes_.size(); ++i) by_byte_[next[nodes_[i].byte]++] = i;
}

std::string_view TokenTrie::bytes(int32_t token) const {
  const auto index = static_cast<size_t>(token);
  return token >= 0 && index < bytes_.size() ? std::string_view(bytes_[index]) : "";
}

std::optional<int32_t> TokenTrie::marker(std::string_view text) const {
  const auto found = markers_.find(std::string(text));
  if (found == markers_.end()) return std::nullopt;
  return found->second;
}

}  // namespace inhouse::engine
