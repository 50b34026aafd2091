"""Names of the reference's scripts in place of this program's commands.

Not here: the commands (generation_commands.py, score_commands.py).
"""

import re

# All other scripts differ from the command in underscores only.
_RENAMED = {"deepssim-train": "train"}


def command_of(word: str) -> str:
    """Return the command that a word means.

    Args:
        word: a command, or the name of one of the reference's scripts, such as `compute_matrix` or `scripts/compute_matrix.py`.

    Returns:
        The name of the command, if there is such a command; any other word with dashes for underscores.
    """
    name = re.split(r"[/\\]", word)[-1].removesuffix(".py").replace("_", "-")
    return _RENAMED.get(name, name)
