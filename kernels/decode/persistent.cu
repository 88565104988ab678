// Decode, whole steps in one kernel that stays: every multiprocessor has one block, which goes over its rows of all matrices, layer
// after layer, token after token.
//
// A chain of kernels leaves memory idle between two of them: the next one's weights can be asked for early, but only as far as its
// blocks find room beside those that still run. Here, one thread of each block does nothing but ask. Weights depend on nothing, so
// while the others wait for each other, for activations, for attention, tiles go on arriving until the ring is full (tile_ring.cuh).
//
//   asks       qkv │ output │ gate_up │ down │ qkv …                    without a pause
//   workers    qkv ║ attention ║ output ║ gate_up ║ down ║ qkv …        ║ what the next stage reads is there
//
// In each stage a block does what one kernel of the chain does; their sources say what is computed and how it lies: qkv.cu,
// attention.cu, output.cu, gate_up.cu, down.cu, head.cu, next_token.cu. The differences: rows come in tiles, for tensor cores, and
// activations are taken apart for them (tiled_rows.cuh, tensor_core.cuh); a norm's factor is one of the whole row, so it is multiplied
// in at the end; and what goes from block to block carries a mark (marked.cuh), the residual stream too.
//
//   all matrices, gains and caches of the layers lie one after the other: [LAYERS, …]; matrices in tiles (engine/fused/tiles.py)
//   hidden     [HIDDEN] float, the residual stream: at the beginning the token's embedding
//   streams    [2, HIDDEN] float, the residual stream after `output` and after `down`
//   attended   [WIDTH] float, what attention has found: of each KV head, one block puts the parts together
//   marked     are these two, qkv, parts, sums and inner
//   counts     what the blocks of all launches share: see grid_barrier.cuh
//   steps      tokens; with `chooses` 0 it is 1, and ends with the logits: the next token is somebody else's
//   grid       as many blocks as run at once, one a multiprocessor
//   block      WARPS warps, and one that asks (where there are bulk copies)       shared   shared_bytes: activations, then the ring
#include "advance.cuh"
#include "attend.cuh"
#include "largest.cuh"
#include "marked.cuh"
#include "tiled_rows.cuh"

#ifndef LAYERS
#define LAYERS 16
#endif
#ifndef VOCAB
#define VOCAB 128256
#endif
#ifndef LEAST_POSITIONS
#define LEAST_POSITIONS 64  // of a slice of attention, where there are several
#endif
constexpr int WIDTH = HEADS * HEAD_DIM, QKV = (HEADS + 2 * KV_HEADS) * HEAD_DIM;
constexpr int PARTS_AT_ONCE = 4;  // of attention, that a thread asks for

using QkvRows = TiledRows<QKV, 1, HIDDEN>;
using OutputRows = TiledRows<HIDDEN, 1, WIDTH>;
using GateUpRows = TiledRows<2 * INNER, 2, HIDDEN>;
using DownRows = TiledRows<HIDDEN, 1, INNER>;
using HeadRows = TiledRows<VOCAB, 1, HIDDEN>;

__host__ __device__ constexpr int largest_of(int a, int b, int c) { return a > b ? (a > c ? a : c) : (b > c ? b : c); }
constexpr int PLACE_BYTES = largest_of(QkvRows::TILE_BYTES, OutputRows::TILE_BYTES, DownRows::TILE_BYTES);
constexpr int STAGED_BYTES = largest_of(QkvRows::STAGED_BYTES, OutputRows::STAGED_BYTES, DownRows::STAGED_BYTES);

#if BULK_COPIES
constexpr int BLOCK = THREADS + 32;
#else
constexpr int BLOCK = THREADS;
#endif

// A row's scale; 1 where weights are not quantized.
__device__ __forceinline__ float scale_of(const float* scales, int row) {
  if constexpr (Weight::SCALED) return row >= 0 ? scales[row] : 0.0f;
  return 1.0f;
}

// The residual stream times the norm's gains; the norm's other factor is still missing.
struct Normed {
  const float* squares;  // shared memory: of each warp
  float sum = 0.0f;
  Activations<HIDDEN> x;

