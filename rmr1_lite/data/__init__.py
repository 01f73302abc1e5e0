"""Where pairs come from: files on disk, public preference sets, and the generated nano world."""
