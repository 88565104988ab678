// A ring of tiles in shared memory, between one thread that asks for weights and the warps that multiply them.
//
// A tile is memory in one piece; one instruction copies it (`cp.async.bulk`, Hopper's copy engine), and no thread does anything for
// it. Two barriers of hardware (`mbarrier`) belong to each place of the ring: `full` counts the bytes that have arrived,
// `empty` says that the warp that multiplies the tile is done with it. Weights depend on nothing that a step computes: whoever asks
// runs ahead of the others, across the ends of matrices, layers and steps, as far as there is room.
//
//   asks        | 7 | 8 |   | 4 | 5 | 6 |        waits for `empty` of the next place, fills it
//   multiplies              ^ waits for `full`, multiplies, says `empty`
//
// PTX ISA, "Asynchronous copies: cp.async.bulk" and "mbarrier". The emulator has no such copies, and GPUs before Hopper neither: there,
// a tile is read where it is.
#pragma once

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900 && !defined(__CUDA_EMU__)
#define BULK_COPIES 1
#else
#define BULK_COPIES 0
#endif

#if !BULK_COPIES

struct TileRing {
  __device__ __forceinline__ void skip(int) {}
  __device__ __forceinline__ const uint4* wait(const uint4* tile) { return tile; }
  __device__ __forceinline__ void release() {}
};
__device__ __forceinline__ void workers_wait(bool) {}

#else

// Tiles on their way at once, at most: while the workers multiply, and while they wait for other blocks. The ring should be full by
// then, but what they wait for goes the same way as the tiles, and behind them.
#ifndef IN_FLIGHT
#define IN_FLIGHT 5
#endif
#ifndef IN_FLIGHT_WAITING
#define IN_FLIGHT_WAITING 2
#endif
__shared__ volatile int most_in_flight;

// By all workers.
__device__ __forceinline__ void workers_wait(bool yes) {
  if (IN_FLIGHT_WAITING != IN_FLIGHT && threadIdx.x == 0) most_in_flight = yes ? IN_FLIGHT_WAITING : IN_FLIGHT;
}

constexpr int MOST_PLACES = 64;

struct TileBarriers {
  unsigned long long full[MOST_PLACES], empty[MOST_PLACES];
};

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return (unsigned)__cvta_generic_to_shared(pointer);
}

// One warp's view: where it is in the ring, and how often it was round.
struct TileRing {
  unsigned tiles, full, empty;  // addresses in shared memory
  const char* memory;
  int places, place_bytes;
  int place = 0;
  unsigned round = 0;  // its lowest bit is the parity that a barrier waits for
  int asked = 0;       // of who asks: tiles, no more than it is interested in

  //   memory   of so many bytes of shared memory, of which the ring takes as many places as fit
  __device__ __forceinline__ TileRing(TileBarriers& barriers, char* memory, int memory_bytes, int bytes)
      : full(shared_address(barriers.full)), empty(shared_address(barriers.empty)), place_bytes(bytes) {
    int unused = -shared_address(memory) & 127;  // copies are fastest to whole lines
    this->memory = memory + unused;
    tiles = shared_address(this->memory);
    places = min(MOST_PLACES, (memory_bytes - unused) / bytes);
  }

  // By one thread, before any other method; a barrier of the block comes after it.
  __device__ __forceinline__ void init() {
    for (int i = 0; i < places; i++) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(full + 8 * i));
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(empty + 8 * i));
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    most_in_flight = IN_FLIGHT;
  }

  static __device__ __forceinline__ void wait_for(unsigned barrier, unsigned parity) {
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@!done bra again;\n"
        "}\n" ::"r"(barrier),
        "r"(parity)
        : "memory");
  }

  // Go on by so many tiles.
  __device__ __forceinline__ void skip(int count) {
    place += count;
#pragma unroll 1
    while (place >= places) {
      place -= places;
      round++;
    }
  }

  // Ask for a tile, by one thread, as soon as there is room. Each byte is used once: others in the L2 cache should stay rather than
  // these.
  __device__ __forceinline__ void ask(const uint4* from, int bytes, unsigned long long policy) {
    int most = IN_FLIGHT_WAITING == IN_FLIGHT ? IN_FLIGHT : most_in_flight;
    if (asked < MOST_PLACES) asked++;
    if (asked > most && most < places) {  // else the next line waits long enough
      bool before = place < most;         // the oldest of them was asked for a round ago
      wait_for(full + 8 * (place - most + (before ? places : 0)), (round - before) & 1);
    }
    wait_for(empty + 8 * place, ~round & 1);  // of the first round: at once
    unsigned barrier = full + 8 * place;
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], "
        "%4;" ::"r"(tiles + place * place_bytes),
        "l"(from), "r"(bytes), "r"(barrier), "l"(policy)
        : "memory");
    skip(1);
  }

  // The next tile, once it is there; all lanes of a warp call it. A parity does not tell a round from the next but one, and a warp
  // may come here while the tile before, another warp's, is still on its way: so first until that one is done with. It cannot be two
  // rounds ahead as long as there is a place for every warp.
  __device__ __forceinline__ const uint4* wait(const uint4*) {
    if (round > 0) wait_for(empty + 8 * place, ~round & 1);
    wait_for(full + 8 * place, round & 1);
    return reinterpret_cast<const uint4*>(memory + place * place_bytes);
  }

  // The warp is done with the tile.
  __device__ __forceinline__ void release() {
    __syncwarp();
    if (threadIdx.x % 32 == 0) {
      asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(empty + 8 * place) : "memory");
    }
  }
};

__device__ __forceinline__ unsigned long long evict_first() {
  unsigned long long policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

#endif
