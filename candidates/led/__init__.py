"""LED: its model, losses, training examples, training, and the online source."""
