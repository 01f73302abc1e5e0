"""The loop closed in the nano world: a small policy that answers questions is trained with a judge as its
only reward, and the world's own truth, which the judge never sees, says what became of it.

`start` makes the policy, mediocre on purpose; `training` trains it with TRL; `measure` takes truth, the
judge's opinion and the signs of reward hacking on held-out questions; `study` runs seeds, controls and
attacks; `summary` and `curves` show them.
"""
