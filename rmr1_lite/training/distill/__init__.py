"""Chains from a teacher behind an OpenAI-compatible server, in two passes (paper, section 3.1)."""
