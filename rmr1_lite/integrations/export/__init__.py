"""Writes a judge as files that other programs load, and checks that it still gives the same verdicts."""
