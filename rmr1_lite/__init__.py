"""rmr1_lite: a single-GPU LoRA reproduction kit of RM-R1, "Reward Modeling as Reasoning" (arXiv 2505.02387).

Importing the package imports neither torch nor transformers: read `rmr1_lite.types` first, then follow the
floors up.
"""

__version__ = "0.1.0"
