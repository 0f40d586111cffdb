#include "monitoring/metrics/metrics.h"

#include <gtest/gtest.h>

namespace inhouse::monitoring {
namespace {

bool Has(const std::string& text, const std::string& line) {
  return ("\n" + text).find("\n" + line) != std::string::npos;
}

TEST(Metrics, HttpBeforeTheModel) {
  Metrics metrics("1.2", "abc");
  metrics.OnHttp({.handler = "/livez", .method = "GET", .status = 200, .seconds = 0.002});
  metrics.OnHttp({.handler = "/v1/models", .method = "GET", .status = 503, .seconds = 0.002});
  const std::string text = metrics.Text();
  EXPECT_TRUE(Has(text, "http_requests_total{handler=\"/livez\",method=\"GET\",status=\"2xx\"} 1"))
      << text;
  EXPECT_TRUE(Has(text, "inhouse_http_responses_total{code=\"503\"} 1"));
  EXPECT_TRUE(Has(text, "inhouse_build_info{commit=\"abc\",version=\"1.2\"} 1"));
  EXPECT_EQ(text.find("vllm:"), std::string::npos);
}

TEST(Metrics, EngineGaugesAndCounters) {
  Metrics metrics("1", "c");
  metrics.DescribeModel(
      {.name = "m", .architecture = "llama", .isa = "ref", .context_tokens = 2048});
  engine::EngineStats stats;
  stats.running = 3;
  stats.waiting = 2;
  stats.kv_pages_used = 1;
  stats.kv_pages_total = 4;
  stats.prompt_tokens = 100;
  metrics.SetEngine(stats);
  stats.prompt_tokens = 150;
  stats.prefix_queries = 200;
  stats.prefix_hits = 50;
  metrics.SetEngine(stats);
  const std::string text = metrics.Text();
  const std::string labels = "{engine=\"0\",model_name=\"m\"}";
  EXPECT_TRUE(Has(text, "vllm:num_requests_running" + labels + " 3")) << text;
  EXPECT_TRUE(Has(text, "vllm:num_requests_waiting" + labels + " 2"));
  EXPECT_TRUE(Has(text, "vllm:kv_cache_usage_perc" + labels + " 0.25"));
  EXPECT_TRUE(Has(text, "vllm:prompt_tokens_total" + labels + " 150"));
  EXPECT_TRUE(Has(text, "vllm:prefix_cache_queries_total" + labels + " 200"));
  EXPECT_TRUE(Has(text, "vllm:prefix_cache_hits_total" + labels + " 50"));
  EXPECT_TRUE(Has(text, "vllm:prompt_tokens_cached_total" + labels + " 50"));
}

TEST(Metrics, FinishedRequest) {
  Metrics metrics("1", "c");
  metrics.DescribeModel({.name = "m", .context_tokens = 100});
  metrics.OnFinished({.finish_reason = "stop",
                      .prompt_tokens = 10,
                      .generation_tokens = 5,
                      .max_tokens = 16,
                      .n = 2,
                      .e2e_seconds = 3,
                      .first_token_seconds = 1.0,
                      .queue_seconds = 0.5,
                      .prefill_seconds = 0.5,
                      .decode_seconds = 2.0});
  const std::string text = metrics.Text();
  const std::string labels = "engine=\"0\",model_name=\"m\"";
  EXPECT_TRUE(Has(
      text, "vllm:request_success_total{engine=\"0\",finished_reason=\"stop\",model_name=\"m\"} 1"))
      << text;
  EXPECT_TRUE(Has(text, "vllm:time_to_first_token_seconds_bucket{" + labels + ",le=\"0.75\"} 0"));
  EXPECT_TRUE(Has(text, "vllm:time_to_first_token_seconds_bucket{" + labels + ",le=\"1\"} 1"));
  EXPECT_TRUE(Has(text, "vllm:time_to_first_token_seconds_bucket{" + labels + ",le=\"2560\"} 1"));
  EXPECT_TRUE(Has(text, "vllm:request_time_per_output_token_seconds_sum{" + labels + "} 0.5"));
  EXPECT_TRUE(Has(text, "vllm:request_prompt_tokens_bucket{" + labels + ",le=\"100\"} 1"));
  EXPECT_FALSE(Has(text, "vllm:request_prompt_tokens_bucket{" + labels + ",le=\"200\"} 1"));
}

}  // namespace
}  // namespace inhouse::monitoring
