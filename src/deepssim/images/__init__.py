"""What an image is: its key, how it is read, stored, standardised and augmented."""
