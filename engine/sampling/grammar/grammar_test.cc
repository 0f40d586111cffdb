#include "engine/sampling/grammar/grammar.h"

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/sampling/grammar/test_vocabulary.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {
namespace {

using Kind = GrammarSpec::Kind;

bool Has(const TokenMask& mask, int32_t token) {
  return (mask[static_cast<size_t>(token) / 64] >> (static_cast<size_t>(token) % 64) & 1) != 0;
}

std::shared_ptr<Grammar> Compiled(const GrammarSpec& spec) {
  auto grammar = Grammar::Compile(spec, TestTrie());
  EXPECT_TRUE(grammar.ok()) << spec.text << "\n" << grammar.status();
  return grammar.ok() ? *grammar : nullptr;
}

std::shared_ptr<Grammar> Schema(const std::string& text) {
  return Compiled({.kind = Kind::kJsonSchema, .text = text, .label = "schema"});
}

std::string ErrorOf(const GrammarSpec& spec) {
  const auto grammar = Grammar::Compile(spec, TestTrie());
  return grammar.ok() ? "" : base::Message(grammar.status());
}

std::string SchemaError(const std::string& text, bool strict = false) {
  return ErrorOf({.kind = Kind::kJsonSchema, .text = text, .label = "schema", .strict = strict});
}

// Whether the grammar takes a whole text, byte by byte.
bool Matches(const std::shared_ptr<Grammar>& grammar, std::string_view text) {
  GrammarMatcher matcher(grammar);
  return (text.empty() || matcher.AcceptText(text)) && matcher.may_end();
}

// The mask says what trying each token says: the obvious way is the judge of the fast one.
void CheckMask(const GrammarMatcher& at, const TokenTrie& trie, const TokenMask& mask,
               const std::string& text) {
  for (int32_t token = 0; token < trie.vocab_size(); ++token) {
    GrammarMatcher copy = at;
    ASSERT_EQ(Has(mask, token), copy.Accept(token))
        << "token " << token << " '" << trie.bytes(token) << "' behind '" << text << "'";
  }
}

struct Sampled {
  std::string text;
  bool ended = false;
};

// A text of random tokens; after `steps` it looks for the end.
Sampled Sample(const std::shared_ptr<Grammar>& grammar, uint32_t seed, int steps, bool check) {
  const auto trie = TestTrie();
  std::mt19937 random(seed);
  GrammarMatcher matcher(grammar);
  Sampled out;
  TokenMask mask;
  for (int step = 0; step < 40 * steps; ++step) {
    if (matcher.must_end() || (matcher.may_end() && (step > steps || random() % 4 == 0))) {
      out.ended = true;
      return out;
    }
    const absl::Status status = matcher.FillMask(&mask);
    EXPECT_TRUE(status.ok()) << status << " behind '" << out.text << "'";
    if (!status.ok()) return out;
    if (check && step < 40) CheckMask(matcher, *trie, mask, out.text);
    std::vector<int32_t> allowed, closing;
    for (int32_t token = 0; token < trie->vocab_size(); ++token) {
      if (!Has(mask, token)) continue;
      allowed.push_back(token);
      const std::string_view bytes = trie->bytes(token);
      if (bytes.size() == 1 && std::string_view("\"}]:n0").find(bytes) != bytes.npos) {
        closing.push_back(token);
      }
    }
    const auto& from = step > steps && !closing.empty() && random() % 4 != 0 ? closing : allowed;
    const int32_t token = from[random() % from.size()];
    EXPECT_TRUE(matcher.Accept(token));
    out.text += trie->bytes(token);
  }
  return out;
}

TEST(Grammar, JsonValues) {
  const auto grammar = Compiled({.kind = Kind::kJsonValue});
  for (const char* yes :
       {"null", "true", "0", "-12.5e+3", "\"\"", "\"a\\n\\u00e9\\ud83d\\ude00\"", "[]", "[1, [2]]",
        "{}", "{\"a\": {\"b\": [\n    1\n]}}", "{\"a\":1,\"b\":\"é😀\"}"}) {
    EXPECT_TRUE(Matches(grammar, yes)) << yes;
  }
  for (const char* no : {"",
                         "nul",
                         "01",
                         "1.",
                         "+1",
                         "\"",
                         "\"\n\"",
                         "\"\\x\"",
                         "\"\\ud83d\"",
                         "\"\\ude00\"",
                         "\"\xC3\"",
                         "\"\xED\xA0\x80\"",
                         "\"\xF4\x90\x80\x80\"",
                         "[1,]",
                         "[,]",
                         "{\"a\"}",
                         "{a:1}",
                         "{\"a\":1,}",
                         "[1] ",
                         " 1",
                         "[  1]",
                         "[\n\n1]"}) {
    EXPECT_FALSE(Matches(grammar, no)) << no;
  }
  const auto object = Compiled({.kind = Kind::kJsonObject});
  EXPECT_TRUE(Matches(object, "{\"a\": [1, {\"b\": null}]}"));
  EXPECT_FALSE(Matches(object, "[1]"));
}

TEST(Grammar, WhiteSpaceIsBounded) {
  GrammarMatcher matcher(Compiled({.kind = Kind::kJsonObject}));
  ASSERT_TRUE(matcher.AcceptText("{"));
  int spaces = 0;
  while (matcher.AcceptText(spaces == 0 ? "\n" : " ")) ASSERT_LT(++spaces, 30);
  EXPECT_EQ(spaces, 17);
  EXPECT_TRUE(matcher.AcceptText("\"a\": 1}"));
}

TEST(Grammar, RegexAndChoice) {
  const auto regex = Compiled({.kind = Kind::kRegex, .text = "(yes|no), [0-9]{2,3}(é|\\.)?"});
  EXPECT_TRUE(Matches(regex, "yes, 42"));
  EXPECT_TRUE(Matches(regex, "no, 421é"));
  EXPECT_FALSE(Matches(regex, "no, 4"));
  EXPECT_FALSE(Matches(regex, "xno, 42"));
  EXPECT_FALSE(Matches(regex, "no, 4211"));
  GrammarSpec choice{.kind = Kind::kChoice};
  for (const char* text : {"positive", "positively", "neg"}) {
    choice.parts.push_back({.kind = Kind::kText, .text = text});
  }
  GrammarMatcher matcher(Compiled(choice));
  EXPECT_TRUE(matcher.AcceptText("positive"));
  EXPECT_TRUE(matcher.may_end());
  EXPECT_FALSE(matcher.must_end());
  EXPECT_TRUE(matcher.AcceptText("ly"));
  EXPECT_TRUE(matcher.must_end());
  EXPECT_FALSE(matcher.AcceptText("x"));
}

TEST(Grammar, MarkersAreTokens) {
  const auto trie = TestTrie();
  const int32_t open = *trie->marker("<call>");
  GrammarSpec spec{.kind = Kind::kSequence,
                   .parts = {{.kind = Kind::kMarker, .text = "<call>"},
                             {.kind = Kind::kRepeat,
                              .min = 1,
                              .max = 2,
                              .parts = {{.kind = Kind::kText, .text = "ab"}}},
                             {.kind = Kind::kMarker, .text = "<none>"}}};
  GrammarMatcher matcher(Compiled(spec));
  TokenMask mask;
  ASSERT_TRUE(matcher.FillMask(&mask).ok());
  EXPECT_TRUE(Has(mask, open));
  EXPECT_FALSE(Has(mask, '<'));
  EXPECT_TRUE(matcher.Accept(open));
  EXPECT_FALSE(matcher.Accept(open));
  EXPECT_TRUE(matcher.AcceptText("abab<none>"));
  EXPECT_TRUE(matcher.must_end());
}

TEST(Grammar, Ebnf) {
  const auto grammar = Compiled({.kind = Kind::kEbnf, .text = R"x(
# sums
root ::= term (" + " term)*
term ::= num
  | "(" root ")"   # nested
num ::= [0-9]{1,3} | "x" [^a-z"\]]?
)x"});
  EXPECT_TRUE(Matches(grammar, "1 + (x + 22) + xÄ"));
  EXPECT_FALSE(Matches(grammar, "1 + "));
  EXPECT_FALSE(Matches(grammar, "1234"));
  EXPECT_FALSE(Matches(grammar, "xa"));
  const auto error = [](const char* text) { return ErrorOf({.kind = Kind::kEbnf, .text = text}); };
  EXPECT_NE(error("root ::= root \"a\" | \"b\"").find("begins with itself"), std::string::npos);
  EXPECT_NE(error("root ::= \"a\" root").find("without an end"), std::string::npos);
  EXPECT_NE(error("root ::= thing").find("'thing'"), std::string::npos);
  EXPECT_NE(error("a ::= \"b\"").find("'root'"), std::string::npos);
  EXPECT_NE(error("root ::= \"b").find("line 1"), std::string::npos);
  EXPECT_NE(error("root ::= (\"b\"").find("no ')'"), std::string::npos);
  EXPECT_NE(error(R"(root ::= "\uD83D")").find("surrogate"), std::string::npos);
  EXPECT_NE(error(R"(root ::= "\xg")").find("hexadecimal"), std::string::npos);
}

TEST(Grammar, SchemaKeepsOrderAndNames) {
  const auto grammar = Schema(R"({"type":"object","properties":{"a":{"type":"integer"},
      "b":{"type":"boolean"}},"required":["b"],"additionalProperties":{"type":"null"}})");
  EXPECT_TRUE(Matches(grammar, R"({"a": 1, "b": true})"));
  EXPECT_TRUE(Matches(grammar, R"({"b":false,"c":null,"ab":null})"));
  EXPECT_FALSE(Matches(grammar, R"({"a":1})"));
  EXPECT_FALSE(Matches(grammar, R"({"b":true,"a":1})"));
  EXPECT_FALSE(Matches(grammar, R"({"b":true,"a":null})"));       // a name of its own, again
  EXPECT_FALSE(Matches(grammar, R"({"b":true,"\u0061":null})"));  // in any spelling
}

TEST(Grammar, NamesAndPatternsHoldTogether) {
  const auto both = Schema(R"({"type":"object","properties":{"x_a":{"type":"string"}},
      "patternProperties":{"^x_":{"maxLength":2}}})");
  EXPECT_TRUE(Matches(both, R"({"x_a":"ab"})"));
  EXPECT_FALSE(Matches(both, R"({"x_a":"abc"})"));
  const auto names = Schema(R"({"type":"object","propertyNames":{"enum":[1,"a"]}})");
  EXPECT_TRUE(Matches(names, R"({"a":1})"));
  EXPECT_FALSE(Matches(names, R"({1:1})"));
}

TEST(Grammar, RefusedSchemasNameTheirPath) {
  const auto expect = [](const std::string& schema, const std::string& what) {
    const std::string error = SchemaError(schema);
    EXPECT_NE(error.find(what), std::string::npos) << schema << "\n" << error;
    EXPECT_NE(error.find("schema: "), std::string::npos) << error;
  };
  expect(R"({"properties":{"a":{"not":{}}}})", "#/properties/a/not");
  expect(R"({"items":{"type":"string","format":"phone"}})", "#/items/format");
  expect(R"({"uniqueItems":true,"type":"array"})", "#/uniqueItems");
  expect(R"({"type":"integer","multipleOf":7})", "#/multipleOf");
  expect(R"({"$ref":"#/$defs/x"})", "#/$ref");
  expect(R"({"$ref":"https://example.com/x"})", "#/$ref");
  expect(R"({"type":"strin"})", "#/type");
  expect(R"x({"pattern":"(?=x)"})x", "#/pattern");
  expect(R"({"pattern":"a\\bc"})", "#/pattern");
  expect(R"({"pattern":"(a"})", "#/pattern");
  expect(R"({"enum":[]})", "#/enum");
  expect(R"({"type":"integer","minimum":5,"maximum":4})", "#/maximum");
  expect(R"({"type":"object","required":["x"],"additionalProperties":false})", "#/required");
  expect(R"({"$ref":"#"})", "without an end");
  expect(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "end");
  expect(R"({"type":"object","minProperties":4,"maxProperties":1})", "#/maxProperties");
  // A bound that cannot be written is no reason to have none.
  expect(R"({"type":"number","minimum":0,"maximum":0.30000000000000004})", "#/maximum");
  expect(R"([1])", "object");
  expect(R"({"type":)", "JSON");
  expect(R"({"if":{},"then":{}})", "'if'");
  EXPECT_EQ(SchemaError(R"({"type":"string","reqired":[]})"), "");
  EXPECT_NE(SchemaError(R"({"type":"string","reqired":[]})", true), "");
}

// Hostile schemas cost little: a message, not memory or time.
TEST(Grammar, AbusiveSchemas) {
  std::vector<std::string> schemas;
  const auto repeated = [](const std::string& a, int n) {
    std::string out;
    for (int i = 0; i < n; ++i) out += a;
    return out;
  };
  schemas.push_back(repeated("{\"items\":", 5000) + "{}" + repeated("}", 5000));
  schemas.push_back(repeated("[", 100000));
  schemas.push_back(R"({"pattern":"(x{1000}){1000}"})");
  schemas.push_back(R"({"pattern":"((((a{9}){9}){9}){9}){9}"})");
  schemas.push_back(R"({"pattern":"(a|b)*a(a|b){60}"})");
  schemas.push_back(R"({"pattern":"(.{1,300}x){3}"})");
  schemas.push_back("{\"pattern\":\"" + repeated("(a|", 900) + "b" + repeated(")", 900) + "\"}");
  schemas.push_back(R"({"type":"string","pattern":"a.*b.*c.*d","maxLength":3000})");
  std::string doubling = R"({"$defs":{"d0":{"type":"string"})";
  for (int i = 1; i < 40; ++i) {
    const std::string below = "{\"$ref\":\"#/$defs/d" + std::to_string(i - 1) + "\"}";
    doubling += ",\"d" + std::to_string(i) + "\":{\"allOf\":[{\"anyOf\":[" + below +
                ",{\"minLength\":" + std::to_string(i) + "}]},{\"anyOf\":[" + below +
                ",{\"maxLength\":" + std::to_string(900 + i) + "}]}]}";
  }
  schemas.push_back(doubling + R"(},"$ref":"#/$defs/d39"})");
  std::string product = R"({"type":"object","allOf":[)";
  for (int i = 0; i < 24; ++i) {
    product += std::string(i > 0 ? "," : "") + "{\"anyOf\":[{\"required\":[\"a" +
               std::to_string(i) + "\"]},{\"required\":[\"b" + std::to_string(i) + "\"]}]}";
  }
  schemas.push_back(product + "]}");
  std::string optional = R"({"type":"object","properties":{)";
  for (int i = 0; i < 1000; ++i) {
    optional +=
        std::string(i > 0 ? "," : "") + "\"a_common_prefix_of_names_" + std::to_string(i) + "\":{}";
  }
  schemas.push_back(optional + "}}");
  const std::string ones = "[1" + repeated(",1", 30000) + "]";
  schemas.push_back(R"({"allOf":[{"enum":)" + ones + R"(},{"enum":[2)" + ones.substr(2) + "}]}");
  schemas.push_back(R"({"type":"object","required":["x")" + repeated(",\"y\"", 20000) + "]}");
  std::string patterns = R"({"patternProperties":{"a":{})";
  for (int i = 0; i < 1000; ++i) patterns += ",\"^[^x]{90}" + std::to_string(i) + "\":{}";
  schemas.push_back(patterns + "}}");
  schemas.push_back("{\"enum\":[\"" + repeated("x", 200000) + "\"]}");
  for (const std::string& schema : schemas) {
    const std::clock_t start = std::clock();  // processor time: the cores are shared
    EXPECT_NE(SchemaError(schema), "") << schema.substr(0, 200);
    const double ms = 1000.0 * static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    EXPECT_LT(ms, 1000) << schema.substr(0, 200);  // sanitizers included
    RecordProperty("ms", std::to_string(ms));
    if (std::getenv("INHOUSE_VERBOSE") != nullptr) {
      fprintf(stderr, "%7.1f ms  %.60s  %.200s\n", ms, schema.c_str(), SchemaError(schema).c_str());
    }
  }
}

TEST(Grammar, NestingHasAnEnd) {
  GrammarMatcher matcher(Compiled({.kind = Kind::kJsonValue}));
  int depth = 0;
  while (matcher.AcceptText("[")) ASSERT_LT(++depth, 1000);
  EXPECT_GT(depth, 100);
  EXPECT_FALSE(matcher.AcceptText("{"));
  // At every depth up to the limit the mask offers what is then taken, and nothing else.
  for (int left = 0; left < 4; ++left) {
    GrammarMatcher near(Compiled({.kind = Kind::kJsonValue}));
    for (int i = left; i < depth; ++i) ASSERT_TRUE(near.AcceptText("["));
    TokenMask mask;
    ASSERT_TRUE(near.FillMask(&mask).ok());
    CheckMask(near, *TestTrie(), mask, std::to_string(left) + " levels below the limit");
  }
  for (int i = 0; i < depth; ++i) ASSERT_TRUE(matcher.AcceptText("]"));
  EXPECT_TRUE(matcher.must_end());
}

// Random texts of all schemas, each mask judged by trying. With INHOUSE_SAMPLES the texts are
// written there, for a validator: tests/conformance/grammar_test.py.
TEST(Grammar, RandomTextsOfManySchemas) {
  std::ifstream file("tests/fixtures/grammar/schemas.jsonl");
  const char* out_path = std::getenv("INHOUSE_SAMPLES");
  std::ofstream out(out_path != nullptr ? out_path : "/dev/null");
  const uint32_t samples = out_path != nullptr ? 12 : 3;
  int schemas = 0, ended = 0;
  for (std::string line; std::getline(file, line); ++schemas) {
    const auto grammar = Schema(line);
    ASSERT_NE(grammar, nullptr);
    for (uint32_t seed = 0; seed < samples; ++seed) {
      const Sampled sampled = Sample(grammar, seed * 1000 + static_cast<uint32_t>(schemas),
                                     seed % 3 == 0 ? 5 : 60, out_path == nullptr && seed == 0);
      ASSERT_TRUE(base::IsValidUtf8(sampled.text.substr(0, sampled.ended ? std::string::npos : 0)));
      if (!sampled.ended) continue;
      ++ended;
      EXPECT_TRUE(nlohmann::json::accept(sampled.text)) << line << "\n" << sampled.text;
      out << nlohmann::json{{"schema", nlohmann::json::parse(line)}, {"text", sampled.text}}.dump()
          << "\n";
    }
    EXPECT_LT(grammar->memory_bytes(), size_t{24} << 20) << line;
  }
  EXPECT_GE(schemas, 150);
  EXPECT_GT(ended, schemas * static_cast<int>(samples) * 9 / 10);
}

}  // namespace
}  // namespace inhouse::engine
