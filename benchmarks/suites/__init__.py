"""What `benchmarks/gpu.py` runs: each module has `run(context)` and returns the figures of one record."""
