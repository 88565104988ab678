// What the kernels of a decode step are compiled for: a model's sizes, and how the work is cut. The defaults are Llama-3.2-1B's.
#pragma once

#ifndef HIDDEN
#define HIDDEN 2048
#endif
#ifndef INNER
#define INNER 8192
#endif
#ifndef HEADS
#define HEADS 32
#endif
#ifndef KV_HEADS
#define KV_HEADS 8
#endif
#ifndef HEAD_DIM
#define HEAD_DIM 64
#endif
#ifndef SPLITS
#define SPLITS 4  // blocks that share a KV head's positions
#endif
#ifndef WARPS
#define WARPS 8  // of a block
#endif
#ifndef SPAN
#define SPAN 2  // rows that a warp multiplies side by side
#endif
#ifndef DEPTH
#define DEPTH 2  // groups of vectors in a lane's ring
#endif

constexpr int THREADS = 32 * WARPS;
static_assert(THREADS <= 1024 && HEADS % KV_HEADS == 0, "whole groups of query heads, and a block that fits");
