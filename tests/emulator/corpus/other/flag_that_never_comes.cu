// A thread polls a flag that nobody sets.
// ---
// block: 32
// args: [flag int32[1] zeros, out int32[1] output]
// fault: deadlock
// ---
extern "C" __global__ void k(volatile int* flag, int* out) {
  if (threadIdx.x == 0) {
    while (flag[0] == 0) {  // FAULT
    }
    out[0] = 1;
  }
}
