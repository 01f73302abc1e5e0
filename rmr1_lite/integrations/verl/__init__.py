"""Takes pairs, prompts and reward of the kit to verl, for GRPO on more than one card, and brings the adapter
back.

The folder that is written runs without the kit. verl itself is never imported here.
"""
