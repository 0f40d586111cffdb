#include "apps/inhouse/serve_settings.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "model-server/net/tls.h"

namespace inhouse::apps {
namespace {

constexpr int64_t kCountMax = 1'000'000'000'000'000;
constexpr base::Range<double> kSeconds = {0.1, 86400};
constexpr size_t kDiskKeyBytesMin = 32;
constexpr base::Range<double> kDiskGib = {0.001, 1e6};

std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

// The one list of fields; what is done with each is the visitor's business.
template <typename Visitor>
void VisitServer(Visitor& visit, ServeSettings& s) {
  visit.Section("server");
  visit.Text("host", s.server.host);
  visit.Int("port", s.server.port, {0, 65535});
  visit.List("served_names", s.app.served_names);
  visit.Int("connections", s.server.connections_max, {1, 1'000'000});
  visit.Int("body_mib", s.body_mib_max, {1, 1024});
  visit.Int("bodies_mib", s.bodies_mib_max, {1, 1 << 20});
  visit.Int("header_kib", s.header_kib_max, {1, 1024});
  visit.Number("header_seconds", s.header_seconds, kSeconds);
  visit.Number("body_seconds", s.body_seconds, kSeconds);
  visit.Number("idle_seconds", s.idle_seconds, kSeconds);
  visit.Number("write_seconds", s.write_seconds, kSeconds);
  visit.Number("keep_alive_seconds", s.keep_alive_seconds, {0.1, 3600});
  visit.Number("drain_seconds", s.drain_seconds, {0, 86400});
  visit.Text("batches_dir", s.batches_dir);
  visit.Section("tls");
  visit.Text("cert", s.server.tls.cert_file);
  visit.Text("key", s.server.tls.key_file);
  visit.Text("client_ca", s.server.tls.client_ca_file);
  visit.Section("log");
  visit.Text("requests", s.request_log);
  visit.Text("record", s.record_dir);
  visit.Number("record_gib", s.record_gib, kDiskGib);
  visit.Section("traces");
  visit.Text("endpoint", s.traces.endpoint);
  visit.Choice("sampler", s.traces.sampler,
               {"", "always_on", "always_off", "traceidratio", "parentbased_always_on",
                "parentbased_always_off", "parentbased_traceidratio"});
  visit.Number("sampler_ratio", s.traces.sampler_ratio, {-1, 1});
}

template <typename Visitor>
void VisitModel(Visitor& visit, ServeSettings& s) {
  visit.Section("model");
  visit.Text("path", s.engine.model);
  visit.Int("threads", s.engine.threads, {0, 1024});
  visit.Int("context", s.engine.context_tokens, {0, int64_t{1} << 32});
  visit.Int("max_sequences", s.engine.max_sequences, {1, 4096});
  visit.Int("queue", s.engine.queue_max, {0, 1'000'000});
  visit.Int("prefill_chunk", s.engine.prefill_chunk, {1, 65536});
  visit.Number("step_ms", s.engine.step_ms, {1, 60000});
  visit.Flag("prefix_cache", s.engine.prefix_cache);
  visit.Number("kv_gib", s.kv_gib, {0, 1e6});
  visit.Text("kv_disk", s.engine.kv_disk);
  visit.Number("kv_disk_gib", s.kv_disk_gib, kDiskGib);
  visit.Text("kv_disk_key", s.kv_disk_key_file);
  std::string policy = s.app.client_priority ? "priority" : "fair";
  visit.Choice("scheduling_policy", policy, {"fair", "priority"});
  s.app.client_priority = policy == "priority";
  std::string pooling = s.app.pooling == engine::Pooling::kLast ? "last" : "mean";
  visit.Choice("pooling", pooling, {"mean", "last"});
  s.app.pooling = pooling == "last" ? engine::Pooling::kLast : engine::Pooling::kMean;
  visit.Choice("kv_type", s.engine.kv_type, {"auto", "f32", "f16", "bf16", "fp8"});
  visit.Int("activation_bits", s.engine.activation_bits, {8, 16});
  visit.Text("packed", s.engine.packed);
  visit.Text("root", s.model_root);
  visit.List("adapters", s.adapters);
  visit.Text("adapter_root", s.adapter_root);
  visit.Int("max_adapters", s.engine.adapters_max, {1, 10'000});
  visit.Int("max_adapter_rank", s.engine.adapter_rank_max, {1, 4096});
  visit.Int("adapter_mib", s.adapter_mib, {0, 1 << 24});
}

template <typename Visitor>
void VisitGuard(Visitor& visit, ServeSettings& s) {
  visit.Section("guard");
  visit.Text("keys", s.guard.keys_file);
  visit.Text("usage_file", s.guard.usage_file);
  visit.Blocks("allow", s.guard.allow);
  visit.Blocks("deny", s.guard.deny);
  visit.Blocks("trusted_proxies", s.guard.trusted_proxies);
  visit.Choice("forwarded_header", s.guard.forwarded_header, {"x-forwarded-for", "forwarded"});
  visit.Flag("insecure_no_auth", s.guard.insecure_no_auth);
  visit.Section("quota");
  visit.Int("requests_per_minute", s.guard.quota.requests_per_minute, {0, kCountMax});
  visit.Int("requests_per_day", s.guard.quota.requests_per_day, {0, kCountMax});
  visit.Int("tokens_per_minute", s.guard.quota.tokens_per_minute, {0, kCountMax});
  visit.Int("tokens_per_day", s.guard.quota.tokens_per_day, {0, kCountMax});
  visit.Int("concurrent", s.guard.quota.concurrent, {0, 1'000'000});
}

template <typename Visitor>
void VisitAll(Visitor& visit, ServeSettings& settings) {
  VisitServer(visit, settings);
  VisitModel(visit, settings);
  VisitGuard(visit, settings);
}

class Reader {
 public:
  explicit Reader(const base::ConfigFile& file) : file_(file), table_(file.root()) {}
  void Section(const char* name) { table_ = file_.root().Table(name); }
  void Text(const char* name, std::string& value) { table_.Read(name, &value); }
  void Flag(const char* name, bool& value) { table_.Read(name, &value); }
  void List(const char* name, std::vector<std::string>& value) { table_.Read(name, &value); }
  void Number(const char* name, double& value, base::Range<double> range) {
    table_.Read(name, &value, range);
  }
  template <typename T>
  void Int(const char* name, T& value, base::Range<int64_t> range) {
    table_.ReadInt(name, &value, range);
  }
  void Choice(const char* name, std::string& value, const std::vector<std::string>& choices) {
    std::string read;
    if (!table_.Read(name, &read)) return;
    for (const std::string& choice : choices) {
      if (read == choice) value = read;
    }
    if (value != read) table_.Refuse(name, read, "one of " + base::TomlStrings(choices));
  }
  bool Blocks(const char* name, std::vector<std::string>& value) {
    if (!table_.Read(name, &value)) return false;
    const auto list = guard::CidrList::Parse(value);
    if (!list.ok()) table_.Refuse(name, "", base::Message(list.status()));
    return true;
  }
  void Blocks(const char* name, std::optional<std::vector<std::string>>& value) {
    std::vector<std::string> list;
    if (Blocks(name, list)) value = std::move(list);
  }

 private:
  const base::ConfigFile& file_;
  base::ConfigTable table_;
};

class Writer {
 public:
  struct Line {
    std::string section;
    std::string name;
    std::string value;  // "" = not set, which TOML cannot say
  };
  void Section(const char* name) { section_ = name; }
  void Text(const char* name, const std::string& value) { Add(name, base::TomlString(value)); }
  void Flag(const char* name, bool value) { Add(name, value ? "true" : "false"); }
  void List(const char* name, const std::vector<std::string>& value) {
    Add(name, base::TomlStrings(value));
  }
  void Number(const char* name, double value, base::Range<double>) {
    Add(name, fmt::format("{}", value));
  }
  template <typename T>
  void Int(const char* name, const T& value, base::Range<int64_t>) {
    Add(name, fmt::format("{}", value));
  }
  void Choice(const char* name, const std::string& value, const std::vector<std::string>&) {
    Text(name, value);
  }
  void Blocks(const char* name, const std::vector<std::string>& value) { List(name, value); }
  void Blocks(const char* name, const std::optional<std::vector<std::string>>& value) {
    Add(name, value ? base::TomlStrings(*value) : "");
  }
  const std::vector<Line>& lines() const { return lines_; }

 private:
  void Add(const char* name, std::string value) {
    lines_.push_back({section_, name, std::move(value)});
  }
  std::string section_;
  std::vector<Line> lines_;
};

std::vector<Writer::Line> LinesOf(const ServeSettings& settings) {
  ServeSettings copy = settings;
  Writer writer;
  VisitAll(writer, copy);
  return writer.lines();
}

// What SIGHUP brings into a running server with another engine: all of the model that is not the
// server's own business.
bool IsSwapped(const Writer::Line& line) {
  static constexpr std::string_view kServer[] = {"scheduling_policy", "pooling", "root",
                                                 "adapter_root"};
  return line.section == "model" &&
         std::find(std::begin(kServer), std::end(kServer), line.name) == std::end(kServer);
}

// What SIGHUP brings into a running server.
bool IsLive(const Writer::Line& line) {
  static constexpr std::string_view kStarted[] = {"usage_file", "insecure_no_auth"};
  if (line.section == "tls" || line.section == "quota") return true;
  if (line.section != "guard") return false;
  for (const std::string_view name : kStarted) {
    if (line.name == name) return false;
  }
  return true;
}

}  // namespace

void ServeSettings::Apply() {
  server.limits.body_bytes_max = body_mib_max << 20;
  server.limits.header_bytes_max = header_kib_max << 10;
  server.body_bytes_total_max = bodies_mib_max << 20;
  server.header_timeout = Milliseconds(header_seconds);
  server.body_timeout = Milliseconds(body_seconds);
  server.idle_timeout = Milliseconds(idle_seconds);
  server.write_timeout = Milliseconds(write_seconds);
  app.keep_alive = Milliseconds(keep_alive_seconds);
}

void ReadSettings(const base::ConfigFile& file, ServeSettings* settings) {
  Reader reader(file);
  VisitAll(reader, *settings);
  if (const int bits = settings->engine.activation_bits; bits != 8 && bits != 16) {
    file.root().Table("model").Refuse("activation_bits", std::to_string(bits), "8 or 16");
  }
  const base::ConfigTable tls = file.root().Table("tls");
  const model_server::TlsOptions& options = settings->server.tls;
  if (options.cert_file.empty() != options.key_file.empty()) {
    tls.Refuse(options.cert_file.empty() ? "cert" : "key", "", "a file, since the other is given");
  } else if (options.cert_file.empty() && !options.client_ca_file.empty()) {
    tls.Refuse("client_ca", options.client_ca_file, "to stand beside tls.cert and tls.key");
  }
}

absl::Status LoadSettings(const std::string& path, ServeSettings* settings) {
  INHOUSE_ASSIGN_OR_RETURN(const auto file, base::ConfigFile::Load(path));
  ReadSettings(*file, settings);
  return file->status();
}

std::vector<absl::Status> CheckFiles(const ServeSettings& settings) {
  std::vector<absl::Status> problems;
  if (const auto policy = ReadPolicy(settings.guard); !policy.ok()) {
    problems.push_back(policy.status());
  }
  if (!settings.server.tls.cert_file.empty()) {
    const auto tls = model_server::TlsContext::Load(settings.server.tls);
    if (!tls.ok()) problems.push_back(tls.status());
  }
  ServeSettings copy = settings;
  absl::Status cache = SetUpKvCache(&copy);
  if (!cache.ok()) problems.push_back(std::move(cache));
  return problems;
}

absl::Status SetUpKvCache(ServeSettings* settings) {
  const std::string& directory = settings->engine.kv_disk;
  const std::string& path = settings->kv_disk_key_file;
  settings->engine.kv_bytes = static_cast<int64_t>(settings->kv_gib * double{1 << 30});
  settings->engine.kv_disk_bytes = static_cast<int64_t>(settings->kv_disk_gib * double{1 << 30});
  if (directory.empty()) return absl::OkStatus();
  if (path.empty()) {
    return base::InvalidInput({.field = "kv_disk_key",
                               .expected = "a file with a secret, since what is kept on disk is "
                                           "encrypted",
                               .hint = "`(umask 077; openssl rand -hex 32 > FILE)`, then "
                                       "--kv-disk-key FILE."});
  }
  INHOUSE_ASSIGN_OR_RETURN(std::string key, base::ReadSecretFile(path));
  if (key.size() < kDiskKeyBytesMin) {
    return base::InvalidInput({.file = path,
                               .value = fmt::format("{} bytes", key.size()),
                               .expected = "a secret of at least 32 bytes",
                               .hint = "`openssl rand -hex 32` makes one."});
  }
  settings->engine.kv_disk_key = std::move(key);
  return absl::OkStatus();
}

std::string FormatSettings(const ServeSettings& settings) {
  std::string out;
  std::string section;
  for (const Writer::Line& line : LinesOf(settings)) {
    if (line.section != section) {
      out += fmt::format("{}[{}]\n", section.empty() ? "" : "\n", line.section);
      section = line.section;
    }
    out += line.value.empty() ? fmt::format("# {} is not set\n", line.name)
                              : fmt::format("{} = {}\n", line.name, line.value);
  }
  return out;
}

bool IsLoopback(const std::string& host) {
  const auto address = guard::IpAddress::Parse(host);
  return host == "localhost" ||
         (address && guard::CidrList::Parse({"127.0.0.0/8", "::1"})->Contains(*address));
}

std::optional<std::string> RootOf(const std::string& root, bool only_this_machine) {
  if (!root.empty()) return root;
  return only_this_machine ? std::make_optional<std::string>("/") : std::nullopt;
}

absl::Status SetAdapters(ServeSettings* settings) {
  for (const std::string& adapter : settings->adapters) {
    const size_t equals = adapter.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == adapter.size()) {
      return base::InvalidInput({.field = "--adapter", .value = adapter, .expected = "NAME=DIR"});
    }
    settings->engine.adapters.push_back({adapter.substr(0, equals), adapter.substr(equals + 1)});
  }
  settings->engine.adapter_bytes = settings->adapter_mib << 20;
  settings->engine.adapters_max =
      std::max(settings->engine.adapters_max, static_cast<int>(settings->engine.adapters.size()));
  for (const auto& [flag, root] : {std::pair("--adapter-root", settings->adapter_root),
                                   std::pair("--model-root", settings->model_root)}) {
    std::error_code error;
    if (!root.empty() && !std::filesystem::is_directory(root, error)) {
      return base::InvalidInput({.field = flag, .value = root, .expected = "a directory"});
    }
  }
  settings->app.adapter_root = RootOf(settings->adapter_root, IsLoopback(settings->server.host));
  return absl::OkStatus();
}

bool ModelChanged(const ServeSettings& now, const ServeSettings& wanted) {
  const std::vector<Writer::Line> before = LinesOf(now);
  const std::vector<Writer::Line> after = LinesOf(wanted);
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].value != after[i].value && IsSwapped(before[i])) return true;
  }
  return false;
}

void TakeModel(const ServeSettings& from, ServeSettings* to) {
  to->engine = from.engine;
  to->adapters = from.adapters;
  to->adapter_mib = from.adapter_mib;
  to->kv_gib = from.kv_gib;
  to->kv_disk_key_file = from.kv_disk_key_file;
  to->kv_disk_gib = from.kv_disk_gib;
}

std::vector<std::string> NeedRestart(const ServeSettings& now, const ServeSettings& wanted) {
  std::vector<std::string> names;
  const std::vector<Writer::Line> before = LinesOf(now);
  const std::vector<Writer::Line> after = LinesOf(wanted);
  for (size_t i = 0; i < before.size(); ++i) {
    if (before[i].value == after[i].value || IsLive(before[i]) || IsSwapped(before[i])) continue;
    names.push_back(before[i].section + "." + before[i].name);
  }
  if (now.server.tls.cert_file.empty() != wanted.server.tls.cert_file.empty()) {
    names.emplace_back("tls.cert");
  }
  return names;
}

}  // namespace inhouse::apps
