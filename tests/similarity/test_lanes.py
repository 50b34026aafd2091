"""Compiled loops leave the number of threads that torch uses alone."""

import torch

from deepssim.config.choices import Device, MetricName
from deepssim.metrics import METRICS
from deepssim.similarity.tiles import all_scores


def test_scores_do_not_change_the_threads_of_torch(packs):
    before = torch.get_num_threads()
    try:
        for number in (1, before):
            torch.set_num_threads(number)
            all_scores(METRICS[MetricName.SSIM].compare(*packs, 1, Device.CPU))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)
