"""The nano world: generated preference pairs with known truth, a programmatic teacher, and the nano base's
documents.

lexicon -> tasks (one question with its good and bad replies) -> world (pairs, splits) -> teacher (chains),
and documents (what the nano base reads before it ever meets a judge). Nothing here is natural language in
earnest: it is the smallest world in which RM-R1's chain can be watched learning, and it says nothing about
real judges.
"""
