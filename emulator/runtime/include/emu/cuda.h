// Included before every kernel: the part of CUDA C++ that needs no #include.
#pragma once
#include "emu/platform.h"
#include "emu/vector_types.h"
#include "emu/execution.h"
#include "emu/collectives.h"
#include "emu/atomics.h"
#include "emu/math.h"
#include "emu/checked.h"
#include "emu/entry.h"
