// The tokens of a vocabulary as a tree of bytes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace inhouse::engine {

// Built once for each tokenizer; immutable. Tokens that do not stand for their bytes in a text
// (special and added ones) are no part of the tree: a grammar names them one by one.
class TokenTrie {
 public:
  struct Vocabulary {
    int64_t size = 0;  // ids are below
    std::vector<std::pair<std::string, int32_t>> tokens = {};
    std::vector<std::pair<std::string, int32_t>> markers = {};
  };
  explicit TokenTrie(Vocabulary vocabulary);

  // In the order of a walk that goes to the first child first. Node 0 is the root.
  struct Node {
    uint32_t end = 0;  // the node behind its last descendant
    uint16_t depth = 0;
    uint8_t byte = 0;
  };
  const std::vector<Node>& nodes() const { return nodes_; }
  std::span<const int32_t> tokens(uint32_t node) const {
    return {tokens_.data() + token_begin_[node], token_begin_[node + 1] - token_begin_[node]};
  }
  // The other way into the tree: all nodes that are reached by `byte`, in their order, and from
  // where.
  std::span<const uint32_t> nodes_by(uint8_t byte) const {
    return {by_byte_.data() + byte_begin_[byte], byte_begin_[byte + 1U] - byte_begin_[byte]};
  }
  uint32_t parent(uint32_t node) const { return parents_[node]; }

  int64_t vocab_size() const { return vocab_size_; }
  size_t mask_words() const { return (static_cast<size_t>(vocab_size_) + 63) / 64; }
  uint32_t longest() const { return longest_; }  // bytes of a token
  std::string_view bytes(int32_t token) const;   // empty for markers and unused ids
  std::optional<int32_t> marker(std::string_view text) const;

 private:
  void IndexNodes();

  int64_t vocab_size_;
  uint32_t longest_ = 0;
  std::vector<Node> nodes_;
  std::vector<uint32_t> token_begin_;
  std::vector<int32_t> tokens_;
  std::vector<uint32_t> parents_;
  std::vector<uint32_t> by_byte_;
  std::array<uint32_t, 257> byte_begin_ = {};
  std::vector<std::string> bytes_;
  std::unordered_map<std::string, int32_t> markers_;
};

}  // namespace inhouse::engine
