// The kernels that a level has with its dot product: GroupKernel over every format of integer
// codes, with 16-bit and with 8-bit activations. For neondot.cc and neoni8mm.cc.
#pragma once

#include "engine/kernels/matmul/neon_formats_k.h"
#include "engine/kernels/matmul/neon_groups.h"

namespace inhouse::engine::neon {
namespace {

struct GroupKernelList {
  static constexpr int kTypes = 15;
  static constexpr int kCount = 2 * kTypes;  // first those with 16-bit activations
  MatMulKernel of[kCount];

  template <typename Dot>
  constexpr void Fill(const char* const (&names)[kTypes], int at) {
    using Order = typename Dot::Order;
    const char* const* name = names;
    of[at++] = Plain<Dot, StoredQ8_0>(*name++, DType::kQ8_0);
    of[at++] = Plain<Dot, StoredQ4_0>(*name++, DType::kQ4_0);
    of[at++] = Plain<Dot, StoredQ4_1>(*name++, DType::kQ4_1);
    of[at++] = Plain<Dot, StoredQ5_0>(*name++, DType::kQ5_0);
    of[at++] = Plain<Dot, StoredQ5_1>(*name++, DType::kQ5_1);
    of[at++] = Plain<Dot, StoredMXFP4>(*name++, DType::kMXFP4);
    of[at++] = Plain<Dot, StoredI8<128>>(*name++, DType::kI8Group128);
    of[at++] = Plain<Dot, StoredI8<32>>(*name++, DType::kI8Group32);
    of[at++] = Plain<Dot, StoredI4<128>>(*name++, DType::kI4Group128);
    of[at++] = Plain<Dot, StoredI4<32>>(*name++, DType::kI4Group32);
    of[at++] = Plain<Dot, StoredI4Min<128>>(*name++, DType::kI4MinGroup128);
    of[at++] = Plain<Dot, StoredI4Min<32>>(*name++, DType::kI4MinGroup32);
    of[at++] = GroupKernel<Dot, ScaleMinFormat<Order, 4>>::Table(*name++, DType::kQ4_K);
    of[at++] = GroupKernel<Dot, ScaleMinFormat<Order, 5>>::Table(*name++, DType::kQ5_K);
    of[at++] = GroupKernel<Dot, Q6_K<Order>>::Table(*name++, DType::kQ6_K);
  }

 private:
  template <typename Dot, typename Stored>
  static constexpr MatMulKernel Plain(const char* name, DType type) {
    return GroupKernel<Dot, PlainFormat<typename Dot::Order, Stored>>::Table(name, type);
  }
};

// Dot<planes> is the level's arithmetic. A name stands for what a panel holds, which does not
// depend on the activations; packed files record it.
template <template <int> typename Dot>
constexpr GroupKernelList GroupKernelsOf(const char* const (&names)[GroupKernelList::kTypes]) {
  GroupKernelList list{};
  list.template Fill<Dot<2>>(names, 0);
  list.template Fill<Dot<1>>(names, GroupKernelList::kTypes);
  return list;
}

}  // namespace
}  // namespace inhouse::engine::neon
