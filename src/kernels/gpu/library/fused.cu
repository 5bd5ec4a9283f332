// Layers that are one pass over memory each, compiled by NVRTC for the device at hand. `fused.cpp` launches them.
//
// Grids of cells are channels-last: (rows, pixels, channels). Sums are in fp32 whatever the elements are, and in an order that
// depends on the shapes alone. An element is read and written in vectors of V, which divides the channels.

typedef long long i64;

struct Half {
  unsigned short bits;
};
struct BFloat16 {
  unsigned short bits;
};

template <typename T, int V>
struct alignas(sizeof(T) * V) Vector {
  T of[V];
};

__device__ __forceinline__ float number(float x) { return x; }
__device__ __forceinline__ float number(BFloat16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }
__device__ __forceinline__ float number(Half x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
  return y;
}

__device__ __forceinline__ void put(float& to, float x) { to = x; }
__device__ __forceinline__ void put(Half& to, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.bits) : "f"(x)); }
// To the nearest, ties to even; what is no number stays none.
__device__ __forceinline__ void put(BFloat16& to, float x) {
  const unsigned bits = __float_as_uint(x);
  to.bits = x != x ? 0x7fc0 : static_cast<unsigned short>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

__device__ __forceinline__ float silu(float x) { return __fdividef(x, 1.0f + __expf(-x)); }
// torch: `gelu(approximate="none")`.
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

// The sum over a warp, in each of its lanes.
__device__ __forceinline__ float warp_sum(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(0xffffffff, x, distance);
  return x;
}

// The largest of a warp's numbers, in each of its lanes.
__device__ __forceinline__ float warp_max(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, distance));
  return x;
}

// What makes a row of logits their softmax.
struct Softmax {
  float largest, factor;
};

// Of `keys` logits, by a warp.
template <typename T, int V>
__device__ __forceinline__ Softmax softmax(const T* logits, int keys) {
  float largest = -__uint_as_float(0x7f800000), sum = 0.0f;
  for (int key = threadIdx.x % 32 * V; key < keys; key += 32 * V) {
    const Vector<T, V> x = *reinterpret_cast<const Vector<T, V>*>(logits + key);
    float now = largest;
#pragma unroll
    for (int v = 0; v < V; ++v) now = fmaxf(now, number(x.of[v]));
    sum *= __expf(largest - now);
#pragma unroll
    for (int v = 0; v < V; ++v) sum += __expf(number(x.of[v]) - now);
    largest = now;
  }
  const float of_all = warp_max(largest);
  return {of_all, 1.0f / warp_sum(sum * __expf(largest - of_all))};
}

// What is added to a channel of a row before its norm.
template <typename T>
__device__ __forceinline__ float added(const T* bias, const T* shift, int row, int channels, int channel) {
  float sum = bias != nullptr ? number(bias[channel]) : 0.0f;
  if (shift != nullptr) sum += number(shift[static_cast<i64>(row) * channels + channel]);
  return sum;
}

// A number near those of a group: its first channel in the row's first pixel. Sums of differences to it lose no digits where
// the mean is far from zero.
template <typename T>
__device__ __forceinline__ float pivot(const T* xs, const T* bias, const T* shift, int row, i64 pixels, int channels, int channel) {
  return number(xs[row * pixels * channels + channel]) + added(bias, shift, row, channels, channel);
}

