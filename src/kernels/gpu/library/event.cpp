// CUDA's events behind a C interface; `event.rs` calls it.

#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "guarded.h"

extern "C" {

// Marks what was asked of the thread's stream up to here.
const char* retouch_event_new(int device, void** event) {
  return guarded([&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const c10::cuda::CUDAGuard guard(index);
    cudaEvent_t made;
    C10_CUDA_CHECK(cudaEventCreateWithFlags(&made, cudaEventDisableTiming | cudaEventBlockingSync));
    *event = made;
    C10_CUDA_CHECK(cudaEventRecord(made, c10::cuda::getCurrentCUDAStream(index)));
  });
}

// Waits until that is done.
const char* retouch_event_wait(void* event) {
  return guarded([&] { C10_CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(event))); });
}

const char* retouch_event_free(void* event) {
  return guarded([&] { C10_CUDA_CHECK(cudaEventDestroy(static_cast<cudaEvent_t>(event))); });
}
}
