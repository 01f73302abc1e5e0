"""What the notebooks call, so that their cells only call, show and plot: set-up, settings, tables, plots,
live curves."""
