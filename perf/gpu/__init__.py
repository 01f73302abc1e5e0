"""The jobs of gpu_acceptance.py, each run by `python -m gpu.worker` in a separate process."""
