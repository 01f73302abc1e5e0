"""What people look at: reports, plots, training curves."""
