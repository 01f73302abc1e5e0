"""Before a training: what fits on a card, how long it takes, and one trial step on the longest rows."""
