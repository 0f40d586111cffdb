// The element-wise kernels of each ISA level that this build has. Only kernel_table.cc chooses.
#pragma once

#include "engine/kernels/elementwise/elementwise.h"

namespace inhouse::engine {

extern const ElementwiseKernels kElementwiseRef;
#if defined(__x86_64__)
extern const ElementwiseKernels kElementwiseAvx2;
extern const ElementwiseKernels kElementwiseAvx512;
#elif defined(__aarch64__)
extern const ElementwiseKernels kElementwiseNeon;
#endif

}  // namespace inhouse::engine
