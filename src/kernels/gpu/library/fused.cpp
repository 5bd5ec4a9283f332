// Compiles `fused.cu` for a device and launches it on the thread's stream; `fused.rs` calls it.
//
// A layer that no kernel is made for, by its shapes or its order in memory, has no result; libtorch is to compute it.

#include <algorithm>
#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include <dlfcn.h>

#include <ATen/ATen.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include "guarded.h"

namespace {

// Threads of a block, where a pixel has no more vectors.
constexpr int64_t kThreads = 512;
constexpr int64_t kMostThreads = 1024;
constexpr int64_t kWarp = 32;
// Shared memory that every block may have, in bytes.
constexpr int64_t kShared = 48 << 10;
// Most channels of a layer norm: 32 threads' `HELD`.
constexpr int64_t kNormed = 32 * 40;
// What a block should have to read at least, in bytes.
constexpr int64_t kWork = 16 << 10;

// NVRTC's C interface (nvrtc.h, CUDA 13), out of the library that libtorch itself opens for it.
struct Nvrtc {
  using Program = void*;

  int (*create)(Program*, const char* source, const char* name, int, const char* const*, const char* const*);
  int (*compile)(Program, int, const char* const* options);
  int (*cubin_size)(Program, size_t*);
  int (*cubin)(Program, char*);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*destroy)(Program*);
  const char* (*error)(int);

  Nvrtc() {
    Dl_info info;
    std::string beside;
    if (dladdr(reinterpret_cast<void*>(&c10::cuda::device_count), &info) != 0) {
      const std::string path = info.dli_fname;
      beside = path.substr(0, path.rfind('/') + 1);
    }
    void* library = dlopen((beside + "libcaffe2_nvrtc.so").c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(dlerror());
    find(library, "nvrtcCreateProgram", create);
    find(library, "nvrtcCompileProgram", compile);
    find(library, "nvrtcGetCUBINSize", cubin_size);
    find(library, "nvrtcGetCUBIN", cubin);
    find(library, "nvrtcGetProgramLogSize", log_size);
    find(library, "nvrtcGetProgramLog", log);
    find(library, "nvrtcDestroyProgram", destroy);
    find(library, "nvrtcGetErrorString", error);
  }

  // The source's machine code for the device.
  std::vector<char> compiled(const char* source, const std::string& architecture) const {
    Program program;
    check(create(&program, source, "fused.cu", 0, nullptr, nullptr));
    const std::string target = "--gpu-architecture=sm_" + architecture;
    const char* options[] = {target.c_str(), "--std=c++17"};
    const int outcome = compile(program, 2, options);
    if (outcome != 0) {
      size_t size = 0;
      check(log_size(program, &size));
      std::string text(size, '\0');
      check(log(program, text.data()));
      throw std::runtime_error(std::string(error(outcome)) + ": " + text.substr(text.find_first_not_of('\n')));
    }
    size_t size = 0;
    check(cubin_size(program, &size));
    std::vector<char> code(size);
    check(cubin(program, code.data()));
    check(destroy(&program));
    return code;
  }

 private:
  void check(int outcome) const {
    if (outcome != 0) throw std::runtime_error(error(outcome));
  }

  template <typename Function>
  static void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw std::runtime_error(dlerror());
  }
};

struct Kernels {
  cudaKernel_t group_norm_sums, group_norm_apply, geglu, residual_sum, layer_norm_of_sum, add_mean_softmax, first_softmax;
};

// The kernels of one device.
struct Fused {
  c10::DeviceIndex device;
  int64_t processors;
  // Of each dtype, for elements one by one and for 16 bytes at once.
  std::array<std::array<Kernels, 2>, 3> kernels;
};

int64_t above(int64_t number, int64_t divisor) { return (number + divisor - 1) / divisor; }

// How a layer of this dtype and so many channels is read.
struct Access {
  const Kernels* kernels;
  int64_t elements;
};

template <typename... Tensors>
Access access(const Fused& fused, int64_t channels, const at::Tensor& first, const Tensors&... others) {
  const int64_t size = first.element_size(), elements = 16 / size;
  bool wide = channels % elements == 0;
  for (const at::Tensor* it : {&first, &others...}) {
    wide = wide && reinterpret_cast<uintptr_t>(it->const_data_ptr()) % 16 == 0;
  }
  const size_t dtype = first.scalar_type() == at::kHalf ? 0 : first.scalar_type() == at::kBFloat16 ? 1 : 2;
  return {&fused.kernels[dtype][wide ? 1 : 0], wide ? elements : 1};
}

