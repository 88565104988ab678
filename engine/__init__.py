"""The finished Llama engine: one module per subject, backed by the CUDA sources in `kernels/`."""
