"""Reports, plots, training curves."""
