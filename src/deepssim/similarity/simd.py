"""Vectors of 16 numbers, and stacks of them, as values in compiled loops.

Numba vectorises loops over arrays, but keeps what such a loop accumulates in memory, from where it is loaded and stored for
each pixel. A `Stack` is held in registers instead. LLVM translates it into the instructions of any processor: one register
of AVX-512, two of AVX2, four of NEON for 16 numbers of 32 bits. Each lane is computed alike, whatever the processor's width.

Not here: the metrics computed with them (ssim.py).
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

VECTOR = 16  # numbers in a vector
ONE = (0,)  # stands for a single vector where `load` or `spread` asks for a tuple


class Stack(types.Type):
    """Type of `height` vectors of 16 floating point numbers in a compiled function.

    Stacks of one height are added, subtracted, multiplied, divided element by element; one of height 1 meets every vector
    of a higher one.
    """

    def __init__(self, height: int, number: types.Float) -> None:
        self.height, self.number = height, number
        super().__init__(f"Stack({height}, {number})")


@register_model(Stack)
class _StackModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Stack) -> None:
        super().__init__(manager, kind, ir.ArrayType(_vector(kind), kind.height))


def _vector(kind: Stack) -> ir.VectorType:
    return ir.VectorType(ir.DoubleType() if kind.number.bitwidth == 64 else ir.FloatType(), VECTOR)


def _kind_of(array: types.Array, height: int) -> Stack:
    """Return the type into which numbers of an array are loaded: float64 for those of 64 bits, else float32."""
    return Stack(height, types.float64 if array.dtype.bitwidth == 64 else types.float32)


def _stacked(builder: Any, kind: Stack, vectors: list[Any]) -> Any:
    stack = ir.Constant(ir.ArrayType(_vector(kind), kind.height), ir.Undefined)
    for place, vector in enumerate(vectors):
        stack = builder.insert_value(stack, vector, place)
    return stack


def _vectors(builder: Any, kind: Stack, stack: Any, height: int) -> list[Any]:
    return [builder.extract_value(stack, place if kind.height > 1 else 0) for place in range(height)]


def _pointer(context: Any, builder: Any, kind: types.Array, array: Any, index: Any, offset: int) -> Any:
    start = builder.add(index, ir.Constant(index.type, offset))
    return builder.gep(context.make_array(kind)(context, builder, array).data, [start])


def _splat(builder: Any, vector: ir.VectorType, number: Any) -> Any:
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    places = ir.Constant(ir.VectorType(ir.IntType(32), VECTOR), [0] * VECTOR)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), places)


@intrinsic
def load(context: Any, array: Any, index: Any, like: Any) -> Any:
    """Load vectors from consecutive places of a flat array, from `index`, as many as the tuple `like` is long.

    Integers are converted. A tuple, since its length belongs to its type, for which a function is compiled.
    """
    kind = _kind_of(array, like.count)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number = context.get_data_type(array.dtype)
        loaded = []
        for place in range(kind.height):
            pointer = _pointer(context, builder, array, values[0], values[1], place * VECTOR)
            vector = builder.load(builder.bitcast(pointer, ir.VectorType(number, VECTOR).as_pointer()))
            vector.align = array.dtype.bitwidth // 8
            if isinstance(array.dtype, types.Integer):
                vector = (builder.sitofp if array.dtype.signed else builder.uitofp)(vector, _vector(kind))
            loaded.append(vector)
        return _stacked(builder, kind, loaded)

    return kind(array, types.intp, like), generate


@intrinsic
def spread(context: Any, array: Any, index: Any, like: Any) -> Any:
    """Load numbers from consecutive places, as many as the tuple `like` is long; each becomes a vector of equal numbers."""
    kind = _kind_of(array, like.count)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        numbers = [
            builder.load(_pointer(context, builder, array, values[0], values[1], place)) for place in range(kind.height)
        ]
        return _stacked(builder, kind, [_splat(builder, _vector(kind), number) for number in numbers])

    return kind(array, types.intp, like), generate


@intrinsic
def store(context: Any, array: Any, index: Any, stack: Any) -> Any:
    """Write the vectors of a stack to consecutive places of a flat array of its type, from `index`."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        for place, vector in enumerate(_vectors(builder, stack, values[2], stack.height)):
            pointer = _pointer(context, builder, array, values[0], values[1], place * VECTOR)
            written = builder.store(vector, builder.bitcast(pointer, vector.type.as_pointer()))
            written.align = array.dtype.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, types.intp, stack), generate


@intrinsic
def prefetch(context: Any, array: Any, index: Any) -> Any:
    """Ask for a place of a flat array to be brought into the cache; it may lie behind the end."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [pointer, number, number, number]), "llvm.prefetch.p0i8"
        )
        place = builder.bitcast(_pointer(context, builder, array, values[0], values[1], 0), pointer)
        builder.call(function, [place, number(0), number(2), number(1)])  # to read, into the second level, of data
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def multiply_add(context: Any, left: Any, right: Any, addend: Any) -> Any:
    """Return left * right + addend, rounded once where the processor can."""
    kind = max((left, right, addend), key=lambda stack: stack.height)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vector = _vector(kind)
        name = f"llvm.fmuladd.v{VECTOR}f{kind.number.bitwidth}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        parts = [
            _vectors(builder, of, value, kind.height) for of, value in zip((left, right, addend), values, strict=True)
        ]
        return _stacked(builder, kind, [builder.call(function, part) for part in zip(*parts, strict=True)])

    return kind(left, right, addend), generate


def _elementwise(instruction: str) -> Callable[..., Any]:
    @intrinsic
    def operation(context: Any, left: Any, right: Any) -> Any:
        kind = max((left, right), key=lambda stack: stack.height)

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            parts = [_vectors(builder, of, value, kind.height) for of, value in zip((left, right), values, strict=True)]
            results = [getattr(builder, instruction)(*part) for part in zip(*parts, strict=True)]
            return _stacked(builder, kind, results)

        return kind(left, right), generate

    def of_types(left, right):  # type: ignore[no-untyped-def]
        if isinstance(left, Stack) and isinstance(right, Stack):
            return lambda left, right: operation(left, right)
        return None

    return of_types


for _operator, _instruction in (
    (operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"), (operator.truediv, "fdiv")
):  # fmt: skip
    overload(_operator)(_elementwise(_instruction))


@intrinsic
def _negated(context: Any, stack: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        vectors = _vectors(builder, stack, values[0], stack.height)
        return _stacked(builder, stack, [builder.fneg(vector) for vector in vectors])

    return stack(stack), generate


@overload(operator.neg)
def _negate(stack):  # type: ignore[no-untyped-def]
    return (lambda stack: _negated(stack)) if isinstance(stack, Stack) else None
