// `normalizer`, `pre_tokenizer` and `post_processor` of tokenizer.json.
#include <vector>

#include "base/status.h"
#include "engine/tokenizer/hf_json.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using Behavior = PreTokenizerStep::Behavior;

std::string TypeOf(const Json& object) { return StringMember(object, "type").value_or(""); }

// The members of a `Sequence`, nested ones included, or the object itself. The depth of the file is
// limited, so is the recursion.
void Flatten(const Json& object, const char* list_key, std::vector<const Json*>* out) {
  const Json* list = Member(object, list_key);
  if (TypeOf(object) != "Sequence" || list == nullptr || !list->is_array()) {
    out->push_back(&object);
    return;
  }
  for (const Json& item : *list) Flatten(item, list_key, out);
}

// A literal pattern as a regex. An empty one never matches, unlike an empty regex.
std::string EscapeRegex(std::string_view text) {
  if (text.empty()) return "(?!)";
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\^$.|?*+()[]{}-/#& ").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

absl::StatusOr<Behavior> ReadBehavior(const Json& split, const std::string& path) {
  constexpr std::pair<const char*, Behavior> kBehaviors[] = {
      {"Isolated", Behavior::kIsolated},
      {"Removed", Behavior::kRemoved},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  const std::string name = StringMember(split, "behavior").value_or("");
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  return BadField(path, "pre_tokenizer: Split: behavior", name,
                  "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

absl::StatusOr<PreTokenizerStep> ReadSplit(const Json& split, const std::string& path) {
  PreTokenizerStep step{.kind = PreTokenizerStep::Kind::kSplit};
  const Json* pattern = Member(split, "pattern");
  const auto regex = pattern == nullptr ? std::nullopt : StringMember(*pattern, "Regex");
  const auto literal = pattern == nullptr ? std::nullopt : StringMember(*pattern, "String");
  if (!regex.has_value() && !literal.has_value()) {
    return BadField(path, "pre_tokenizer: Split: pattern", pattern == nullptr ? Json() : *pattern,
                    "{\"Regex\": ...} or {\"String\": ...}");
  }
  step.pattern = regex.has_value() ? *regex : EscapeRegex(*literal);
  INHOUSE_ASSIGN_OR_RETURN(step.behavior, ReadBehavior(split, path));
  step.invert = BoolMember(split, "invert", false);
  return step;
}

absl::StatusOr<std::vector<int32_t>> TemplateIds(const Json& processor, const Json& item,
                                                 const std::string& path) {
  const std::string name = StringMember(item, "id").value_or("");
  const Json* tokens = Member(processor, "special_tokens");
  const Json* token = tokens == nullptr ? nullptr : Member(*tokens, name.c_str());
  const Json* ids = token == nullptr ? nullptr : Member(*token, "ids");
  std::vector<int32_t> out;
  if (ids != nullptr && ids->is_array()) {
    for (const Json& id : *ids) {
      if (!id.is_number_unsigned() || id.get<uint64_t>() > INT32_MAX) break;
      out.push_back(static_cast<int32_t>(id.get<uint64_t>()));
    }
    if (out.size() == ids->size()) return out;
  }
  return BadField(path, "post_processor: TemplateProcessing: special_tokens", name,
                  "an entry with an array of ids");
}

// `single`: special tokens before and after sequence A, once.
absl::Status ReadTemplate(const Json& processor, TokenizerSpec* spec) {
  const Json* single = Member(processor, "single");
  if (single == nullptr || !single->is_array()) {
    return BadField(spec->path, "post_processor: TemplateProcessing: single",
                    single == nullptr ? Json() : *single, "an array");
  }
  std::vector<int32_t>* target = &spec->prefix_ids;
  std::vector<int32_t> before, after;
  bool seen = false;
  for (const Json& item : *single) {
    if (const Json* token = Member(item, "SpecialToken")) {
      INHOUSE_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                               TemplateIds(processor, *token, spec->path));
      std::vector<int32_t>& side = seen ? after : before;
      side.insert(side.end(), ids.begin(), ids.end());
      continue;
    }
    const Json* sequence = Member(item, "Sequence");
    if (sequence == nullptr || StringMember(*sequence, "id") != "A" || seen) {
      return BadField(spec->path, "post_processor: TemplateProcessing: single", item,
                      "special tokens around one sequence A");
    }
    seen = true;
  }
  if (!seen) {
    return BadField(spec->path, "post_processor: TemplateProcessing: single", *single,
                    "a sequence A");
  }
  // In a Sequence of processors the later ones go around the earlier ones.
  target->insert(target->begin(), before.begin(), before.end());
  spec->suffix_ids.insert(spec->suffix_ids.end(), after.begin(), after.end());
  return absl::OkStatus();
}

// Bert's and Roberta's processors: [cls] text [sep], each as ["token", id].
absl::Status ReadClsSep(const Json& processor, TokenizerSpec* spec) {
  for (const char* key : {"cls", "sep"}) {
    const Json* pair = Member(processor, key);
    if (pair == nullptr || !pair->is_array() || pair->size() != 2 ||
        !(*pair)[1].is_number_unsigned() || (*pair)[1].get<uint64_t>() > INT32_MAX) {
      return BadField(spec->path, fmt::format("post_processor: {}", key),
                      pair == nullptr ? Json() : *pair, "[\"token\", id]");
    }
    const auto id = static_cast<int32_t>((*pair)[1].get<uint64_t>());
    if (key[0] == 'c') {
      spec->prefix_ids.insert(spec->prefix_ids.begin(), id);
    } else {
      spec->suffix_ids.push_back(id);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadNormalizer(const Json& root, TokenizerSpec* spec) {
  const Json* normalizer = Member(root, "normalizer");
  if (normalizer == nullptr) return absl::OkStatus();
  std::vector<const Json*> steps;
  Flatten(*normalizer, "normalizers", &steps);
  for (const Json* step : steps) {
    const std::string type = TypeOf(*step);
    if (type != "NFC") {
      return BadField(spec->path, "normalizer: type", type, "null, NFC or a Sequence of them");
    }
    spec->nfc = true;
  }
  return absl::OkStatus();
}

absl::Status ReadPreTokenizer(const Json& root, TokenizerSpec* spec) {
  const Json* pre_tokenizer = Member(root, "pre_tokenizer");
  std::vector<const Json*> steps;
  if (pre_tokenizer != nullptr) Flatten(*pre_tokenizer, "pretokenizers", &steps);
  bool byte_level = false;
  for (const Json* item : steps) {
    const std::string type = TypeOf(*item);
    PreTokenizerStep step;
    if (byte_level) {
      return BadField(spec->path, "pre_tokenizer", type, "nothing after ByteLevel");
    }
    if (type == "Split") {
      INHOUSE_ASSIGN_OR_RETURN(step, ReadSplit(*item, spec->path));
    } else if (type == "Digits") {
      step.kind = PreTokenizerStep::Kind::kDigits;
      step.individual_digits = BoolMember(*item, "individual_digits", false);
    } else if (type == "ByteLevel") {
      byte_level = true;
      step.kind = PreTokenizerStep::Kind::kByteLevel;
      step.use_regex = BoolMember(*item, "use_regex", true);
      step.add_prefix_space = BoolMember(*item, "add_prefix_space", true);
    } else {
      return BadField(spec->path, "pre_tokenizer: type", type, "Split, Digits or ByteLevel");
    }
    spec->pre_tokenizer.push_back(std::move(step));
  }
  if (!byte_level) {
    return base::InvalidInput({.file = spec->path,
                               .field = "pre_tokenizer",
                               .expected = "ByteLevel as the last step",
                               .hint = "Only byte-level BPE tokenizers are read."});
  }
  return absl::OkStatus();
}

absl::Status ReadPostProcessor(const Json& root, TokenizerSpec* spec) {
  const Json* processor = Member(root, "post_processor");
  if (processor == nullptr) return absl::OkStatus();
  std::vector<const Json*> steps;
  Flatten(*processor, "processors", &steps);
  for (const Json* step : steps) {
    const std::string type = TypeOf(*step);
    if (type == "ByteLevel") continue;  // offsets only
    if (type == "TemplateProcessing") {
      INHOUSE_RETURN_IF_ERROR(ReadTemplate(*step, spec));
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      INHOUSE_RETURN_IF_ERROR(ReadClsSep(*step, spec));
    } else {
      return BadField(spec->path, "post_processor: type", type,
                      "ByteLevel, TemplateProcessing, BertProcessing or RobertaProcessing");
    }
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
