#include "engine/kernels/elementwise/elementwise_kernels.h"
#include "engine/kernels/elementwise/fast.h"
#include "engine/kernels/elementwise/vector_avx512.h"

namespace inhouse::engine {

const ElementwiseKernels kElementwiseAvx512 = FastElementwise<Avx512>::kTable;

}  // namespace inhouse::engine
