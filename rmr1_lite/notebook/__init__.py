"""The code behind the notebooks, whose cells only call, show and plot: set-up, settings, tables, plots,
live curves."""
