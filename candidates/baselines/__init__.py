"""The models LED is measured against, fitted on one sparse user-item matrix and asked for scores of every item.

popularity, ease, slim, ials, elsa: one module each; network -> autoencoder (Mult-VAE, Mult-DAE) -> paper_vae.
"""
