#include "engine/kernels/elementwise/elementwise_kernels.h"
#include "engine/kernels/elementwise/fast.h"
#include "engine/kernels/elementwise/vector_neon.h"

namespace inhouse::engine {

const ElementwiseKernels kElementwiseNeon = FastElementwise<Neon>::kTable;

}  // namespace inhouse::engine
