#include "engine/kernels/elementwise/elementwise_kernels.h"
#include "engine/kernels/elementwise/fast.h"
#include "engine/kernels/elementwise/vector_avx2.h"

namespace inhouse::engine {

const ElementwiseKernels kElementwiseAvx2 = FastElementwise<Avx2>::kTable;

}  // namespace inhouse::engine
