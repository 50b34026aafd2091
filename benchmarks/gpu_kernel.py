"""Compile the SSIM kernel ahead of time and read what it needs: `python -m benchmarks.gpu_kernel`; no GPU is needed.

Triton's wheel has NVIDIA's assembler and disassembler, which tell registers, shared memory and what did not fit into
registers. Triton must not run as an interpreter (TRITON_INTERPRET).
"""

import json
import subprocess
import tempfile
from pathlib import Path


def compile_kernel(capability: int = 90, warps: int | None = None) -> dict[str, int]:
    """Compile for a GPU and return what the kernel needs.

    Args:
        capability: compute capability times ten: 80 for A100, 90 for H100 and H200.
        warps: of a tile, each of 32 threads; those of ssim_cuda.py unless given.

    Returns:
        `registers` per thread, `spilled_bytes` of memory per thread in their place, `shared_bytes` and `threads` per tile,
        and `instructions` of the machine code.
    """
    import triton
    from triton.backends.compiler import GPUTarget

    from deepssim.similarity.ssim_cuda import _WARPS

    warps = warps or _WARPS
    compiled = triton.compile(_source(), target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, "kernel.cubin")
        cubin.write_bytes(compiled.asm["cubin"])
        usage, code = (_inspect(cubin, option) for option in ("--dump-resource-usage", "-sass"))
    found = dict(part.split(":", 1) for part in usage.splitlines()[-1].split() if ":" in part)
    return {
        "registers": int(found["REG"]),
        "spilled_bytes": int(found["STACK"]),
        "shared_bytes": compiled.metadata.shared,
        "threads": 32 * warps,
        "instructions": sum(line.lstrip().startswith("/*") and ";" in line for line in code.splitlines()),
    }


def _source():  # type: ignore[no-untyped-def]
    """Return the kernel with the types of its arguments; addresses and strides are multiples of 16, as at run time."""
    from triton.compiler import ASTSource

    from deepssim.similarity import ssim_cuda

    kernel = ssim_cuda._all_pairs
    pointers = {"pixels": "*u8", "sums": "*i32"}
    pointers |= dict.fromkeys(("means", "variances", "factors", "ranges", "scores"), "*fp32")
    types = pointers | {"k1": "fp32", "k2": "fp32"}
    constants = {
        "WINDOW": ssim_cuda.WINDOW, "TAPS": ssim_cuda._TAPS, "CENTRE": ssim_cuda._CENTRE, "BLOCK": ssim_cuda._BLOCK,
    }  # fmt: skip
    signature, aligned = {}, {}
    for place, name in enumerate(kernel.arg_names):
        plain = name.removeprefix("other_")
        signature[name] = "constexpr" if name in constants else types.get(plain, "i32")
        if plain in pointers or plain == "stride":
            aligned[(place,)] = [["tt.divisibility", 16]]
    values = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    return ASTSource(fn=kernel, signature=signature, constexprs=values, attrs=aligned)


def _inspect(cubin: Path, option: str) -> str:
    import triton

    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    return subprocess.run([program, option, cubin], capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    print(json.dumps({str(capability): compile_kernel(capability) for capability in (80, 90)}, indent=1))
