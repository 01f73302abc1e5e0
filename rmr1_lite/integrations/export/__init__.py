"""Writes a judge as files for other programs."""
