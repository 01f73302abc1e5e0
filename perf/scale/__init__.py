"""The parts of the scale model; `perf/scale_model.py` is its command."""
