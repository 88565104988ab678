#pragma once  // what it declares is there without it: see emu/cuda.h
