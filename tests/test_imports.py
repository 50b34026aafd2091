"""Every module can be imported, and importing stays cheap and quiet where that matters."""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys

import deepssim


def test_every_module_imports():
    modules = [module.name for module in pkgutil.walk_packages(deepssim.__path__, "deepssim.")]
    assert "deepssim.similarity.ssim" in modules
    for name in modules:
        if name != "deepssim.similarity.ssim_cuda" or importlib.util.find_spec("triton"):  # it comes with GPU builds
            importlib.import_module(name)


def test_command_line_does_not_import_networks():
    code = "import sys, deepssim.cli; print(*{'torch', 'pandas', 'numba', 'matplotlib'} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert loaded == ""
