// Kernels that time the emulator itself: an empty launch, barriers, shuffles, and three of the course's shapes.
#include <cuda_bf16.h>
#include <math_constants.h>

extern "C" __global__ void touch(float* out) { out[blockIdx.x * blockDim.x + threadIdx.x] += 1.0f; }

extern "C" __global__ void barriers(int rounds) {
  for (int i = 0; i < rounds; i++) __syncthreads();
}

extern "C" __global__ void shuffles(float* out, int rounds) {
  float value = threadIdx.x;
  for (int i = 0; i < rounds; i++) value += __shfl_xor_sync(0xffffffffu, value, 1);
  out[threadIdx.x] = value;
}

// out[row] = sum over k of weights[row][k] x[k]. A warp takes four rows at a time: x is loaded once for all of them, and
// their four sums are added up together, six shuffles instead of twenty. rows: a multiple of 4; columns: of 8.
__device__ __forceinline__ float dot8(uint4 raw, float4 a, float4 b) {
  const __nv_bfloat162* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
  float2 p = __bfloat1622float2(pairs[0]), q = __bfloat1622float2(pairs[1]);
  float2 r = __bfloat1622float2(pairs[2]), s = __bfloat1622float2(pairs[3]);
  return p.x * a.x + p.y * a.y + q.x * a.z + q.y * a.w + r.x * b.x + r.y * b.y + s.x * b.z + s.y * b.w;
}

extern "C" __global__ void matvec(const __nv_bfloat16* weights, const float* x, float* out, int rows, int columns) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) / 32 * 4, lane = threadIdx.x % 32, chunks = columns / 8;
  if (row >= rows) return;
  const uint4* w = reinterpret_cast<const uint4*>(weights + (size_t)row * columns);
  const float4* v = reinterpret_cast<const float4*>(x);
  float s0 = 0.0f, s1 = 0.0f, s2 = 0.0f, s3 = 0.0f;
  for (int i = lane; i < chunks; i += 32) {
    float4 a = v[2 * i], b = v[2 * i + 1];
    s0 += dot8(w[i], a, b);
    s1 += dot8(w[chunks + i], a, b);
    s2 += dot8(w[2 * chunks + i], a, b);
    s3 += dot8(w[3 * chunks + i], a, b);
  }
  // Half of the lanes keep rows 0 and 1 and give away 2 and 3, the other half the other way round; then the same by one.
  bool upper = lane & 16, odd = lane & 8;
  float mine0 = upper ? s2 : s0, mine1 = upper ? s3 : s1;
  mine0 += __shfl_xor_sync(0xffffffffu, upper ? s0 : s2, 16);
  mine1 += __shfl_xor_sync(0xffffffffu, upper ? s1 : s3, 16);
  float mine = odd ? mine1 : mine0;
  mine += __shfl_xor_sync(0xffffffffu, odd ? mine0 : mine1, 8);
  for (int distance = 4; distance > 0; distance /= 2) mine += __shfl_xor_sync(0xffffffffu, mine, distance);
  if (lane % 8 == 0) out[row + lane / 8] = mine;
}

// c = a b, n x n, n a multiple of 32.
extern "C" __global__ void matmul(const float* a, const float* b, float* c, int n) {
  __shared__ float ta[32][33], tb[32][32];
  int x = threadIdx.x, y = threadIdx.y, row = blockIdx.y * 32 + y, column = blockIdx.x * 32 + x;
  float sum = 0.0f;
  for (int first = 0; first < n; first += 32) {
    ta[y][x] = a[row * n + first + x];
    tb[y][x] = b[(first + y) * n + column];
    __syncthreads();
#pragma unroll
    for (int k = 0; k < 32; k++) sum += ta[y][k] * tb[k][x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}

// Causal attention for head dimension 64: 32 queries a block, four warps, keys and values 32 at a time through shared
// memory, softmax on the fly. q, k, v, out: [heads, length, 64]; length: a multiple of 32.
extern "C" __global__ void attention(const float* q, const float* k, const float* v, float* out, int length) {
  __shared__ float keys[32][65], values[32][64], weights[32][32], queries[32][64];
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32, first_query = blockIdx.x * 32;
  size_t base = (size_t)blockIdx.y * length * 64;
  for (int i = threadIdx.x; i < 32 * 64; i += 128) queries[i / 64][i % 64] = q[base + first_query * 64 + i] * 0.125f;
  float largest[8], total[8], low[8], high[8];
  for (int r = 0; r < 8; r++) largest[r] = -CUDART_INF_F, total[r] = low[r] = high[r] = 0.0f;
  for (int first = 0; first <= first_query; first += 32) {
    __syncthreads();
    for (int i = threadIdx.x; i < 32 * 64; i += 128) {
      keys[i / 64][i % 64] = k[base + first * 64 + i];
      values[i / 64][i % 64] = v[base + first * 64 + i];
    }
    __syncthreads();
    for (int r = 0; r < 8; r++) {
      int row = warp * 8 + r;
      float score = 0.0f;
      for (int d = 0; d < 64; d++) score += queries[row][d] * keys[lane][d];
      if (first + lane > first_query + row) score = -CUDART_INF_F;
      float top = score;
      for (int d = 16; d > 0; d /= 2) top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, d));
      top = fmaxf(top, largest[r]);
      float weight = __expf(score - top), correction = __expf(largest[r] - top), sum = weight;
      for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
      largest[r] = top;
      total[r] = total[r] * correction + sum;
      weights[row][lane] = weight;
      __syncwarp();
      float a = low[r] * correction, b = high[r] * correction;
      for (int j = 0; j < 32; j++) {
        float w = weights[row][j];
        a += w * values[j][lane];
        b += w * values[j][lane + 32];
      }
      low[r] = a, high[r] = b;
      __syncwarp();
    }
  }
  for (int r = 0; r < 8; r++) {
    size_t place = base + (size_t)(first_query + warp * 8 + r) * 64 + lane;
    out[place] = low[r] / total[r], out[place + 32] = high[r] / total[r];
  }
}
