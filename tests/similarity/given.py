"""A comparison whose scores are given, to test what is done with scores apart from how they are computed."""

import numpy as np


class Given:
    """Rows and columns of a matrix that exists; see `tiles.Comparison`."""

    bytes_held = 0

    def __init__(self, scores: np.ndarray, bytes_per_item: int = 8) -> None:
        self.scores = scores.astype(np.float32)
        self.shape = scores.shape
        self.bytes_per_item = bytes_per_item

    def prepare_rows(self, rows):
        return np.arange(self.shape[0])[rows]

    def prepare_columns(self, columns):
        return np.arange(self.shape[1])[columns]

    def compare(self, rows, columns):
        return self.scores[np.ix_(rows, columns)]

    def compare_pairs(self, rows, columns, row_of, column_of):
        return self.scores[rows[row_of], columns[column_of]]