  // receive(i, fours) is as in Activations.
  template <class Receive>
  __device__ __forceinline__ Normed(const float* gain, unsigned* staged, unsigned* largest, float* squares,
                                    Receive receive)
      : squares(squares), x(staged, largest, [&](const auto& i, auto& fours) {
          constexpr int N = sizeof(i) / sizeof(int);
          float4 gains[N];
#pragma unroll
          for (int n = 0; n < N; n++) gains[n] = reinterpret_cast<const float4*>(gain)[max(i[n], 0)];
          receive(i, fours);
#pragma unroll
          for (int n = 0; n < N; n++) {
            float4 h = fours[n], g = gains[n];
            if (i[n] >= 0) sum += h.x * h.x + h.y * h.y + (h.z * h.z + h.w * h.w);
            fours[n] = make_float4(h.x * g.x, h.y * g.y, h.z * g.z, h.w * g.w);
          }
        }) {
    sum = warp_sum(sum);
    if (threadIdx.x % 32 == 0) squares[threadIdx.x / 32] = sum;
  }

  // After a barrier of the workers.
  __device__ __forceinline__ float factor(float epsilon) const {
    float all = 0.0f;
#pragma unroll
    for (int warp = 0; warp < WARPS; warp++) all += squares[warp];
    return rsqrtf(all / HIDDEN + epsilon);
  }
};

// Four numbers of what attention has found, put together of `count` parts: see merged.cuh.
__device__ __forceinline__ float4 receive_merged(Mark mark, const float* parts, const float2* sums, int count,
                                                 int four) {
  float largest = -CUDART_INF_F, total = 0.0f;
  float4 all = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
#pragma unroll 1
  for (int first = 0; first < count; first += PARTS_AT_ONCE) {
    float4 v[PARTS_AT_ONCE];
    float2 ms[PARTS_AT_ONCE];
    unsigned missing;
    do {
      missing = 0;
#pragma unroll
      for (int part = 0; part < PARTS_AT_ONCE; part++) {
        int of_head = four / LANES * SPLITS + min(first + part, count - 1);  // some of them twice
        v[part] = mark.look(reinterpret_cast<const float4*>(parts) + of_head * LANES + four % LANES);
        ms[part] = mark.look(sums + of_head);
      }
#pragma unroll
      for (int part = 0; part < PARTS_AT_ONCE; part++) missing |= mark.missing(v[part]) | mark.missing(ms[part]);
    } while (missing & 1);
    float now = largest;
#pragma unroll
    for (int part = 0; part < PARTS_AT_ONCE; part++) now = fmaxf(now, ms[part].x);
    float share = exp2f(largest - now);  // 0 the first time
    total *= share;
    all = make_float4(all.x * share, all.y * share, all.z * share, all.w * share);
    largest = now;
#pragma unroll
    for (int part = 0; part < PARTS_AT_ONCE; part++) {
      float weight = first + part < count ? exp2f(ms[part].x - now) : 0.0f;
      float4 one = v[part];
      total += weight * ms[part].y;
      all = make_float4(all.x + weight * one.x, all.y + weight * one.y, all.z + weight * one.z, all.w + weight * one.w);
    }
  }
  float share = 1.0f / total;
  return make_float4(all.x * share, all.y * share, all.z * share, all.w * share);
}

