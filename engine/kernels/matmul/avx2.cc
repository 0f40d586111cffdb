#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {

const MatMulList kMatMulAvx2 = {nullptr, 0};

}  // namespace inhouse::engine
