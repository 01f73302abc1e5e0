"""The kit from Python: `from rmr1_lite import load_judge`. See `rmr1_lite.api.pairwise` and docs/use.md."""