// A part of no positions.
__device__ __forceinline__ void send_empty(Mark mark, float* parts, float2* sums, int kv_head, int split) {
  for (int i = threadIdx.x; i < GROUP * LANES; i += THREADS) {
    int of_head = (kv_head * GROUP + i / LANES) * SPLITS + split;
    mark.send(reinterpret_cast<float4*>(parts) + of_head * LANES + i % LANES, make_float4(0.0f, 0.0f, 0.0f, 0.0f));
    if (i % LANES == 0) mark.send(sums + of_head, make_float2(-CUDART_INF_F, 0.0f));
  }
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
    decode_persistent(const uint4* __restrict__ qkv_weights, const float* __restrict__ qkv_scales,
                      const uint4* __restrict__ output_weights, const float* __restrict__ output_scales,
                      const uint4* __restrict__ gate_up_weights, const float* __restrict__ gate_up_scales,
                      const uint4* __restrict__ down_weights, const float* __restrict__ down_scales,
                      const uint4* __restrict__ head_weights, const float* __restrict__ head_scales,
                      const float* __restrict__ input_norms, const float* __restrict__ post_norms,
                      const float* __restrict__ q_norms, const float* __restrict__ k_norms,
                      const float* __restrict__ last_norm, const __nv_bfloat16* __restrict__ embedding,
                      const float2* __restrict__ turns, float* keys, float* values, float* hidden, float* streams,
                      float* qkv, float* parts, float2* sums, float* attended, float* inner, float* logits, Key* best,
                      int* state, const int* __restrict__ stops, int* tokens, Counts* counts, float epsilon,
                      float q_scale, int capacity, int steps, int chooses, int shared_bytes) {
  extern __shared__ __align__(16) char shared[];
  __shared__ float squares[WARPS], partials[2][PARTIALS];
  __shared__ unsigned largest[WARPS];
  unsigned* staged = reinterpret_cast<unsigned*>(shared);
  __shared__ Key keys_of_warps[WARPS];
#if !BULK_COPIES
  TileRing ring;
#else
  __shared__ TileBarriers barriers;
  TileRing ring(barriers, shared + STAGED_BYTES, shared_bytes - STAGED_BYTES, PLACE_BYTES);
  if (ring.places < WARPS) __trap();  // tile_ring.cuh says why
  if (threadIdx.x == 0) ring.init();
  __syncthreads();
  if (threadIdx.x > THREADS) return;
  if (threadIdx.x == THREADS) {
    unsigned long long policy = evict_first();
    int dealt = 0;
    for (int step = 0; step < steps; step++) {
#pragma unroll 1
      for (int number = 0; number <= 4 * LAYERS; number++) {  // of the matrix
        int layer = number / 4, of_layer = number < 4 * LAYERS ? number % 4 : 4;
        Tiles tiles = of_layer == 0   ? QkvRows(dealt).tiles(qkv_weights + layer * QkvRows::VECTORS)
                      : of_layer == 1 ? OutputRows(dealt).tiles(output_weights + layer * OutputRows::VECTORS)
                      : of_layer == 2 ? GateUpRows(dealt).tiles(gate_up_weights + layer * GateUpRows::VECTORS)
                      : of_layer == 3 ? DownRows(dealt).tiles(down_weights + layer * DownRows::VECTORS)
                                      : HeadRows(dealt).tiles(head_weights);
        tiles.ask(ring, policy);
      }
    }
    return;
  }
#endif
  GridBarrier barrier(&counts->barrier);
  Turnstile inner_done(&counts->inner);
  // A number's mark is another one in every layer, over all launches.
  Count layers = *reinterpret_cast<volatile Count*>(&counts->layers);
  Mark mark{(unsigned)(layers & 1) ^ 1}, before = mark;
  int dealt = 0;  // tiles, modulo the number of blocks
  float *after_output = streams, *after_down = streams + HIDDEN;

  for (int step = 0; step < steps; step++) {
    int position = fresh(state), slices = max(1, min(SPLITS, (position + 1) / LEAST_POSITIONS));
    bool ended = fresh(state + 2);
    for (int layer = 0; layer < LAYERS; layer++, before = mark, mark.bit ^= 1) {
      // The residual stream at the beginning of the layer.
      const float* stream = layer > 0 ? after_down : hidden;
      auto receive_stream = [&](const auto& i, auto& fours) {
        const float4* from = reinterpret_cast<const float4*>(stream);
        if (layer > 0) {
          before.receive(from, i, fours);
        } else {
          Plain().receive(from, i, fours);
        }
      };

      if (layer > 0) marks_decide();
      if (QkvRows rows(dealt); rows.count > 0) {
        const float* scales = qkv_scales + (size_t)layer * QKV;
        auto ahead = [&](int row) { return scale_of(scales, row); };
        auto known = rows.known(ahead);
        Normed normed(input_norms + (size_t)layer * HIDDEN, staged, largest, squares, receive_stream);
        rows.multiply(ring, partials, qkv_weights + layer * QkvRows::VECTORS, normed.x, known, ahead,
                      [&](int row, const float (&sum)[1], float scale) {
                        mark.send(qkv + row, sum[0] * scale * normed.factor(epsilon));
                      });
      }

      {
        size_t cache = (size_t)layer * capacity * (KV_HEADS * HEAD_DIM);
        bool waited = false;
        auto until_there = [&] {
          if (!waited) marks_decide();
          waited = true;
        };
        // The last layer leaves its mark on parts of no positions too: then the next step may have more parts.
        int all = KV_HEADS * (layer + 1 < LAYERS ? slices : SPLITS);
        for (int one = blockIdx.x; one < all; one += BLOCKS) {
          int kv_head = one % KV_HEADS, split = one / KV_HEADS;
          if (split < slices) {
            attend(Slice(split, slices, position), kv_head, 0, 1, ended, qkv,
                   q_norms + (QK_NORM ? layer * HEAD_DIM : 0), k_norms + (QK_NORM ? layer * HEAD_DIM : 0), turns,
                   keys + cache, values + cache, parts, sums, epsilon, q_scale, mark, until_there,
                   [] { sync_workers(); });
          } else {
            send_empty(mark, parts, sums, kv_head, split);
          }
        }
        until_there();
        marks_decide();
        for (int kv_head = blockIdx.x; kv_head < KV_HEADS; kv_head += BLOCKS) {
          for (int i = threadIdx.x; i < GROUP * LANES; i += THREADS) {
            int four = kv_head * GROUP * LANES + i;
            mark.send(reinterpret_cast<float4*>(attended) + four, receive_merged(mark, parts, sums, slices, four));
          }
        }
        marks_decide();
      }

      if (OutputRows rows(dealt); rows.count > 0) {
        const float* scales = output_scales + (size_t)layer * HIDDEN;
        auto ahead = [&](int row) {
          const float* residual = stream + max(row, 0);
          return make_float2(scale_of(scales, row), layer > 0 ? before.look(residual) : fresh(residual));
        };
        auto known = rows.known(ahead);
        Activations<WIDTH> x(staged, largest, [&](const auto& i, auto& fours) {
          mark.receive(reinterpret_cast<const float4*>(attended), i, fours);
        });
        rows.multiply(ring, partials, output_weights + layer * OutputRows::VECTORS, x, known, ahead,
                      [&](int row, const float (&sum)[1], float2 known) {
                        if (layer > 0) before.make_sure(known.y, stream + row);
                        mark.send(after_output + row, known.y + sum[0] * known.x);
                      });
      }

      marks_decide();
      if (GateUpRows rows(dealt); rows.count > 0) {
        const float* scales = gate_up_scales + (size_t)layer * 2 * INNER;
        auto ahead = [&](int i) { return make_float2(scale_of(scales, 2 * i), scale_of(scales, 2 * i + 1)); };
        auto known = rows.known(ahead);
        Normed normed(post_norms + (size_t)layer * HIDDEN, staged, largest, squares, [&](const auto& i, auto& fours) {
          mark.receive(reinterpret_cast<const float4*>(after_output), i, fours);
        });
        rows.multiply(ring, partials, gate_up_weights + layer * GateUpRows::VECTORS, normed.x, known, ahead,
                      [&](int i, const float (&sum)[2], float2 scale) {
                        float factor = normed.factor(epsilon), gate = sum[0] * scale.x * factor,
                              up = sum[1] * scale.y * factor;
                        mark.send(inner + i, gate / (1.0f + expf(-gate)) * up);
                      });
        inner_done.pass();
      }

      inner_done.wait(GateUpRows::SHARES);
      if (DownRows rows(dealt); rows.count > 0) {
        const float* scales = down_scales + (size_t)layer * HIDDEN;
        auto ahead = [&](int row) { return make_float2(scale_of(scales, row), mark.look(after_output + max(row, 0))); };
        auto known = rows.known(ahead);
        Activations<INNER> x(staged, largest, [&](const auto& i, auto& fours) {
          mark.receive(reinterpret_cast<const float4*>(inner), i, fours);
        });
        rows.multiply(ring, partials, down_weights + layer * DownRows::VECTORS, x, known, ahead,
                      [&](int row, const float (&sum)[1], float2 known) {
                        mark.make_sure(known.y, after_output + row);
                        mark.send(after_down + row, known.y + sum[0] * known.x);
                      });
      }
    }

    Key mine = NONE;
    marks_decide();
    if (HeadRows rows(dealt); rows.count > 0) {
      auto ahead = [&](int row) { return scale_of(head_scales, row); };
      auto known = rows.known(ahead);
      Normed normed(last_norm, staged, largest, squares, [&](const auto& i, auto& fours) {
        before.receive(reinterpret_cast<const float4*>(after_down), i, fours);
      });
      rows.multiply(ring, partials, head_weights, normed.x, known, ahead,
                    [&](int row, const float (&sum)[1], float scale) {
                      float logit = sum[0] * scale * normed.factor(epsilon);
                      logits[row] = logit;
                      mine = max(mine, key_of(logit, row));
                    });
    }
    mine = largest_of_block(mine, keys_of_warps, [] { sync_workers(); });
    if (threadIdx.x == 0) best[blockIdx.x] = mine;
    barrier.sync();
    if (!chooses) break;
    if (blockIdx.x == 0 && !ended) {  // else this step was launched ahead, in vain
      mine = NONE;
      for (int i = threadIdx.x; i < BLOCKS; i += THREADS) mine = max(mine, __ldcg(best + i));
      mine = largest_of_block(mine, keys_of_warps, [] { sync_workers(); });
      advance(index_of(mine), LARGEST, state, stops, embedding, hidden, tokens, capacity);
    }
    barrier.sync();
  }
  // All blocks are behind the turnstile: for the next launch.
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    counts->inner = 0;
    counts->layers = layers + (Count)LAYERS * steps;
  }
}
