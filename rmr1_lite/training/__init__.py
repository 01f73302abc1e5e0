"""Training: SFT, GRPO, what both share, what fits on a card (planning), and making chains (distill)."""