// Sums of (x - pivot) and of its square over a part of the pixels: `partial` is (rows, groups, parts), two numbers each.
//
// The grid is (parts, rows). A block is a multiple of 32 threads, at least as many as there are vectors in a pixel; its shared
// memory holds two numbers for each thread's elements.
template <typename T, int V>
__device__ void group_norm_sums(const T* xs, const T* bias, const T* shift, float2* partial, i64 pixels, int channels, int groups, i64 part) {
  extern __shared__ float shared[];
  const int row = blockIdx.y, per_group = channels / groups, vectors = channels / V;
  const int lanes = blockDim.x / vectors, lane = threadIdx.x / vectors, first = threadIdx.x % vectors * V;
  float* sums = shared;
  float* squares = shared + lanes * channels;

  if (lane < lanes) {
    float offset[V], sum[V], square[V];
    for (int v = 0; v < V; ++v) {
      const int channel = first + v, head = channel / per_group * per_group;
      offset[v] = added(bias, shift, row, channels, channel) - pivot(xs, bias, shift, row, pixels, channels, head);
      sum[v] = square[v] = 0.0f;
    }
    const i64 start = blockIdx.x * part, end = start + part < pixels ? start + part : pixels;
    const T* from = xs + row * pixels * channels + first;
#pragma unroll 4
    for (i64 pixel = start + lane; pixel < end; pixel += lanes) {
      const Vector<T, V> x = *reinterpret_cast<const Vector<T, V>*>(from + pixel * channels);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const float difference = number(x.of[v]) + offset[v];
        sum[v] += difference;
        square[v] += difference * difference;
      }
    }
    for (int v = 0; v < V; ++v) {
      sums[lane * channels + first + v] = sum[v];
      squares[lane * channels + first + v] = square[v];
    }
  }
  __syncthreads();

  const int warp = threadIdx.x / 32, warps = blockDim.x / 32, in_warp = threadIdx.x % 32;
  for (int group = warp; group < groups; group += warps) {
    float sum = 0.0f, square = 0.0f;
    for (int i = in_warp; i < lanes * per_group; i += 32) {
      const int at = i / per_group * channels + group * per_group + i % per_group;
      sum += sums[at];
      square += squares[at];
    }
    sum = warp_sum(sum);
    square = warp_sum(square);
    if (in_warp == 0) partial[(static_cast<i64>(row) * groups + group) * gridDim.x + blockIdx.x] = make_float2(sum, square);
  }
}

// The norm of a part of the pixels, from the sums of all `parts`, and SiLU if it is asked for.
//
// The grid is (any, rows), of blocks as above; shared memory holds two numbers for each group.
template <typename T, int V>
__device__ void group_norm_apply(const T* xs, const T* bias, const T* shift, const float2* partial, const T* weight, const T* beta, T* out,
                                 i64 pixels, int channels, int groups, int parts, i64 part, float eps, int activated) {
  extern __shared__ float shared[];
  const int row = blockIdx.y, per_group = channels / groups, vectors = channels / V;
  const int lanes = blockDim.x / vectors, lane = threadIdx.x / vectors, first = threadIdx.x % vectors * V;
  float* means = shared;
  float* factors = shared + groups;

  const int warp = threadIdx.x / 32, warps = blockDim.x / 32, in_warp = threadIdx.x % 32;
  const float count = static_cast<float>(pixels) * per_group;
  for (int group = warp; group < groups; group += warps) {
    const float2* of_group = partial + (static_cast<i64>(row) * groups + group) * parts;
    float sum = 0.0f, square = 0.0f;
    for (int i = in_warp; i < parts; i += 32) {
      sum += of_group[i].x;
      square += of_group[i].y;
    }
    sum = warp_sum(sum);
    square = warp_sum(square);
    if (in_warp == 0) {
      const float difference = sum / count, variance = square / count - difference * difference;
      means[group] = pivot(xs, bias, shift, row, pixels, channels, group * per_group) + difference;
      factors[group] = 1.0f / sqrtf((variance < 0.0f ? 0.0f : variance) + eps);
    }
  }
  __syncthreads();
  if (lane >= lanes) return;

  float factor[V], offset[V];
  for (int v = 0; v < V; ++v) {
    const int channel = first + v, group = channel / per_group;
    factor[v] = factors[group] * number(weight[channel]);
    offset[v] = number(beta[channel]) + (added(bias, shift, row, channels, channel) - means[group]) * factor[v];
  }
  const i64 start = blockIdx.x * part, end = start + part < pixels ? start + part : pixels;
  const i64 at = row * pixels * channels + first;
#pragma unroll 4
  for (i64 pixel = start + lane; pixel < end; pixel += lanes) {
    Vector<T, V> x = *reinterpret_cast<const Vector<T, V>*>(xs + at + pixel * channels);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const float y = number(x.of[v]) * factor[v] + offset[v];
      put(x.of[v], activated ? silu(y) : y);
    }
    *reinterpret_cast<Vector<T, V>*>(out + at + pixel * channels) = x;
  }
}

