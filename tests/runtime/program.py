"""A training of a line by one process or several, as a program: `program.py COUNT FOLDER [fail|wait]`."""

import atexit
import os
import sys
import time
from pathlib import Path

import lightning.pytorch as lightning
import torch

from deepssim.config.choices import Decay, Device, Keep
from deepssim.config.training import TrainingConfig
from deepssim.runtime.messages import log_to, short_errors
from deepssim.runtime.processes import Processes
from deepssim.training.driver import Batched, train

EPOCHS = 4


class Line(lightning.LightningModule):
    def __init__(self, folder: Path, what: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.folder, self.what = folder, what
        self.network = torch.nn.Linear(3, 2)

    def training_step(self, batch, batch_idx):
        if self.what == "fail" and self.trainer.global_rank == 1:
            os._exit(3)
        while self.what == "wait" and self.trainer.current_epoch == EPOCHS // 2 and not (self.folder / "go").exists():
            time.sleep(0.02)
        loss = ((self.network(batch[0]) - batch[1]) ** 2).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)


def note_group(folder: Path) -> None:
    """Leave a file if the group of processes still exists when the program ends."""
    if torch.distributed.is_initialized():
        (folder / f"group of {os.getpid()}").touch()


def main(count: int, folder: Path, what: str = "") -> None:
    atexit.register(note_group, folder)
    data = Batched(torch.linspace(-1, 1, 36).reshape(12, 3), torch.linspace(0, 1, 24).reshape(12, 2))
    options = TrainingConfig(epochs=EPOCHS, batch_size=6, keep=Keep.LAST, decay=Decay.CONSTANT)
    with log_to(folder / "log.txt"), short_errors():
        trained = train(Line(folder, what), data, None, options=options, seed=1, device=Device.CPU, state=folder / "state",
                        processes=Processes(count))  # fmt: skip
        torch.save(trained.module.state_dict(), folder / "weights.pt")
        trained.write_history(folder / "history.csv")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
