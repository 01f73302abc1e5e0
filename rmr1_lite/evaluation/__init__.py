"""Evaluation: judges on labelled pairs and public benchmarks, with metrics, intervals and comparisons."""