bool fits(const Fused& fused, const at::Tensor& it) {
  const auto dtype = it.scalar_type();
  return it.is_cuda() && it.device().index() == fused.device && it.numel() > 0 &&
         (dtype == at::kHalf || dtype == at::kBFloat16 || dtype == at::kFloat);
}

// Numbers of a channel each, or of a channel of a row.
bool fits(const at::Tensor* it, const at::Tensor& xs, at::IntArrayRef sizes) {
  return it == nullptr || (it->scalar_type() == xs.scalar_type() && it->device() == xs.device() && it->sizes() == sizes && it->is_contiguous());
}

const void* data(const at::Tensor* it) { return it == nullptr ? nullptr : it->const_data_ptr(); }

template <typename... Arguments>
void launch(const Fused& fused, cudaKernel_t kernel, dim3 grid, int64_t threads, int64_t shared, Arguments... arguments) {
  void* pointers[] = {&arguments...};
  C10_CUDA_CHECK(cudaLaunchKernel(
      reinterpret_cast<const void*>(kernel), grid, dim3(threads), pointers, shared, c10::cuda::getCurrentCUDAStream(fused.device)));
}

// Blocks for so many vectors, one a thread or more.
dim3 blocks(const Fused& fused, int64_t count) { return dim3(std::min(above(count, 256), fused.processors * 32)); }

}  // namespace

