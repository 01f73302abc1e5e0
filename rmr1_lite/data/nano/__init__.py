"""The nano world: generated preference pairs with known truth, a programmatic teacher, and the nano base's
documents.

lexicon -> tasks (one question with its good and bad replies) -> world (pairs, splits) -> teacher (chains),
and documents (the nano base's pretraining texts). Nothing here is real natural language:
it is the smallest world in which RM-R1's chain can be seen to learn, and it says nothing about
real judges.
"""
