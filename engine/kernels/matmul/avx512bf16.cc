#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {

const MatMulList kMatMulAvx512Bf16 = {nullptr, 0};

}  // namespace inhouse::engine
