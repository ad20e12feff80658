"""The public protocols that models of user-item matrices are compared by.

interactions (a ratings or pairs file becomes distinct pairs) -> splits (strong or weak generalisation: training matrix,
validation and test users) -> metrics (Recall@k, NDCG@k per user); temporal (a log divided by time, ClickRank).
"""