// (rows, 2·width), values and gates, to values · gelu(gates), (rows, width). `count` is the number of vectors of the latter.
template <typename T, int V>
__device__ void geglu(const T* xs, T* out, unsigned count, unsigned width) {
  const unsigned vectors = width / V, stride = gridDim.x * blockDim.x;
  for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    const unsigned row = static_cast<unsigned>(i) / vectors, column = (static_cast<unsigned>(i) - row * vectors) * V;
    const T* values = xs + 2 * static_cast<i64>(row) * width + column;
    Vector<T, V> value = *reinterpret_cast<const Vector<T, V>*>(values);
    const Vector<T, V> gate = *reinterpret_cast<const Vector<T, V>*>(values + width);
#pragma unroll
    for (int v = 0; v < V; ++v) put(value.of[v], number(value.of[v]) * gelu(number(gate.of[v])));
    *reinterpret_cast<Vector<T, V>*>(out + i * V) = value;
  }
}

// xs + residual + bias, the latter (channels,) and the last dimension. `count` is the number of vectors.
template <typename T, int V>
__device__ void residual_sum(const T* xs, const T* residual, const T* bias, T* out, unsigned count, unsigned channels) {
  const unsigned vectors = channels / V, stride = gridDim.x * blockDim.x;
  for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) {
    const unsigned column = static_cast<unsigned>(i) % vectors * V;
    Vector<T, V> x = *reinterpret_cast<const Vector<T, V>*>(xs + i * V);
    const Vector<T, V> r = *reinterpret_cast<const Vector<T, V>*>(residual + i * V);
    const Vector<T, V> b = *reinterpret_cast<const Vector<T, V>*>(bias + column);
#pragma unroll
    for (int v = 0; v < V; ++v) put(x.of[v], number(x.of[v]) + number(b.of[v]) + number(r.of[v]));
    *reinterpret_cast<Vector<T, V>*>(out + i * V) = x;
  }
}

// Numbers of a row that a thread of a layer norm holds; a row has 32 threads.
constexpr int HELD = 40;

// xs + more, and its norm over the channels, (rows, channels) each, of at most 32 · HELD channels. A warp does a row.
template <typename T, int V>
__device__ void layer_norm_of_sum(const T* xs, const T* more, const T* weight, const T* beta, T* sum, T* out, i64 rows, int channels, float eps) {
  const i64 row = static_cast<i64>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const int first = threadIdx.x % 32 * V;
  const i64 start = row * channels;

  float held[HELD / V][V], total = 0.0f;
#pragma unroll
  for (int i = 0; i < HELD / V; ++i) {
    const int channel = first + i * 32 * V;
    if (channel >= channels) continue;
    Vector<T, V> x = *reinterpret_cast<const Vector<T, V>*>(xs + start + channel);
    const Vector<T, V> y = *reinterpret_cast<const Vector<T, V>*>(more + start + channel);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      held[i][v] = number(x.of[v]) + number(y.of[v]);
      total += held[i][v];
      put(x.of[v], held[i][v]);
    }
    *reinterpret_cast<Vector<T, V>*>(sum + start + channel) = x;
  }
  const float mean = warp_sum(total) / channels;
  float square = 0.0f;
#pragma unroll
  for (int i = 0; i < HELD / V; ++i) {
    if (first + i * 32 * V >= channels) continue;
#pragma unroll
    for (int v = 0; v < V; ++v) square += (held[i][v] - mean) * (held[i][v] - mean);
  }
  const float factor = 1.0f / sqrtf(warp_sum(square) / channels + eps);
#pragma unroll
  for (int i = 0; i < HELD / V; ++i) {
    const int channel = first + i * 32 * V;
    if (channel >= channels) continue;
    const Vector<T, V> w = *reinterpret_cast<const Vector<T, V>*>(weight + channel);
    const Vector<T, V> b = *reinterpret_cast<const Vector<T, V>*>(beta + channel);
    Vector<T, V> y;
#pragma unroll
    for (int v = 0; v < V; ++v) put(y.of[v], (held[i][v] - mean) * factor * number(w.of[v]) + number(b.of[v]));
    *reinterpret_cast<Vector<T, V>*>(out + start + channel) = y;
  }
}

