// What this CPU and operating system can execute. Asked once.
#pragma once

namespace inhouse::engine {

// False on other architectures: avx* exist on x86-64, asimd* (Advanced SIMD, "NEON") on AArch64. An
// AVX feature counts only if the operating system saves its registers (XCR0).
struct CpuFeatures {
  bool avx2_fma_f16c = false;
  bool avx_vnni = false;
  bool avx512_f_bw_vl_dq = false;
  bool avx512_vnni = false;
  bool avx512_vbmi = false;
  bool avx512_bf16 = false;
  bool asimd = false;
  bool asimd_dotprod = false;
  bool asimd_i8mm = false;
  bool asimd_bf16 = false;
};

const CpuFeatures& Cpu();

}  // namespace inhouse::engine
