"""One vector per image from its keypoints, so that images with common keypoints are found among many.

Each descriptor is assigned to the nearest of 256 words, which are learned on real images, and its direction from that word is
added up: a vector of locally aggregated descriptors.

Not here: keypoints and their geometry (keypoints.py), the search (similarity/topk.py).

Source: Jegou et al. 2010, doi:10.1109/CVPR.2010.5540039; residuals of length 1 and square roots: Delhumeau et al. 2013,
doi:10.1145/2502081.2502171.
"""

from dataclasses import dataclass

import numpy as np

from deepssim.registration.keypoints import WIDTH, unit_descriptors

WORDS = 256
DIMENSIONS = 32  # of descriptors, by principal components
_SAMPLE = 100_000  # descriptors that words are learned on


@dataclass(frozen=True)
class Vocabulary:
    """Words of descriptors.

    Attributes:
        mean: float32 (128,), of unit descriptors.
        axes: float32 (128, 32), principal axes.
        words: float32 (W, 32).
    """

    mean: np.ndarray
    axes: np.ndarray
    words: np.ndarray

    @property
    def length(self) -> int:
        """Numbers of an image's vector."""
        return self.words.size

    def aggregate(self, descriptors: np.ndarray) -> np.ndarray:
        """Return the vector of an image.

        Args:
            descriptors: uint8 (K, 128), of one image.

        Returns:
            float32 (D,), of length 1; zero without keypoints, or if all are words themselves.
        """
        vector = np.zeros(self.words.shape, np.float32)
        if not len(descriptors):
            return vector.ravel()
        values = (unit_descriptors(descriptors) - self.mean) @ self.axes
        nearest = (values @ self.words.T - np.square(self.words).sum(axis=1) / 2).argmax(axis=1)
        residuals = values - self.words[nearest]
        residuals /= np.linalg.norm(residuals, axis=1, keepdims=True) + 1e-6
        np.add.at(vector, nearest, residuals)
        vector = np.sign(vector) * np.sqrt(np.abs(vector))
        norm = float(np.linalg.norm(vector))
        return (vector / norm if norm > 0 else vector).ravel()


def learn_vocabulary(descriptors: list[np.ndarray], seed: int) -> Vocabulary:
    """Learn the words of real images.

    Args:
        descriptors: uint8 (K, 128) of each image.
        seed: of the sample and of the first words.
    """
    from sklearn.cluster import MiniBatchKMeans

    from deepssim.seeds import numpy_generator

    random = numpy_generator(seed, "words of keypoints")
    sample = np.concatenate([np.zeros((0, WIDTH), np.uint8), *descriptors])
    sample = sample[random.permutation(len(sample))[:_SAMPLE]]
    values = unit_descriptors(sample)
    if not len(values):
        return Vocabulary(
            np.zeros(WIDTH, np.float32),
            np.eye(WIDTH, DIMENSIONS, dtype=np.float32),
            np.zeros((1, DIMENSIONS), np.float32),
        )
    mean = values.mean(axis=0)
    centred = values - mean
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :DIMENSIONS].astype(np.float32)
    if len(values) <= WORDS:  # one word, since descriptors that are words themselves have no direction from them
        return Vocabulary(mean, axes, np.zeros((1, DIMENSIONS), np.float32))
    words = MiniBatchKMeans(WORDS, n_init=1, batch_size=4096, max_iter=20, random_state=seed % 2**32)
    return Vocabulary(mean, axes, words.fit(centred @ axes).cluster_centers_.astype(np.float32))
