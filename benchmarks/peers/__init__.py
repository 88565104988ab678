"""Whole engines beside this one: the same model, prompt and number of tokens, on one machine, in one run."""
