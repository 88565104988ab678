"""The fast engine: a decode step of a few fused kernels, launched ahead of the tokens that they choose."""
