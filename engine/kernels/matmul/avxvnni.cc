#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {

const MatMulList kMatMulAvxVnni = {nullptr, 0};

}  // namespace inhouse::engine
