"""The generative model under test: autoencoder, latent diffusion, sampling."""
