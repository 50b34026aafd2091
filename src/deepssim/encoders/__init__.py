"""Networks that turn an image into an embedding, and the training of those that train here."""
