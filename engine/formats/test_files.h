// For the tests of this room only: files written on purpose, well-formed or not.
#pragma once

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/status/status.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace inhouse::engine {

inline std::span<const std::byte> Bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// The number as little-endian bytes.
template <typename T>
std::string Raw(T value) {
  std::string out(sizeof(T), '\0');
  std::memcpy(out.data(), &value, sizeof(T));
  if constexpr (std::endian::native == std::endian::big)
    out = std::string(out.rbegin(), out.rend());
  return out;
}

// A safetensors file with this header text and data.
inline std::string Safetensors(std::string_view header, std::string_view data = "") {
  return Raw<uint64_t>(header.size()) + std::string(header) + std::string(data);
}

// "name": {"dtype": ..., "shape": ..., "data_offsets": ...}
inline std::string Entry(std::string_view name, std::string_view dtype, std::string_view shape,
                         std::string_view offsets) {
  std::string text = "\"";
  text.append(name).append("\":{\"dtype\":\"").append(dtype).append("\",\"shape\":").append(shape);
  return text.append(",\"data_offsets\":").append(offsets).append("}");
}

inline std::string GgufString(std::string_view text) {
  return Raw<uint64_t>(text.size()) + std::string(text);
}

// Writes a GGUF file piece by piece; every field can be made to lie.
struct GgufFile {
  std::string magic = "GGUF";
  uint32_t version = 3;
  uint64_t alignment = 32;
  uint64_t tensors = 0;
  uint64_t values = 0;
  std::string kv;
  std::string infos;
  std::string data;

  template <typename T>
  GgufFile& Value(std::string_view key, uint32_t type, T value) {
    return RawValue(key, type, Raw(value));
  }
  GgufFile& Text(std::string_view key, std::string_view text) {
    return RawValue(key, 8, GgufString(text));
  }
  GgufFile& RawValue(std::string_view key, uint32_t type, const std::string& bytes) {
    kv += GgufString(key) + Raw(type) + bytes;
    ++values;
    return *this;
  }
  // `dims` in the file's order: the contiguous one first.
  GgufFile& Info(std::string_view name, std::initializer_list<uint64_t> dims, uint32_t type,
                 uint64_t offset) {
    infos += GgufString(name) + Raw(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) infos += Raw(dim);
    infos += Raw(type) + Raw(offset);
    ++tensors;
    return *this;
  }
  // A tensor of `bytes` bytes, all `fill`, at the end of the data so far.
  GgufFile& Tensor(std::string_view name, std::initializer_list<uint64_t> dims, uint32_t type,
                   size_t bytes, char fill = 0) {
    data.resize((data.size() + alignment - 1) / alignment * alignment);
    Info(name, dims, type, data.size());
    data.append(bytes, fill);
    return *this;
  }
  std::string Header() const {
    return magic + Raw(version) + Raw(tensors) + Raw(values) + kv + infos;
  }
  std::string Build() const {
    std::string file = Header();
    if (tensors > 0) file.resize((file.size() + alignment - 1) / alignment * alignment);
    return file + data;
  }
};

// A test with a directory of its own.
class FilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "inhouse-formats-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override {
    std::error_code error;
    if (!dir_.empty()) std::filesystem::remove_all(dir_, error);
  }
  // Returns the path.
  std::string Write(const std::string& name, std::string_view content) const {
    const std::string path = dir_ + "/" + name;
    std::ofstream file(path, std::ios::binary);
    file.write(content.data(), static_cast<std::streamsize>(content.size()));
    EXPECT_TRUE(file.good()) << path;
    return path;
  }
  std::string dir_;
};

// Expects an error that names the file and contains `text`, in one line of bounded length.
inline void ExpectRefused(const absl::Status& status, std::string_view file,
                          const std::string& text) {
  ASSERT_FALSE(status.ok()) << "accepted; expected: " << text;
  const std::string message = base::Message(status);
  EXPECT_THAT(message, testing::HasSubstr(std::string(file)));
  EXPECT_THAT(message, testing::HasSubstr(text));
  EXPECT_LT(message.size(), 700U) << message;
  for (const char c : message) EXPECT_GE(static_cast<unsigned char>(c), 0x20) << message;
}

}  // namespace inhouse::engine
