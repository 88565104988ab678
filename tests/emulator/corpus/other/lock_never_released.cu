// Whoever comes second waits for a lock that the first never gives back.
// ---
// block: 2
// args: [lock int32[1] zeros, out int32[1] zeros output]
// fault: deadlock
// ---
extern "C" __global__ void k(int* lock, int* out) {
  while (atomicCAS(lock, 0, 1) != 0) {  // FAULT
  }
  out[0] = 1;
}
