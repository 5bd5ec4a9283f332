// libtorch's CUDA graphs behind a C interface; `graph.rs` calls it.

#include <memory>
#include <optional>
#include <stdexcept>
#include <string>

#include <ATen/cuda/CUDAGraph.h>
#include <ATen/cuda/MemPool.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include "guarded.h"

namespace {

// Where a device's graphs are recorded: a stream of their own, and memory that all of them share, since they never run at once.
struct Recorder {
  // To be made while `device` is the current one, whose memory the pool takes.
  explicit Recorder(c10::DeviceIndex device)
      : device(device), stream(c10::cuda::getStreamFromPool(false, device)), pool(nullptr, false) {}

  c10::DeviceIndex device;
  c10::cuda::CUDAStream stream;
  // Holds the memory while there is no graph.
  at::cuda::MemPool pool;
};

struct Graph {
  Recorder* recorder;
  at::cuda::CUDAGraph graph;
  // The thread's own stream, while it records.
  std::optional<c10::cuda::CUDAStreamGuard> on_stream;
};

}  // namespace

extern "C" {

// Makes a device's recorder, which lives as long as the process.
const char* retouch_recorder_new(int device, void** recorder) {
  return guarded([&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const c10::cuda::CUDAGuard guard(index);
    *recorder = new Recorder(index);
  });
}

// From here to `retouch_graph_end` the thread's work on the device is written down instead of done. Other threads go on.
const char* retouch_graph_begin(void* recorder, void** graph) {
  return guarded([&] {
    auto* owner = static_cast<Recorder*>(recorder);
    auto made = std::make_unique<Graph>();
    made->recorder = owner;
    made->on_stream.emplace(owner->stream);
    c10::cuda::device_synchronize();
    made->graph.capture_begin(owner->pool.id(), cudaStreamCaptureModeThreadLocal);
    *graph = made.release();
  });
}

// Ends the recording, whatever became of it; the graph is to be freed in any case.
const char* retouch_graph_end(void* graph) {
  auto* it = static_cast<Graph*>(graph);
  const char* failure = guarded([&] { it->graph.capture_end(); });
  if (failure != nullptr) {
    // The allocator may still be giving out the graphs' memory.
    const std::string first = failure;
    guarded([&] {
      c10::cuda::CUDACachingAllocator::endAllocateToPool(it->recorder->device, it->recorder->pool.id());
    });
    failure = guarded([&] { throw std::runtime_error(first); });
  }
  it->on_stream.reset();
  return failure;
}

// Does what was recorded, on the thread's stream; returns before it is done.
const char* retouch_graph_replay(void* graph) {
  auto* it = static_cast<Graph*>(graph);
  return guarded([&] {
    const c10::cuda::CUDAGuard guard(it->recorder->device);
    it->graph.replay();
  });
}

// Waits for the device, which may be at it, and frees the graph.
const char* retouch_graph_free(void* graph) {
  return guarded([&] {
    const std::unique_ptr<Graph> owned(static_cast<Graph*>(graph));
    const c10::cuda::CUDAGuard guard(owned->recorder->device);
    c10::cuda::device_synchronize();
  });
}
}
