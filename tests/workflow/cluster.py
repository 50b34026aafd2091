"""A real Slurm on this machine: controller, node daemon and munge, with all their state in one folder."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
_PATIENCE_S = 60

_CONFIG = """
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/jobs.txt
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_min_interval=100000
GresTypes=gpu
KillWait=5
SlurmdParameters=config_overrides
ReturnToService=2
NodeName=localhost NodeAddr=127.0.0.1 NodeHostname={host} CPUs=8 RealMemory=64000 Gres=gpu:2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """One node with eight simulated processors, 64 GB and two GPUs, whatever this machine has; `start` and `stop` it.

    Args:
        folder: new folder for everything; its path must be short, since sockets lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen] = []
        self.environment = os.environ | {
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def start(self) -> None:
        """Start the three daemons and wait until the node takes jobs."""
        for name in ("state", "spool", "munge", "bin"):
            (self.folder / name).mkdir(mode=0o700)
        # Snakemake's executor clears Slurm's variables inside of a job, also the one that says where this cluster is.
        srun = self.folder / "bin" / "srun"
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        for number in range(2):
            (self.folder / f"gpu{number}").touch()
        (self.folder / "gres.conf").write_text(
            "".join(f"Name=gpu File={self.folder}/gpu{number}\n" for number in range(2))
        )
        (self.folder / "slurm.conf").write_text(
            _CONFIG.format(
                folder=self.folder,
                ports=free_ports(2),
                host=socket.gethostname().split(".")[0],
            )
        )
        munge = {name: f"--{name}-file={self.folder}/munge/{name}" for name in ("key", "pid", "log", "seed")}
        self._daemon("munged", "--foreground", "--force", f"--socket={self.folder}/munge/socket", *munge.values())
        self._until(lambda: (self.folder / "munge" / "socket").exists(), "munged")
        self._daemon("slurmctld", "-D")
        self._daemon("slurmd", "-D", "-N", "localhost")
        self._until(lambda: "idle" in self.run("sinfo", "--noheader", "--format=%T"), "the node")

    def stop(self) -> None:
        """End the daemons, the last one first; nothing but what was started here."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands and return what it prints."""
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60).stdout

    def running(self) -> dict[str, str]:
        """Return id and rule of the jobs that run."""
        lines = self.run("squeue", "--noheader", "--states=RUNNING", "--format=%A %k").splitlines()
        return {line.split()[0]: line.split(maxsplit=1)[1] for line in lines if " " in line}

    def ended(self) -> list[dict[str, str]]:
        """Return what Slurm wrote down about the jobs that ended, in that order."""
        log = self.folder / "jobs.txt"
        lines = log.read_text().splitlines() if log.exists() else []
        return [dict(re.findall(r"(\w+)=(\S*)", line)) for line in lines]

    def _daemon(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.out").open("w") as out:
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))

    def _until(self, ready, what: str) -> None:
        end = time.monotonic() + _PATIENCE_S
        while not ready():
            dead = [process.args for process in self.processes if process.poll() is not None]
            if dead or time.monotonic() > end:
                logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.out"))
                self.stop()
                raise RuntimeError(f"{what} does not start; ended: {dead}\n{logs}")
            time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def why_no_slurm() -> str | None:
    """Return why Slurm cannot run here, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}): apt-get install slurm-wlm munge"
    return None if os.geteuid() == 0 else "only root can start Slurm's daemons"
