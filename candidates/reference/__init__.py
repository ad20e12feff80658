"""The models LED is measured against, fitted on one sparse user-item matrix and asked for scores of every item.

model (what each of them is: fit, scores) -> popularity, ease, slim, ials, elsa, autoencoder -> registry (by name).
"""
