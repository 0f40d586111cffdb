#include "engine/quantize/tokenizer_files.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

namespace inhouse::engine {
namespace {

using nlohmann::ordered_json;
using Kind = PreTokenizerStep::Kind;
using Behavior = PreTokenizerStep::Behavior;

const char* NameOf(Behavior behavior) {
  switch (behavior) {
    case Behavior::kIsolated:
      return "Isolated";
    case Behavior::kRemoved:
      return "Removed";
    case Behavior::kMergedWithPrevious:
      return "MergedWithPrevious";
    case Behavior::kMergedWithNext:
      return "MergedWithNext";
    case Behavior::kContiguous:
      return "Contiguous";
  }
  return "";
}

ordered_json Step(const PreTokenizerStep& step) {
  switch (step.kind) {
    case Kind::kSplit:
      return {{"type", "Split"},
              {"pattern", {{"Regex", step.pattern}}},
              {"behavior", NameOf(step.behavior)},
              {"invert", step.invert}};
    case Kind::kDigits:
      return {{"type", "Digits"}, {"individual_digits", step.individual_digits}};
    case Kind::kByteLevel:
      return {{"type", "ByteLevel"},
              {"add_prefix_space", step.add_prefix_space},
              {"trim_offsets", true},
              {"use_regex", step.use_regex}};
  }
  return nullptr;
}

ordered_json PreTokenizer(const TokenizerSpec& spec) {
  ordered_json steps = ordered_json::array();
  for (const PreTokenizerStep& step : spec.pre_tokenizer) steps.push_back(Step(step));
  if (steps.size() == 1) return steps[0];
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

std::vector<AddedToken> AddedById(const TokenizerSpec& spec) {
  std::vector<AddedToken> tokens = spec.added_tokens;
  std::sort(tokens.begin(), tokens.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return tokens;
}

ordered_json AddedTokens(const TokenizerSpec& spec) {
  ordered_json out = ordered_json::array();
  for (const AddedToken& token : AddedById(spec)) {
    out.push_back({{"id", token.id},
                   {"content", token.content},
                   {"single_word", token.single_word},
                   {"lstrip", token.lstrip},
                   {"rstrip", token.rstrip},
                   {"normalized", token.normalized},
                   {"special", token.special}});
  }
  return out;
}

// The text of a token, added or not; "" if there is none.
std::string ContentOf(const TokenizerSpec& spec, int32_t id) {
  for (const AddedToken& token : spec.added_tokens) {
    if (token.id == id) return token.content;
  }
  const bool known = id >= 0 && static_cast<size_t>(id) < spec.vocab.size();
  return known ? spec.vocab[static_cast<size_t>(id)] : "";
}

ordered_json Vocabulary(const TokenizerSpec& spec) {
  std::map<int32_t, std::string> by_id;
  for (size_t i = 0; i < spec.vocab.size(); ++i) {
    if (!spec.vocab[i].empty()) by_id[static_cast<int32_t>(i)] = spec.vocab[i];
  }
  for (const AddedToken& token : spec.added_tokens) by_id[token.id] = token.content;
  // As an array of pairs first: looking each key up in an ordered object takes time squared.
  ordered_json::object_t out;
  out.reserve(by_id.size());
  for (auto& [id, content] : by_id) out.push_back({std::move(content), id});
  return out;
}

ordered_json Merges(const TokenizerSpec& spec) {
  ordered_json out = ordered_json::array();
  for (const auto& [left, right] : spec.merges) out.push_back({left, right});
  return out;
}

// Puts the tokens of the beginning and the end around a text; none: only trims offsets.
ordered_json PostProcessor(const TokenizerSpec& spec) {
  if (spec.prefix_ids.empty() && spec.suffix_ids.empty()) {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", false},
            {"use_regex", true}};
  }
  ordered_json special = ordered_json::object();
  const auto piece = [&](int32_t id, int type) {
    const std::string content = ContentOf(spec, id);
    special[content] = {{"id", content},
                        {"ids", ordered_json::array({id})},
                        {"tokens", ordered_json::array({content})}};
    return ordered_json{{"SpecialToken", {{"id", content}, {"type_id", type}}}};
  };
  const auto around = [&](const char* sequence, int type, ordered_json* out) {
    for (const int32_t id : spec.prefix_ids) out->push_back(piece(id, type));
    out->push_back({{"Sequence", {{"id", sequence}, {"type_id", type}}}});
    for (const int32_t id : spec.suffix_ids) out->push_back(piece(id, type));
  };
  ordered_json single = ordered_json::array();
  around("A", 0, &single);
  ordered_json pair = single;
  around("B", 1, &pair);
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(special)}};
}

}  // namespace

ordered_json TokenizerJson(const TokenizerSpec& spec) {
  const std::string unknown = ContentOf(spec, spec.unk_id);
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", AddedTokens(spec)},
          {"normalizer", spec.nfc ? ordered_json{{"type", "NFC"}} : ordered_json(nullptr)},
          {"pre_tokenizer", PreTokenizer(spec)},
          {"post_processor", PostProcessor(spec)},
          {"decoder",
           {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", true},
            {"use_regex", true}}},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", unknown.empty() ? ordered_json(nullptr) : ordered_json(unknown)},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", spec.fuse_unk},
            {"byte_fallback", false},
            {"ignore_merges", spec.ignore_merges},
            {"vocab", Vocabulary(spec)},
            {"merges", Merges(spec)}}}};
}

ordered_json TokenizerConfigJson(const TokenizerSpec& spec) {
  ordered_json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                      {"clean_up_tokenization_spaces", false}};
  const std::pair<const char*, int32_t> named[] = {{"bos_token", spec.bos_id},
                                                   {"eos_token", spec.eos_id},
                                                   {"pad_token", spec.pad_id},
                                                   {"unk_token", spec.unk_id}};
  for (const auto& [name, id] : named) {
    if (const std::string content = ContentOf(spec, id); !content.empty()) out[name] = content;
  }
  ordered_json added = ordered_json::object();
  for (const AddedToken& token : AddedById(spec)) {
    added[std::to_string(token.id)] = {
        {"content", token.content},         {"lstrip", token.lstrip},
        {"normalized", token.normalized},   {"rstrip", token.rstrip},
        {"single_word", token.single_word}, {"special", token.special}};
  }
  out["added_tokens_decoder"] = std::move(added);
  if (!spec.chat_template.empty()) out["chat_template"] = spec.chat_template;
  return out;
}

}  // namespace inhouse::engine
