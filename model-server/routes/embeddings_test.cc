#include "absl/strings/escaping.h"
#include "model-server/routes/app_fixture.h"

namespace inhouse::model_server {
namespace {

class EmbeddingsTest : public AppTest {
 protected:
  Reply Embed(const std::string& input, const std::string& extra = "") {
    return Call("POST", "/v1/embeddings", R"({"model":"scripted","input":)" + input + extra + "}");
  }
};

TEST_F(EmbeddingsTest, AllFormsOfInput) {
  Start();
  for (const char* input : {R"("abc")", R"(["abc"])", "[97,98,99]", "[[97,98,99]]"}) {
    const json answer = Embed(input).Json();
    ASSERT_EQ(answer.value("object", ""), "list") << answer.dump();
    EXPECT_EQ(answer["data"][0]["embedding"], json::parse("[97.0, 99.0, 0.0]")) << input;
    EXPECT_EQ(answer["data"][0]["object"], "embedding");
    EXPECT_EQ(answer["usage"]["prompt_tokens"], 3);
    EXPECT_EQ(answer["usage"]["total_tokens"], 3);
  }
}

TEST_F(EmbeddingsTest, Base64IsLittleEndianFloats) {
  Start();
  const json answer = Embed(R"("ab")", R"(,"encoding_format":"base64")").Json();
  std::string bytes;
  ASSERT_TRUE(absl::Base64Unescape(answer["data"][0]["embedding"].get<std::string>(), &bytes));
  EXPECT_EQ(bytes, std::string("\0\0\xC2\x42\0\0\xC4\x42\0\0\0\0", 12));  // 97, 98, 0
}

TEST_F(EmbeddingsTest, DimensionsShortenToLengthOne) {
  Start();
  const json answer = Embed(R"("ab")", R"(,"dimensions":2)").Json();
  const auto vector = answer["data"][0]["embedding"].get<std::vector<double>>();
  ASSERT_EQ(vector.size(), 2U);
  EXPECT_NEAR(vector[0] * vector[0] + vector[1] * vector[1], 1, 1e-6);
  EXPECT_NEAR(vector[0] / vector[1], 97.0 / 98.0, 1e-6);
}

TEST_F(EmbeddingsTest, PoolingIsTheServers) {
  AppOptions options;
  options.pooling = engine::Pooling::kLast;
  Start({}, options);
  EXPECT_EQ(Embed(R"("ab")").Json()["data"][0]["embedding"][2], 1.0);
}

// More inputs than the engine's queue takes: they take turns, and keep their order.
TEST_F(EmbeddingsTest, ManyInputsWaitForTheirTurn) {
  Start({.in_flight_max = 3});
  std::string inputs = "[";
  for (int i = 0; i < 300; ++i) {
    inputs += (i > 0 ? ",\"" : "\"") + std::string(1, static_cast<char>('a' + i % 26)) + "\"";
  }
  const json answer = Embed(inputs + "]").Json();
  ASSERT_EQ(answer["data"].size(), 300U) << answer.dump().substr(0, 200);
  for (size_t i = 0; i < 300; ++i) {
    EXPECT_EQ(answer["data"][i]["index"], i);
    EXPECT_EQ(answer["data"][i]["embedding"][0], static_cast<double>('a' + i % 26));
  }
}

TEST_F(EmbeddingsTest, ForeignIdsAreNamed) {
  Start();
  const Reply beyond = Embed("[[97,98],[97,100257]]");
  EXPECT_EQ(beyond.status, 400);
  EXPECT_EQ(beyond.Json()["error"]["param"], "input[1]");
  EXPECT_NE(beyond.body.find("check_embedding_ctx_length=False"), std::string::npos);
  // Bytes that are no characters do not come from text; a few at the ends do, of a text that was
  // cut by tokens.
  EXPECT_EQ(Embed("[97,97,97,97,97,255,255,255,97,97,97,97,97]").status, 400);
  EXPECT_EQ(Embed("[184,97,97,97,97,97,97,97,97,97,97,97]").status, 200);
}

TEST_F(EmbeddingsTest, BadRequestsAreNamed) {
  Start();
  const auto param = [this](const std::string& input, const std::string& extra = "") {
    const Reply reply = Embed(input, extra);
    EXPECT_EQ(reply.status, 400) << reply.body;
    return reply.Json()["error"].value("param", "");
  };
  EXPECT_EQ(param("null"), "input");
  EXPECT_EQ(param(R"("")"), "input");
  EXPECT_EQ(param("[]"), "input");
  EXPECT_EQ(param("{}"), "input");
  EXPECT_EQ(param(R"(["a",1])"), "input[1]");
  EXPECT_EQ(param(R"("a")", R"(,"dimensions":4)"), "dimensions");
  EXPECT_EQ(param(R"("a")", R"(,"dimensions":0)"), "dimensions");
  EXPECT_EQ(param(R"("a")", R"(,"encoding_format":"int8")"), "encoding_format");
  EXPECT_EQ(param("\"" + std::string(101, 'a') + "\""), "input");
  EXPECT_EQ(Call("POST", "/v1/embeddings", R"({"model":"other","input":"a"})").status, 404);
}

}  // namespace
}  // namespace inhouse::model_server
