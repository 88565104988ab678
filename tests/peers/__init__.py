"""Engines side by side without a GPU: machines of known cost for engines, made-up jobs for processes, the emulator for ours."""
