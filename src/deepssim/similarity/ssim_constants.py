"""Constants of SSIM, for all who compute it or approximate it.

Source: defaults of scikit-image's `structural_similarity`, those of Wang et al. 2004, doi:10.1109/TIP.2003.819861, except
for the window, which is uniform.
"""

WINDOW = 7  # pixels, side of the uniform window
K1, K2 = 0.01, 0.03
