"""Find out whether a generative model of medical images has memorized patients."""

__version__ = "0.1.0"
