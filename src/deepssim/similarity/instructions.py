"""What numba has no words for, built from LLVM's instructions: blocks of a product, and storing past the caches.

Not here: loops over blocks (products.py).
"""

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

# A block of the result is 6 rows by 2 or 4 registers, which leaves some for what is multiplied.
ROWS = 6
_FEATURES = llvm.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f", False) else 8 if _FEATURES.get("avx2", False) else 4
_VECTORS = 2 if LANES == 8 else 4  # AVX2 has 16 registers, AVX-512 and ARM have 32
COLUMNS = _VECTORS * LANES

_I32, _I64, _F32 = ir.IntType(32), ir.IntType(64), ir.FloatType()
_VECTOR = ir.VectorType(_F32, LANES)
_Values = list[Any]


@intrinsic
def multiply_block(typing: Any, rows: Any, columns: Any, out: Any) -> Any:
    """Write rows (D, 6), transposed, times columns (D, COLUMNS), limited to -1 to 1, to `out` (6, COLUMNS)."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, right = (_address(context, builder, signature.args[side], arguments[side]) for side in (0, 1))
        features = builder.extract_value(_array(context, builder, signature.args[0], arguments[0]).shape, 0)

        def add(feature: Any, sums: _Values) -> _Values:
            place = builder.mul(feature, _I64(COLUMNS))
            factors = [_load(builder, right, builder.add(place, _I64(n * LANES))) for n in range(_VECTORS)]
            added: _Values = []
            for row in range(ROWS):
                place = builder.add(builder.mul(feature, _I64(ROWS)), _I64(row))
                one = _in_all_lanes(builder, builder.load(builder.gep(left, [place])))
                for factor in factors:
                    added.append(_on_vectors(builder, "fmuladd", one, factor, sums[len(added)]))
            return added

        sums = _repeat(builder, features, [_VECTOR([0.0] * LANES)] * (ROWS * _VECTORS), add)
        for row in range(ROWS):
            line = _address(context, builder, signature.args[2], arguments[2], row)
            for number, total in enumerate(sums[row * _VECTORS : (row + 1) * _VECTORS]):
                _store(builder, _limited(builder, total), line, _I64(number * LANES))
        return context.get_dummy_value()

    return types.void(rows, columns, out), build


@intrinsic
def multiply_add(typing: Any, first: Any, second: Any, total: Any) -> Any:
    """Return first * second + total, rounded as `multiply_block` does."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(builder, "llvm.fmuladd.f32", _F32, *arguments)

    return types.float32(types.float32, types.float32, types.float32), build


@intrinsic
def store_past_caches(typing: Any, source: Any, target: Any, place: Any) -> Any:
    """Copy LANES values from `source[place:]` to `target[place:]`, which must be aligned to as many."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        addresses = [_address(context, builder, signature.args[side], arguments[side]) for side in (0, 1)]
        values = _load(builder, addresses[0], arguments[2])
        stored = _store(builder, values, addresses[1], arguments[2], 4 * LANES)
        stored.set_metadata("nontemporal", builder.module.add_metadata([_I32(1)]))
        return context.get_dummy_value()

    return types.void(source, target, types.int64), build


@intrinsic
def finish_stores(typing: Any) -> Any:
    """Let other threads see what was stored past the caches."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), build


def _array(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return cgutils.create_struct_proxy(kind)(context, builder, array)


def _address(context: Any, builder: Any, kind: Any, array: Any, row: int = 0) -> Any:
    """Return where a row of an array begins."""
    found = _array(context, builder, kind, array)
    start = builder.ptrtoint(found.data, _I64)
    if row:
        start = builder.add(start, builder.mul(_I64(row), builder.extract_value(found.strides, 0)))
    return builder.inttoptr(start, _F32.as_pointer())


def _repeat(builder: Any, times: Any, values: _Values, step: Callable[[Any, _Values], _Values]) -> _Values:
    """Return what `step` makes of `values` when it is repeated with 0, 1, ... `times` - 1; at least once."""
    before, loop, after = builder.block, builder.append_basic_block("repeat"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    number, *current = (builder.phi(value.type) for value in (_I64(0), *values))
    later = [builder.add(number, _I64(1)), *step(number, current)]
    for phi, first, following in zip([number, *current], [_I64(0), *values], later, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(following, loop)
    builder.cbranch(builder.icmp_signed("<", later[0], times), loop, after)
    builder.position_at_end(after)
    return later[1:]


def _load(builder: Any, address: Any, place: Any) -> Any:
    return builder.load(builder.bitcast(builder.gep(address, [place]), _VECTOR.as_pointer()), align=4)


def _store(builder: Any, values: Any, address: Any, place: Any, align: int = 4) -> Any:
    return builder.store(values, builder.bitcast(builder.gep(address, [place]), _VECTOR.as_pointer()), align=align)


def _in_all_lanes(builder: Any, value: Any) -> Any:
    none = ir.Constant(_VECTOR, ir.Undefined)
    one = builder.insert_element(none, value, _I32(0))
    return builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _limited(builder: Any, values: Any) -> Any:
    values = _on_vectors(builder, "minnum", values, _VECTOR([1.0] * LANES))
    return _on_vectors(builder, "maxnum", values, _VECTOR([-1.0] * LANES))


def _on_vectors(builder: Any, name: str, *values: Any) -> Any:
    return _call(builder, f"llvm.{name}.v{LANES}f32", _VECTOR, *values)


def _call(builder: Any, name: str, kind: Any, *values: Any) -> Any:
    function = ir.FunctionType(kind, [value.type for value in values])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), values)
