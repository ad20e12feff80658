"""What every model of a user-item matrix has: fit and scores (model), training by epochs (epochs), and its checkpoints.

checkpoints (a training's tensors in one file, replaced whole) -> epochs (the best epoch by validation) -> model.
"""
