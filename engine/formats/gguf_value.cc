// Values of a GGUF header: a type number, then a number, a string or an array.
#include "engine/formats/gguf_value.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Elements of an array take up to 32 bytes in memory for 8 in the file; vocabularies have less than
// half a million entries, merges about as many.
constexpr uint64_t kArrayElementsMax = 1ULL << 23;

enum class ValueType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// Bytes of a value; for a string the least that it takes; 0 for an array or an unknown type.
uint64_t ValueBytes(uint32_t type) {
  switch (static_cast<ValueType>(type)) {
    case ValueType::kU8:
    case ValueType::kI8:
    case ValueType::kBool:
      return 1;
    case ValueType::kU16:
    case ValueType::kI16:
      return 2;
    case ValueType::kU32:
    case ValueType::kI32:
    case ValueType::kF32:
      return 4;
    case ValueType::kString:
    case ValueType::kU64:
    case ValueType::kI64:
    case ValueType::kF64:
      return 8;
    case ValueType::kArray:
      return 0;
  }
  return 0;
}

// Reads `count` elements with `read`, which is a member of GgufCursor.
template <typename T, typename Read>
absl::StatusOr<GgufValue> ReadArrayOf(uint64_t count, const Read& read) {
  std::vector<T> elements;
  elements.reserve(count);  // the caller has checked that the file has the bytes
  for (uint64_t i = 0; i < count; ++i) {
    INHOUSE_ASSIGN_OR_RETURN(auto element, read());
    elements.push_back(std::move(element));
  }
  return GgufValue(std::move(elements));
}

// An integer, widened.
template <typename T>
absl::StatusOr<int64_t> ReadInteger(GgufCursor& cursor) {
  const uint64_t start = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(const T value, cursor.Number<T>());
  if constexpr (std::is_same_v<T, uint64_t>) {
    if (value > INT64_MAX) {
      return cursor.Bad(start, fmt::format("{}", value), "array elements below 2^63");
    }
  }
  return static_cast<int64_t>(value);
}

template <typename T>
absl::StatusOr<double> ReadFloat(GgufCursor& cursor) {
  INHOUSE_ASSIGN_OR_RETURN(const T value, cursor.Number<T>());
  return static_cast<double>(value);
}

absl::StatusOr<bool> ReadBool(GgufCursor& cursor) {
  const uint64_t start = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(const uint8_t value, cursor.Number<uint8_t>());
  if (value > 1) return cursor.Bad(start, fmt::format("{}", value), "a boolean, 0 or 1");
  return value == 1;
}

absl::StatusOr<std::string> ReadString(GgufCursor& cursor) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string_view text,
                           cursor.String(std::numeric_limits<uint64_t>::max()));
  return std::string(text);
}

absl::StatusOr<GgufValue> ReadArray(GgufCursor& cursor) {
  const uint64_t start = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t type, cursor.Number<uint32_t>());
  const uint64_t element_bytes = ValueBytes(type);
  if (element_bytes == 0) {
    return cursor.Bad(start, fmt::format("{}", type),
                      "the type of array elements to be 0 to 8 or 10 to 12 (no nested arrays)");
  }
  const uint64_t count_offset = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(const uint64_t count, cursor.Number<uint64_t>());
  const uint64_t count_max = std::min(kArrayElementsMax, cursor.rest() / element_bytes);
  if (count > count_max) {
    return cursor.Bad(count_offset, fmt::format("{}", count),
                      fmt::format("an array of at most {} elements ({} bytes are left)", count_max,
                                  cursor.rest()));
  }
  switch (static_cast<ValueType>(type)) {
    case ValueType::kU8:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<uint8_t>(cursor); });
    case ValueType::kI8:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<int8_t>(cursor); });
    case ValueType::kU16:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<uint16_t>(cursor); });
    case ValueType::kI16:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<int16_t>(cursor); });
    case ValueType::kU32:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<uint32_t>(cursor); });
    case ValueType::kI32:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<int32_t>(cursor); });
    case ValueType::kU64:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<uint64_t>(cursor); });
    case ValueType::kI64:
      return ReadArrayOf<int64_t>(count, [&] { return ReadInteger<int64_t>(cursor); });
    case ValueType::kF32:
      return ReadArrayOf<double>(count, [&] { return ReadFloat<float>(cursor); });
    case ValueType::kF64:
      return ReadArrayOf<double>(count, [&] { return ReadFloat<double>(cursor); });
    case ValueType::kBool:
      return ReadArrayOf<bool>(count, [&] { return ReadBool(cursor); });
    case ValueType::kString:
      return ReadArrayOf<std::string>(count, [&] { return ReadString(cursor); });
    case ValueType::kArray:
      break;  // refused above
  }
  return cursor.Bad(start, fmt::format("{}", type), "a known type");
}

// Turns StatusOr<T> into StatusOr<GgufValue>.
template <typename T>
absl::StatusOr<GgufValue> AsValue(absl::StatusOr<T> value) {
  if (!value.ok()) return value.status();
  return GgufValue(*std::move(value));
}

}  // namespace

absl::StatusOr<GgufValue> ReadGgufValue(GgufCursor& cursor) {
  const uint64_t start = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t type, cursor.Number<uint32_t>());
  switch (static_cast<ValueType>(type)) {
    case ValueType::kU8:
      return AsValue(ReadInteger<uint8_t>(cursor));
    case ValueType::kI8:
      return AsValue(ReadInteger<int8_t>(cursor));
    case ValueType::kU16:
      return AsValue(ReadInteger<uint16_t>(cursor));
    case ValueType::kI16:
      return AsValue(ReadInteger<int16_t>(cursor));
    case ValueType::kU32:
      return AsValue(ReadInteger<uint32_t>(cursor));
    case ValueType::kI32:
      return AsValue(ReadInteger<int32_t>(cursor));
    case ValueType::kI64:
      return AsValue(ReadInteger<int64_t>(cursor));
    case ValueType::kU64: {
      INHOUSE_ASSIGN_OR_RETURN(const uint64_t value, cursor.Number<uint64_t>());
      if (value > INT64_MAX) return GgufValue(value);
      return GgufValue(static_cast<int64_t>(value));
    }
    case ValueType::kF32:
      return AsValue(ReadFloat<float>(cursor));
    case ValueType::kF64:
      return AsValue(ReadFloat<double>(cursor));
    case ValueType::kBool:
      return AsValue(ReadBool(cursor));
    case ValueType::kString:
      return AsValue(ReadString(cursor));
    case ValueType::kArray:
      return ReadArray(cursor);
  }
  return cursor.Bad(start, fmt::format("{}", type), "a value type from 0 to 12");
}

}  // namespace inhouse::engine
