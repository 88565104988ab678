"""Checks of the emulator against what NVIDIA's own tools say on a GPU."""
