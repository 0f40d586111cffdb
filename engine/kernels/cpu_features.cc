#include "engine/kernels/cpu_features.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace inhouse::engine {
namespace {

#if defined(__x86_64__)

struct CpuidResult {
  uint32_t eax, ebx, ecx, edx;
};

CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf) {
  CpuidResult r{};
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) return {};
  return r;
}

bool Bit(uint32_t word, int bit) { return (word >> bit & 1U) != 0; }

// Extended control register 0: which register files the operating system saves.
uint32_t Xcr0() {
  uint32_t low = 0;
  uint32_t high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}

// Bits: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E.
CpuFeatures Detect() {
  CpuFeatures f;
  const CpuidResult leaf1 = Cpuid(1, 0);
  if (!Bit(leaf1.ecx, 27)) return f;  // OSXSAVE: without it XGETBV faults
  const uint32_t xcr0 = Xcr0();
  const bool os_avx = (xcr0 & 0x6U) == 0x6U;       // XMM, YMM
  const bool os_avx512 = (xcr0 & 0xE6U) == 0xE6U;  // and opmask, ZMM
  const CpuidResult leaf7 = Cpuid(7, 0);
  const CpuidResult leaf7_1 = leaf7.eax >= 1 ? Cpuid(7, 1) : CpuidResult{};

  f.avx2_fma_f16c =
      os_avx && Bit(leaf1.ecx, 28) && Bit(leaf7.ebx, 5) && Bit(leaf1.ecx, 12) && Bit(leaf1.ecx, 29);
  f.avx_vnni = f.avx2_fma_f16c && Bit(leaf7_1.eax, 4);
  f.avx512_f_bw_vl_dq = f.avx2_fma_f16c && os_avx512 && Bit(leaf7.ebx, 16) && Bit(leaf7.ebx, 30) &&
                        Bit(leaf7.ebx, 31) && Bit(leaf7.ebx, 17);
  f.avx512_vnni = f.avx512_f_bw_vl_dq && Bit(leaf7.ecx, 11);
  f.avx512_vbmi = f.avx512_f_bw_vl_dq && Bit(leaf7.ecx, 1);
  f.avx512_bf16 = f.avx512_f_bw_vl_dq && Bit(leaf7_1.eax, 5);
#if defined(INHOUSE_EMULATED_ISA)  // a build for tests: these levels are made of AVX2
  f.avx512_f_bw_vl_dq = f.avx512_vnni = f.avx512_vbmi = f.avx512_bf16 = f.avx2_fma_f16c;
#endif
  return f;
}

#elif defined(__aarch64__) && defined(__linux__)

// Bits: Documentation/arch/arm64/elf_hwcaps.rst of Linux.
CpuFeatures Detect() {
  const unsigned long hwcap = getauxval(AT_HWCAP);
  const unsigned long hwcap2 = getauxval(AT_HWCAP2);
  CpuFeatures f;
  f.asimd = (hwcap & HWCAP_ASIMD) != 0;
  f.asimd_dotprod = f.asimd && (hwcap & HWCAP_ASIMDDP) != 0;
  f.asimd_i8mm = f.asimd && (hwcap2 & HWCAP2_I8MM) != 0;
  f.asimd_bf16 = f.asimd && (hwcap2 & HWCAP2_BF16) != 0;
  return f;
}

#else

CpuFeatures Detect() { return {}; }

#endif

}  // namespace

const CpuFeatures& Cpu() {
  static const CpuFeatures features = Detect();
  return features;
}

}  // namespace inhouse::engine