extern "C" {

// Compiles the kernels for a device; they live as long as the process.
const char* retouch_fused_new(int device, const char* source, void** fused) {
  return guarded([&] {
    const auto index = static_cast<c10::DeviceIndex>(device);
    const c10::cuda::CUDAGuard guard(index);
    const auto attribute = [&](cudaDeviceAttr which) {
      int value = 0;
      C10_CUDA_CHECK(cudaDeviceGetAttribute(&value, which, device));
      return value;
    };
    const int major = attribute(cudaDevAttrComputeCapabilityMajor), minor = attribute(cudaDevAttrComputeCapabilityMinor);
    const auto code = Nvrtc().compiled(source, std::to_string(major) + std::to_string(minor));
    cudaLibrary_t library;
    C10_CUDA_CHECK(cudaLibraryLoadData(&library, code.data(), nullptr, nullptr, 0, nullptr, nullptr, 0));

    auto made = std::make_unique<Fused>();
    made->device = index;
    made->processors = attribute(cudaDevAttrMultiProcessorCount);
    const char* names[3][2] = {{"half_1", "half_8"}, {"bfloat16_1", "bfloat16_8"}, {"float_1", "float_4"}};
    for (size_t dtype = 0; dtype < 3; ++dtype) {
      for (size_t wide = 0; wide < 2; ++wide) {
        const auto find = [&](const char* layer) {
          cudaKernel_t kernel;
          C10_CUDA_CHECK(cudaLibraryGetKernel(&kernel, library, (std::string(layer) + names[dtype][wide]).c_str()));
          return kernel;
        };
        made->kernels[dtype][wide] = {find("group_norm_sums_"), find("group_norm_apply_"), find("geglu_"), find("residual_sum_"),
                                      find("layer_norm_of_sum_"), find("add_mean_softmax_"), find("first_softmax_")};
      }
    }
    *fused = made.release();
  });
}

// The norm over groups of `xs`, (N, C, h, w) channels-last, plus `bias` (C,) and `shift` (N, C) where they are given; SiLU of it if
// `activated`.
const char* retouch_group_norm(const void* fused, const at::Tensor* xs, const at::Tensor* bias, const at::Tensor* shift, const at::Tensor* weight,
                               const at::Tensor* beta, int64_t groups, double eps, int activated, at::Tensor** out) {
  return guarded([&] {
    const auto& it = *static_cast<const Fused*>(fused);
    *out = nullptr;
    if (!fits(it, *xs) || xs->dim() != 4 || !xs->is_contiguous(at::MemoryFormat::ChannelsLast)) return;
    const int64_t rows = xs->size(0), channels = xs->size(1), pixels = xs->size(2) * xs->size(3);
    const bool fit = fits(bias, *xs, {channels}) && fits(shift, *xs, {rows, channels}) && fits(weight, *xs, {channels}) && fits(beta, *xs, {channels});
    if (!fit || channels % groups != 0 || rows > 65535) return;
    const Access how = access(it, channels, *xs);
    const int64_t vectors = channels / how.elements;
    const int64_t threads = vectors <= kThreads ? kThreads : above(vectors, kWarp) * kWarp;
    const int64_t lanes = threads / vectors, shared = 2 * sizeof(float) * lanes * channels;
    if (threads > kMostThreads || shared > kShared) return;

    const c10::cuda::CUDAGuard guard(it.device);
    const int64_t most = std::max<int64_t>(1, std::min(pixels, pixels * channels * xs->element_size() / kWork));
    const int64_t part = above(pixels, std::min(most, std::max(kWarp, above(it.processors, rows))));
    const int64_t parts = above(pixels, part);
    const int64_t stretch = above(pixels, std::min(most, above(2 * it.processors, rows)));
    const auto partial = at::empty({rows, groups, parts, 2}, xs->options().dtype(at::kFloat).memory_format(at::MemoryFormat::Contiguous));
    auto result = at::empty_like(*xs, at::MemoryFormat::ChannelsLast);

    launch(it, how.kernels->group_norm_sums, dim3(parts, rows), threads, shared, xs->const_data_ptr(), data(bias), data(shift),
           partial.mutable_data_ptr(), pixels, static_cast<int>(channels), static_cast<int>(groups), part);
    launch(it, how.kernels->group_norm_apply, dim3(above(pixels, stretch), rows), threads, 2 * sizeof(float) * groups, xs->const_data_ptr(),
           data(bias), data(shift), partial.const_data_ptr(), weight->const_data_ptr(), beta->const_data_ptr(), result.mutable_data_ptr(), pixels,
           static_cast<int>(channels), static_cast<int>(groups), static_cast<int>(parts), stretch, static_cast<float>(eps), activated);
    *out = new at::Tensor(std::move(result));
  });
}

// Of (…, 2·width), values and gates: values · gelu(gates), (…, width).
const char* retouch_geglu(const void* fused, const at::Tensor* xs, at::Tensor** out) {
  return guarded([&] {
    const auto& it = *static_cast<const Fused*>(fused);
    *out = nullptr;
    if (!fits(it, *xs) || xs->dim() == 0 || xs->size(-1) % 2 != 0 || !xs->is_contiguous()) return;
    const int64_t width = xs->size(-1) / 2;
    const Access how = access(it, width, *xs);
    const int64_t count = xs->numel() / 2 / how.elements;
    if (count > INT32_MAX) return;

    const c10::cuda::CUDAGuard guard(it.device);
    auto sizes = xs->sizes().vec();
    sizes.back() = width;
    auto result = at::empty(sizes, xs->options());
    launch(it, how.kernels->geglu, blocks(it, count), 256, 0, xs->const_data_ptr(), result.mutable_data_ptr(), static_cast<unsigned>(count),
           static_cast<unsigned>(width));
    *out = new at::Tensor(std::move(result));
  });
}

// xs + residual + bias, the first two (N, C, h, w) channels-last, `bias` (C,).
const char* retouch_residual_sum(const void* fused, const at::Tensor* xs, const at::Tensor* residual, const at::Tensor* bias, at::Tensor** out) {
  return guarded([&] {
    const auto& it = *static_cast<const Fused*>(fused);
    *out = nullptr;
    const auto order = at::MemoryFormat::ChannelsLast;
    if (!fits(it, *xs) || xs->dim() != 4 || !xs->is_contiguous(order) || !residual->is_contiguous(order)) return;
    const int64_t channels = xs->size(1);
    const bool same = residual->sizes() == xs->sizes() && residual->scalar_type() == xs->scalar_type() && residual->device() == xs->device();
    if (!same || !fits(bias, *xs, {channels})) return;
    const Access how = access(it, channels, *xs, *residual, *bias);
    const int64_t count = xs->numel() / how.elements;
    if (count > INT32_MAX) return;

    const c10::cuda::CUDAGuard guard(it.device);
    auto result = at::empty_like(*xs, order);
    launch(it, how.kernels->residual_sum, blocks(it, count), 256, 0, xs->const_data_ptr(), residual->const_data_ptr(), bias->const_data_ptr(),
           result.mutable_data_ptr(), static_cast<unsigned>(count), static_cast<unsigned>(channels));
    *out = new at::Tensor(std::move(result));
  });
}

// xs + more, (…, C) each, to `sum`, and the norm of that over the channels to `out`.
const char* retouch_layer_norm_of_sum(const void* fused, const at::Tensor* xs, const at::Tensor* more, const at::Tensor* weight, const at::Tensor* beta,
                                      double eps, at::Tensor** sum, at::Tensor** out) {
  return guarded([&] {
    const auto& it = *static_cast<const Fused*>(fused);
    *sum = *out = nullptr;
    if (!fits(it, *xs) || xs->dim() == 0 || !xs->is_contiguous() || xs->size(-1) > kNormed) return;
    const int64_t channels = xs->size(-1), rows = xs->numel() / channels;
    if (!fits(more, *xs, xs->sizes()) || !fits(weight, *xs, {channels}) || !fits(beta, *xs, {channels}) || rows > INT32_MAX) return;
    const Access how = access(it, channels, *xs, *more, *weight, *beta);

    const c10::cuda::CUDAGuard guard(it.device);
    auto added = at::empty_like(*xs), normed = at::empty_like(*xs);
    launch(it, how.kernels->layer_norm_of_sum, dim3(above(rows, 4)), 4 * kWarp, 0, xs->const_data_ptr(), more->const_data_ptr(),
           weight->const_data_ptr(), beta->const_data_ptr(), added.mutable_data_ptr(), normed.mutable_data_ptr(), rows, static_cast<int>(channels),
           static_cast<float>(eps));
    *sum = new at::Tensor(std::move(added));
    *out = new at::Tensor(std::move(normed));
  });
}

// Adds the heads' mean softmax over the last dimension of `logits` (H, Q, K) to `sum`, (Q, K) in fp32; `done` is whether it could.
const char* retouch_add_mean_softmax(const void* fused, const at::Tensor* logits, const at::Tensor* sum, int* done) {
  return guarded([&] {
    const auto& it = *static_cast<const Fused*>(fused);
    *done = 0;
    if (!fits(it, *logits) || logits->dim() != 3 || !logits->is_contiguous()) return;
    const int64_t heads = logits->size(0), queries = logits->size(1), keys = logits->size(2);
    const bool fit = sum->scalar_type() == at::kFloat && sum->device() == logits->device() && sum->sizes() == at::IntArrayRef{queries, keys} && sum->is_contiguous();
    const int64_t shared = 2 * sizeof(float) * heads;
    if (!fit || shared > kShared || queries > INT32_MAX || keys > INT32_MAX) return;
    // As many numbers are read of the sum at once as of the logits.
    const bool aligned = reinterpret_cast<uintptr_t>(sum->const_data_ptr()) % 32 == 0;
    const Access how = access(it, aligned ? keys : 1, *logits);

    const c10::cuda::CUDAGuard guard(it.device);
    launch(it, how.kernels->add_mean_softmax, dim3(queries), kWarp * std::min<int64_t>(heads, 8), shared, logits->const_data_ptr(),
           sum->mutable_data_ptr(), static_cast<int>(heads), queries, static_cast<int>(keys));
    *done = 1;
  });
}

// The first key's softmax over the last dimension of `logits` (H, Q, K), (H, Q, 1) in fp32.
const char* retouch_first_softmax(const void* fused, const at::Tensor* logits, at::Tensor** out) {
  return guarded([&] {
    const auto& it = *static_cast<const Fused*>(fused);
    *out = nullptr;
    if (!fits(it, *logits) || logits->dim() != 3 || !logits->is_contiguous()) return;
    const int64_t keys = logits->size(2), rows = logits->numel() / keys;
    if (rows > INT32_MAX || keys > INT32_MAX) return;
    const Access how = access(it, keys, *logits);

    const c10::cuda::CUDAGuard guard(it.device);
    auto probs = at::empty({logits->size(0), logits->size(1), 1}, logits->options().dtype(at::kFloat));
    launch(it, how.kernels->first_softmax, dim3(above(rows, 4)), 4 * kWarp, 0, logits->const_data_ptr(), probs.mutable_data_ptr(), rows,
           static_cast<int>(keys));
    *out = new at::Tensor(std::move(probs));
  });
}
}
