// The matrix product kernels of each ISA level that this build has. Only kernel_table.cc chooses.
//
// A list need not be complete: a level takes what it lacks from the level that it builds on.
#pragma once

#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine {

// A plain pair instead of std::span: the ISA translation units define these lists, and an inline
// function of a shared header that is compiled there could be the copy that the linker keeps.
struct MatMulList {
  const MatMulKernel* kernels;
  int count;
};

extern const MatMulList kMatMulRef;  // every floating and block type
#if defined(__x86_64__)
extern const MatMulList kMatMulAvx2;
extern const MatMulList kMatMulAvxVnni;
extern const MatMulList kMatMulAvx512;
extern const MatMulList kMatMulAvx512Vnni;
extern const MatMulList kMatMulAvx512Vnni8Bit;  // of the same level
extern const MatMulList kMatMulAvx512Bf16;
#elif defined(__aarch64__)
extern const MatMulList kMatMulNeon;
extern const MatMulList kMatMulNeonDot;
extern const MatMulList kMatMulNeonI8mm;
#endif

}  // namespace inhouse::engine
