"""What every model of a user-item matrix has: fit, scores, recommend, similar_items, item_vectors, save, load.

user_items (the matrix) and ranking (its best columns), saving (a folder) -> model; checkpoints (a training's tensors in
one file, replaced whole) -> epochs (training, the best epoch by validation).
"""
