// What people write, what is chosen of a repository, and where a URL leads.
#include <gtest/gtest.h>

#include "base/status.h"
#include "lifecycle/hub/http.h"
#include "lifecycle/hub/pull.h"
#include "lifecycle/hub/retry.h"
#include "lifecycle/hub/select.h"

namespace inhouse::lifecycle {
namespace {

PullTarget Parsed(const std::string& text) {
  const auto target = ParsePullTarget(text, HubKind::kHuggingFace);
  EXPECT_TRUE(target.ok()) << text << ": " << target.status();
  return target.value_or(PullTarget{});
}

TEST(Target, Repositories) {
  PullTarget target = Parsed("deepseek-ai/DeepSeek-R1");
  EXPECT_EQ(target.repo, "deepseek-ai/DeepSeek-R1");
  EXPECT_EQ(target.name, "deepseek-ai/DeepSeek-R1");
  EXPECT_EQ(target.hub, HubKind::kHuggingFace);
  EXPECT_EQ(Parsed("org/repo@refs/pr/1").revision, "refs/pr/1");
  EXPECT_EQ(Parsed("modelscope:Qwen/Qwen3-8B").hub, HubKind::kModelScope);
  EXPECT_EQ(Parsed("https://huggingface.co/org/repo").repo, "org/repo");
  EXPECT_EQ(Parsed("hf:gpt2").repo, "gpt2");
}

TEST(Target, OneFileOfARepository) {
  for (const char* text : {"org/repo/sub/x-Q4_0-00001-of-00003.gguf@v1",
                           "org/repo@v1/sub/x-Q4_0-00001-of-00003.gguf"}) {
    const PullTarget target = Parsed(text);
    EXPECT_EQ(target.repo, "org/repo") << text;
    EXPECT_EQ(target.file, "sub/x-Q4_0-00001-of-00003.gguf") << text;
    EXPECT_EQ(target.revision, "v1") << text;
    EXPECT_EQ(target.name, "org/repo/x-Q4_0") << text;
  }
}

TEST(Target, WellKnownAndLocal) {
  EXPECT_EQ(Parsed("SmolLM2-135M-Instruct").kind, PullTarget::Kind::kWellKnown);
  EXPECT_EQ(Parsed("./somewhere/My Model/").kind, PullTarget::Kind::kLocal);
  EXPECT_EQ(Parsed("./somewhere/My Model/").name, "My-Model");
  EXPECT_EQ(Parsed("/c/models--org--repo/snapshots/abc").name, "org/repo");
}

TEST(Target, WhatCannotBeMeant) {
  for (const char* text : {"", "a b", "a/", "/", "org/repo@", "org//x", "smollm2-135m-instrukt",
                           "org/repo@a..b", "../../x/y@"}) {
    const auto target = ParsePullTarget(text, HubKind::kHuggingFace);
    EXPECT_TRUE(!target.ok() || target->kind == PullTarget::Kind::kLocal) << text;
  }
}

std::vector<std::string> Selected(std::vector<std::string> paths, const Selection& selection = {}) {
  const auto chosen = SelectFiles(std::move(paths), selection, "repo");
  EXPECT_TRUE(chosen.ok()) << chosen.status();
  return chosen.value_or(std::vector<std::string>{});
}

TEST(Select, TheModelWithoutSecondCopies) {
  const std::vector<std::string> chosen = Selected(
      {"config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
       "model.safetensors.index.json", "tokenizer.json", "chat_template.jinja", "merges.txt",
       "LICENSE-MODEL", "pytorch_model.bin", "pytorch_model.bin.index.json",
       "consolidated.safetensors", "original/consolidated.00.pth", "onnx/model.onnx",
       "figures/a.png", "inference/config.json", "additional_chat_templates/tool.jinja",
       "model-Q4_0.gguf", ".gitattributes"});
  EXPECT_EQ(chosen, (std::vector<std::string>{
                        "LICENSE-MODEL", "additional_chat_templates/tool.jinja",
                        "chat_template.jinja", "config.json", "merges.txt",
                        "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
                        "model.safetensors.index.json", "tokenizer.json"}));
}

TEST(Select, GlobsMatchAcrossDirectories) {
  const std::vector<std::string> paths = {"a.json", "x/b.json", "x/c.bin"};
  EXPECT_EQ(Selected(paths, {.include = {"*.json"}}).size(), 2U);
  EXPECT_EQ(Selected(paths, {.include = {"x/"}}).size(), 2U);
  EXPECT_EQ(Selected(paths, {.include = {"*"}, .exclude = {"*.bin", "a*"}}),
            std::vector<std::string>{"x/b.json"});
  EXPECT_FALSE(SelectFiles(paths, {.include = {"nothing"}}, "repo").ok());
}

TEST(Select, SplitGgufComesWhole) {
  const std::vector<std::string> paths = {"x-00001-of-00002.gguf", "x-00002-of-00002.gguf",
                                          "x.gguf", "y-00001-of-00002.gguf"};
  EXPECT_EQ(Selected(paths, {.file = "x-00001-of-00002.gguf"}).size(), 2U);
  EXPECT_EQ(Selected(paths, {.file = "x.gguf"}), std::vector<std::string>{"x.gguf"});
  EXPECT_EQ(GgufStem("d/x-00001-of-00002.gguf"), "d/x");
  EXPECT_EQ(GgufStem("x-1-of-2.gguf"), "x-1-of-2");
}

TEST(Url, OriginsAreComparedWhole) {
  EXPECT_EQ(*UrlOrigin("https://Hub.example/a"), "https://hub.example:443");
  EXPECT_EQ(*UrlOrigin("https://user:pw@hub.example:443/"), *UrlOrigin("https://hub.example"));
  EXPECT_NE(*UrlOrigin("https://hub.example"), *UrlOrigin("http://hub.example:443"));
  EXPECT_NE(*UrlOrigin("https://hub.example"), *UrlOrigin("https://hub.example.evil"));
  EXPECT_NE(*UrlOrigin("https://hub.example"), *UrlOrigin("https://hub.example@evil"));
  for (const char* bad : {"", "ftp://x", "file:///etc/passwd", "http://", "x y"}) {
    EXPECT_FALSE(UrlOrigin(bad).ok()) << bad;
  }
}

TEST(Url, SecretsAreNotPrinted) {
  EXPECT_EQ(PrintableUrl("https://u:secret@h/p?signature=secret#secret"), "https://h/p");
  EXPECT_EQ(UrlEncode("a b/ü?", KeepSlash::kYes), "a%20b/%C3%BC%3F");
  EXPECT_EQ(UrlEncode("refs/pr/1"), "refs%2Fpr%2F1");
}

TEST(Retry, WaitsDoubleUpToALimitAndTheHubGoesFirst) {
  const RetryPolicy policy = {.wait_seconds = 1, .wait_seconds_max = 10};
  EXPECT_EQ(policy.Wait(1, {}), 1);
  EXPECT_EQ(policy.Wait(3, {}), 4);
  EXPECT_EQ(policy.Wait(30, {}), 10);
  EXPECT_EQ(policy.Wait(1, 7.5), 7.5);
  EXPECT_TRUE(IsTransientStatus(429) && IsTransientStatus(503) && !IsTransientStatus(404));
}

TEST(Retry, RetryAfterInBothForms) {
  HttpResponse response;
  response.headers["retry-after"] = "120";
  EXPECT_EQ(response.RetryAfter(), 120);
  response.headers["retry-after"] = "Wed, 21 Oct 2015 07:28:00 GMT";
  EXPECT_EQ(response.RetryAfter(), 0);
  for (const char* bad : {"-1", "soon", "nan", "inf"}) {
    response.headers["retry-after"] = bad;
    EXPECT_FALSE(response.RetryAfter().has_value()) << bad;
  }
}

}  // namespace
}  // namespace inhouse::lifecycle
