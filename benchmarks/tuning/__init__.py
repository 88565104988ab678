"""How the fused kernels of a decode step should cut their work: candidates, tried on the GPU."""
