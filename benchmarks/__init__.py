"""Scripts that measure: the GPU, the emulator, and peers beside them; and what is made from their records."""
