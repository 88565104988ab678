// Measures what device memory gives: every byte read once, or read once and written once.
//
//   source, target   count vectors of 16 bytes
//   grid             any; block: any. Each thread has four loads in flight.
extern "C" __global__ void read_all(const uint4* __restrict__ source, long long count, unsigned* __restrict__ sink) {
  long long stride = (long long)gridDim.x * blockDim.x, i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  unsigned sum = 0;
  for (; i + 3 * stride < count; i += 4 * stride) {
    uint4 a = __ldcs(source + i), b = __ldcs(source + i + stride);
    uint4 c = __ldcs(source + i + 2 * stride), d = __ldcs(source + i + 3 * stride);
    sum += a.x + a.y + a.z + a.w + b.x + b.y + b.z + b.w + c.x + c.y + c.z + c.w + d.x + d.y + d.z + d.w;
  }
  for (; i < count; i += stride) sum += source[i].x + source[i].y + source[i].z + source[i].w;
  atomicAdd(sink, sum);
}

extern "C" __global__ void copy_all(const uint4* __restrict__ source, long long count, uint4* __restrict__ target) {
  long long stride = (long long)gridDim.x * blockDim.x, i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  for (; i + 3 * stride < count; i += 4 * stride) {
    uint4 a = __ldcs(source + i), b = __ldcs(source + i + stride);
    uint4 c = __ldcs(source + i + 2 * stride), d = __ldcs(source + i + 3 * stride);
    __stcs(target + i, a);
    __stcs(target + i + stride, b);
    __stcs(target + i + 2 * stride, c);
    __stcs(target + i + 3 * stride, d);
  }
  for (; i < count; i += stride) target[i] = source[i];
}
