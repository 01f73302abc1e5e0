"""A pairwise judge as the reward of a policy's reinforcement learning: TRL, verl, OpenRLHF."""
