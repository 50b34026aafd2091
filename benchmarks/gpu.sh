#!/usr/bin/env bash
# One command for a machine with a GPU and no network: `benchmarks/gpu.sh`; docs/gpu.md says how. Options are those of
# `python -m benchmarks.gpu`: `--parts b,c` for some parts, `--device cpu --tiny` to see anywhere that all of it runs.
# PYTHON names the interpreter (default: python3). Wheels that `python -m benchmarks.gpu_kit` collected are used from DEEPSSIM_GPU_KIT (default: gpu-kit).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3}
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
export DEEPSSIM_GPU_KIT=${DEEPSSIM_GPU_KIT:-$PWD/gpu-kit}
install() { "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$@"; }
if compgen -G "$DEEPSSIM_GPU_KIT/wheels/*.whl" >/dev/null && ! install "$DEEPSSIM_GPU_KIT"/wheels/*.whl; then
    for wheel in "$DEEPSSIM_GPU_KIT"/wheels/*.whl; do # one that does not fit this Python must not cost the others
        install --upgrade "$wheel" || echo "left out: $wheel" >&2
    done
fi
# The package runs from its source; commands ask for its version.
mkdir "$site/start" "$site/deepssim-0.dist-info"
printf 'Metadata-Version: 2.1\nName: deepssim\nVersion: 0+source\n' >"$site/deepssim-0.dist-info/METADATA"
# Wheels come after what the machine has: they fill gaps and replace nothing.
printf 'import sys\nsys.path.append("%s")\n' "$site" >"$site/start/sitecustomize.py"
export PYTHONPATH="$site/start:$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}"
export OMP_WAIT_POLICY=passive PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
"$python" -m benchmarks.gpu "$@"