// Adds the heads' mean softmax of `logits` (heads, queries, keys) to `sum` (queries, keys).
//
// A block does a query; its shared memory holds two numbers for each head.
template <typename T, int V>
__device__ void add_mean_softmax(const T* logits, float* sum, int heads, i64 queries, int keys) {
  extern __shared__ float shared[];
  float* largest = shared;
  float* factors = shared + heads;
  const i64 query = blockIdx.x;

  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int head = warp; head < heads; head += warps) {
    const Softmax of = softmax<T, V>(logits + (head * queries + query) * keys, keys);
    if (threadIdx.x % 32 == 0) {
      largest[head] = of.largest;
      factors[head] = of.factor / heads;
    }
  }
  __syncthreads();

  for (int key = threadIdx.x * V; key < keys; key += blockDim.x * V) {
    Vector<float, V>* to = reinterpret_cast<Vector<float, V>*>(sum + query * keys + key);
    Vector<float, V> mean = *to;
    for (int head = 0; head < heads; ++head) {
      const Vector<T, V> x = *reinterpret_cast<const Vector<T, V>*>(logits + (head * queries + query) * keys + key);
#pragma unroll
      for (int v = 0; v < V; ++v) mean.of[v] += __expf(number(x.of[v]) - largest[head]) * factors[head];
    }
    *to = mean;
  }
}

// The first key's softmax of each of the rows of `logits` (rows, keys), to `probs` (rows,). A warp does a row.
template <typename T, int V>
__device__ void first_softmax(const T* logits, float* probs, i64 rows, int keys) {
  const i64 row = static_cast<i64>(blockIdx.x) * (blockDim.x / 32) + threadIdx.x / 32;
  if (row >= rows) return;
  const Softmax of = softmax<T, V>(logits + row * keys, keys);
  if (threadIdx.x % 32 == 0) probs[row] = __expf(number(logits[row * keys]) - of.largest) * of.factor;
}

#define KERNELS(NAME, T, V)                                                                                                              \
  extern "C" __global__ void group_norm_sums_##NAME(const T* xs, const T* bias, const T* shift, float2* partial, i64 pixels,             \
                                                    int channels, int groups, i64 part) {                                                \
    group_norm_sums<T, V>(xs, bias, shift, partial, pixels, channels, groups, part);                                                     \
  }                                                                                                                                      \
  extern "C" __global__ void group_norm_apply_##NAME(const T* xs, const T* bias, const T* shift, const float2* partial, const T* weight, \
                                                     const T* beta, T* out, i64 pixels, int channels, int groups, int parts, i64 part,   \
                                                     float eps, int activated) {                                                         \
    group_norm_apply<T, V>(xs, bias, shift, partial, weight, beta, out, pixels, channels, groups, parts, part, eps, activated);          \
  }                                                                                                                                      \
  extern "C" __global__ void geglu_##NAME(const T* xs, T* out, unsigned count, unsigned width) { geglu<T, V>(xs, out, count, width); }   \
  extern "C" __global__ void residual_sum_##NAME(const T* xs, const T* residual, const T* bias, T* out, unsigned count,                  \
                                                 unsigned channels) {                                                                    \
    residual_sum<T, V>(xs, residual, bias, out, count, channels);                                                                        \
  }                                                                                                                                      \
  extern "C" __global__ void layer_norm_of_sum_##NAME(const T* xs, const T* more, const T* weight, const T* beta, T* sum, T* out,        \
                                                      i64 rows, int channels, float eps) {                                               \
    layer_norm_of_sum<T, V>(xs, more, weight, beta, sum, out, rows, channels, eps);                                                      \
  }                                                                                                                                      \
  extern "C" __global__ void add_mean_softmax_##NAME(const T* logits, float* sum, int heads, i64 queries, int keys) {                    \
    add_mean_softmax<T, V>(logits, sum, heads, queries, keys);                                                                           \
  }                                                                                                                                      \
  extern "C" __global__ void first_softmax_##NAME(const T* logits, float* probs, i64 rows, int keys) {                                   \
    first_softmax<T, V>(logits, probs, rows, keys);                                                                                      \
  }

KERNELS(half_8, Half, 8)
KERNELS(half_1, Half, 1)
KERNELS(bfloat16_8, BFloat16, 8)
KERNELS(bfloat16_1, BFloat16, 1)
KERNELS(float_4, float, 4)
KERNELS(float_1, float, 1)
