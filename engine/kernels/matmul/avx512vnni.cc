#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {

const MatMulList kMatMulAvx512Vnni = {nullptr, 0};

}  // namespace inhouse::engine
