#include "engine/kernels/kernel_table.h"

#include <array>
#include <utility>

#include "engine/kernels/attention/attention_kernels.h"
#include "engine/kernels/cpu_features.h"
#include "engine/kernels/elementwise/elementwise_kernels.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace {

constexpr int kLevels = 9;

constexpr std::array<std::string_view, kLevels> kNames = {
    "ref", "neon", "neondot", "neoni8mm", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"};

bool IsSupported(IsaLevel level) {
  const CpuFeatures& cpu = Cpu();
  switch (level) {
    case IsaLevel::kRef:
      return true;
    case IsaLevel::kNeon:
      return cpu.asimd;
    case IsaLevel::kNeonDot:
      return cpu.asimd_dotprod;
    case IsaLevel::kNeonI8mm:
      return cpu.asimd_dotprod && cpu.asimd_i8mm && cpu.asimd_bf16;
    case IsaLevel::kAvx2:
      return cpu.avx2_fma_f16c;
    case IsaLevel::kAvxVnni:
      return cpu.avx_vnni;
    case IsaLevel::kAvx512:
      return cpu.avx512_f_bw_vl_dq;
    case IsaLevel::kAvx512Vnni:
      return cpu.avx512_vnni;
    case IsaLevel::kAvx512Bf16:
      return cpu.avx512_vnni && cpu.avx512_vbmi && cpu.avx512_bf16;
  }
  return false;
}

// A kernel with 8-bit activations stands in for nothing else; any other serves both, unless the
// list has one with 8 bits too.
void AddMatMuls(const MatMulList& list, KernelTable& table) {
  const auto is_8_bit = [](const MatMulKernel& kernel) {
    return kernel.activations == ActivationLayout::kI8Groups32 ||
           kernel.activations == ActivationLayout::kI8Groups128;
  };
  const auto slot = [&table](ActivationBits bits, const MatMulKernel& kernel) -> auto& {
    return table.matmuls[static_cast<size_t>(bits)][static_cast<size_t>(kernel.weights)];
  };
  const std::span<const MatMulKernel> kernels(list.kernels, static_cast<size_t>(list.count));
  for (const MatMulKernel& kernel : kernels) {
    if (is_8_bit(kernel)) continue;
    slot(ActivationBits::k16, kernel) = slot(ActivationBits::k8, kernel) = &kernel;
  }
  for (const MatMulKernel& kernel : kernels) {
    if (is_8_bit(kernel)) slot(ActivationBits::k8, kernel) = &kernel;
  }
}

KernelTable RefTable() {
  KernelTable table{};
  table.level = IsaLevel::kRef;
  AddMatMuls(kMatMulRef, table);
  table.attention_f32 = &kAttentionF32Ref;
  table.attention_f16 = &kAttentionF16Ref;
  table.attention_bf16 = &kAttentionBf16Ref;
  table.attention_e4m3 = &kAttentionE4M3Ref;
  table.elementwise = &kElementwiseRef;
  return table;
}

// `base` is the level that supplies what `list` lacks. It is fixed, not "whatever this machine
// has", so that a level gives the same bits on every machine that can run it: an AVX-512 machine
// need not have AVX-VNNI.
[[maybe_unused]] KernelTable Extend(const KernelTable& base, IsaLevel level,
                                    const MatMulList& list) {
  KernelTable table = base;
  table.level = level;
  AddMatMuls(list, table);
  return table;
}

std::array<KernelTable, kLevels> Assemble() {
  std::array<KernelTable, kLevels> tables{};
  auto table = [&tables](IsaLevel level) -> KernelTable& {
    return tables[static_cast<size_t>(level)];
  };
  table(IsaLevel::kRef) = RefTable();
#if defined(__x86_64__)
  KernelTable& avx2 = table(IsaLevel::kAvx2);
  avx2 = Extend(table(IsaLevel::kRef), IsaLevel::kAvx2, kMatMulAvx2);
  avx2.attention_f32 = &kAttentionF32Avx2;
  avx2.attention_f16 = &kAttentionF16Avx2;
  avx2.attention_bf16 = &kAttentionBf16Avx2;
  avx2.attention_e4m3 = &kAttentionE4M3Avx2;
  avx2.elementwise = &kElementwiseAvx2;
  table(IsaLevel::kAvxVnni) = Extend(avx2, IsaLevel::kAvxVnni, kMatMulAvxVnni);
  KernelTable& avx512 = table(IsaLevel::kAvx512);
  avx512 = Extend(avx2, IsaLevel::kAvx512, kMatMulAvx512);
  avx512.attention_f32 = &kAttentionF32Avx512;
  avx512.attention_f16 = &kAttentionF16Avx512;
  avx512.attention_bf16 = &kAttentionBf16Avx512;
  avx512.attention_e4m3 = &kAttentionE4M3Avx512;
  avx512.elementwise = &kElementwiseAvx512;
  KernelTable& vnni = table(IsaLevel::kAvx512Vnni);
  vnni = Extend(avx512, IsaLevel::kAvx512Vnni, kMatMulAvx512Vnni);
  AddMatMuls(kMatMulAvx512Vnni8Bit, vnni);
  table(IsaLevel::kAvx512Bf16) = Extend(vnni, IsaLevel::kAvx512Bf16, kMatMulAvx512Bf16);
#elif defined(__aarch64__)
  KernelTable& neon = table(IsaLevel::kNeon);
  neon = Extend(table(IsaLevel::kRef), IsaLevel::kNeon, kMatMulNeon);
  neon.attention_f32 = &kAttentionF32Neon;
  neon.attention_f16 = &kAttentionF16Neon;
  neon.attention_bf16 = &kAttentionBf16Neon;
  neon.attention_e4m3 = &kAttentionE4M3Neon;
  neon.elementwise = &kElementwiseNeon;
  KernelTable& dot = table(IsaLevel::kNeonDot);
  dot = Extend(neon, IsaLevel::kNeonDot, kMatMulNeonDot);
  table(IsaLevel::kNeonI8mm) = Extend(dot, IsaLevel::kNeonI8mm, kMatMulNeonI8mm);
#endif
  return tables;
}

}  // namespace

std::string_view Name(IsaLevel level) { return kNames[static_cast<size_t>(level)]; }

std::vector<IsaLevel> SupportedLevels() {
  std::vector<IsaLevel> levels;
  for (int i = 0; i < kLevels; ++i) {
    if (IsSupported(static_cast<IsaLevel>(i))) levels.push_back(static_cast<IsaLevel>(i));
  }
  return levels;
}

const KernelTable* TableFor(IsaLevel level) {
  static const std::array<KernelTable, kLevels> tables = Assemble();
  return IsSupported(level) ? &tables[static_cast<size_t>(level)] : nullptr;
}

const KernelTable* ChooseTable(std::string_view name) {
  if (name.empty()) return TableFor(SupportedLevels().back());
  for (size_t i = 0; i < kLevels; ++i) {
    if (kNames[i] == name) return TableFor(static_cast<IsaLevel>(i));
  }
  return nullptr;
}

}  // namespace inhouse::engine
