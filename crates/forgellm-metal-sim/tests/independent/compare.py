"""Runs kernels of others, unmodified, through the command `metal-sim`, and compares what they write with NumPy in float64.

The kernels are those of the crate candle-metal-kernels; `cargo xtask independent` fetches it and NumPy and starts this script.

usage: compare.py METAL_SIM KERNELS FOLDER
  METAL_SIM  the command
  KERNELS    the folder with the crate's .metal files
  FOLDER     where the arrays are written

Every kernel runs plain and with the sanitizers; both must write the same bytes.
"""
import json
import math
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

F32, F16 = np.float32, np.float16
TYPES = {np.dtype(F32): "f32", np.dtype(F16): "f16"}


class Case:
    """A kernel, what is bound to it, and what it should write.

    `arguments`, in the order of their indexes: an array is an input, text is bytes as `--bytes` has them, None is nothing. The output is
    bound at `output`. `tolerance` is the largest difference that is allowed, in units of the root mean square of `expected`."""

    def __init__(self, file, kernel, grid, threads, arguments, output, expected, dtype, tolerance, constants=(), memory=(),
                 findings=()):
        self.file, self.kernel, self.grid, self.threads = file, kernel, grid, threads
        self.arguments, self.output, self.constants, self.memory = arguments, output, constants, memory
        self.expected, self.dtype, self.tolerance = np.asarray(expected, np.float64), np.dtype(dtype), tolerance
        # Kinds of findings that the sanitizers must report, and no others.
        self.findings = set(findings)


def difference(actual, expected):
    """The largest difference in units of the root mean square of what is expected."""
    actual = actual.astype(np.float64)
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return math.inf
    return np.abs(actual - expected).max() / np.sqrt(np.mean(expected**2))


def run(case, metal_sim, kernels, folder, sanitize):
    """The array that the kernel writes, and the kinds of findings."""
    name = f"{case.kernel}-{'sanitized' if sanitize else 'plain'}"
    written = folder / f"{name}.npy"
    written.unlink(missing_ok=True)
    sizes = ",".join(str(n) for n in case.expected.shape)
    command = [metal_sim, "run", kernels / f"{case.file}.metal", "--kernel", case.kernel, "--report", "json", "--strict"]
    command += ["--grid", ",".join(map(str, case.grid)), "--threads", ",".join(map(str, case.threads))]
    for index, argument in enumerate(case.arguments):
        if isinstance(argument, np.ndarray):
            file = folder / f"{name}-{index}.npy"
            np.save(file, argument)
            command += ["--buffer", f"{index}={file}"]
        elif argument is not None:
            command += ["--bytes", f"{index}={argument}"]
    command += ["--buffer", f"{case.output}={TYPES[case.dtype]}[{sizes}]=>{written}"]
    for constant in case.constants:
        command += ["--constant", constant]
    for memory in case.memory:
        command += ["--threadgroup-memory", memory]
    if sanitize:
        command.append("--sanitize")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    # 3: the sanitizers found something, and nothing is written.
    if done.returncode not in (0, 3):
        raise SystemExit(f"{case.file}: {case.kernel}: metal-sim failed:\n{done.stderr}{done.stdout}")
    findings = {finding["kind"] for finding in json.loads(done.stdout)["findings"]}
    return (np.load(written) if written.exists() else None), findings


def check(case, metal_sim, kernels, folder):
    """What is wrong with a kernel's results, if anything, and how they were."""
    start = time.monotonic()
    plain, _ = run(case, metal_sim, kernels, folder, False)
    sanitized, findings = run(case, metal_sim, kernels, folder, True)
    problems = []
    error = difference(plain, case.expected)
    if not error <= case.tolerance:
        problems.append(f"differs from NumPy by {error:.1e}, allowed are {case.tolerance:.0e}")
    # A comparison that would take other numbers for the right ones is worth nothing.
    if difference(np.roll(plain, 1, axis=-1), case.expected) <= case.tolerance:
        problems.append("results that are moved by one element pass too")
    if findings != case.findings:
        problems.append(f"findings {sorted(findings)}, expected {sorted(case.findings)}")
    elif not findings and plain.tobytes() != sanitized.tobytes():
        problems.append("the sanitized run writes other bytes")
    said = "; ".join(problems) or f"within {error:.1e} of NumPy, {', '.join(sorted(findings)) or 'no finding'}"
    return not problems, f"{case.file}.metal {case.kernel}: {said} ({time.monotonic() - start:.1f} s)"


def elementwise(random):
    """One thread for each two floats or four halves, in unary.metal and affine.metal."""
    x = random.normal(size=1000).astype(F32)
    x64 = x.astype(np.float64)
    yield Case("unary", "gelu_f32", (5,), (100,), ["u64:1000", x], 2,
               0.5 * x64 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x64 + 0.044715 * x64**3))), F32, 1e-6)
    h = random.normal(size=1000).astype(F16)
    yield Case("unary", "exp_f16", (5,), (50,), ["u64:1000", h], 2, np.exp(h.astype(np.float64)), F16, 5e-3)
    yield Case("affine", "affine_f32", (5,), (100,), ["u64:1000", "f32:0.75", "f32:-1.5", x], 4, 0.75 * x64 - 1.5, F32, 1e-6)


def rows(random):
    """One threadgroup for each row. Its threads share memory across barriers of no memory (`mem_none`), which the language does not
    promise to order: the sanitizers say so."""
    x = (4 * random.normal(size=(5, 300))).astype(F32)
    weight = random.normal(size=300).astype(F32)
    x64 = x.astype(np.float64)
    powers = np.exp(x64 - x64.max(axis=1, keepdims=True))
    yield Case("reduce", "softmax_f32", (5,), (256,), ["u32:1500", "u32:300", x], 3, powers / powers.sum(axis=1, keepdims=True), F32,
               1e-5, findings=["data-race"])
    scale = 1 / np.sqrt(np.mean(x64**2, axis=1, keepdims=True) + 1e-5)
    yield Case("reduce", "rmsnorm_f32", (5,), (256,), ["u32:1500", "u32:300", x, None, weight, "f32:0.00001"], 3, x64 * scale * weight,
               F32, 1e-5, findings=["data-race"])


def q8_0(random, count, columns):
    """Random rows in the format Q8_0, and their values: blocks of 32 signed bytes behind a half that scales them."""
    blocks = np.zeros((count, columns // 32), dtype=[("scale", F16), ("values", np.int8, 32)])
    blocks["scale"] = random.uniform(0.001, 0.01, blocks.shape)
    blocks["values"] = random.integers(-128, 128, blocks["values"].shape)
    values = blocks["scale"].astype(np.float64)[..., None] * blocks["values"]
    return blocks.view(np.uint8), values.reshape(count, columns)


def q4_k(random, count, columns):
    """Random rows in the format Q4_K, and their values: blocks of 256 in eight parts, each part with a scale and a minimum of 6 bits."""
    blocks = np.zeros((count, columns // 256), dtype=[("scale", F16), ("minimum", F16), ("parts", np.uint8, 12), ("values", np.uint8, 128)])
    # A sixteenth of a scale, as kernels use it, is no subnormal half.
    blocks["scale"] = random.uniform(0.001, 0.002, blocks.shape)
    blocks["minimum"] = random.uniform(0.001, 0.002, blocks.shape)
    for field in ("parts", "values"):
        blocks[field] = random.integers(0, 256, blocks[field].shape)
    low, middle, high = np.split(blocks["parts"].astype(np.int64), 3, axis=-1)
    # Parts 0 to 3 have their bits together; those of the others lie in the last four bytes and in the upper bits of the first eight.
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6 << 4)], axis=-1)
    minimums = np.concatenate([middle & 63, (high >> 4) | (middle >> 6 << 4)], axis=-1)
    # Each 32 bytes hold two parts, the lower halves of the bytes the first of them.
    packed = blocks["values"].reshape(*blocks.shape, 4, 1, 32)
    quants = np.concatenate([packed & 15, packed >> 4], axis=-2).reshape(*blocks.shape, 8, 32)
    scale, minimum = (blocks[field].astype(np.float64)[..., None] for field in ("scale", "minimum"))
    values = (scale * scales)[..., None] * quants - (minimum * minimums)[..., None]
    return blocks.view(np.uint8), values.reshape(count, columns)


def quantized(random):
    """Matrices in quantised formats times a few vectors."""
    count, columns, vectors = 24, 512, 3
    x = random.normal(size=(vectors, columns)).astype(F32)
    shape = [f"i64:{columns}", f"i64:{count}", "i64:1", "u64:0", "u64:0", "u64:0"]
    shape += [f"i64:{columns}", f"i64:{vectors}", "i64:1", "u64:0", "u64:0", "u64:0"]
    shape += [f"i64:{count}", f"i64:{vectors}", "u32:1", "u32:1"]
    for kernel, make, threads, a_group in [("q8_0", q8_0, (8, 8), 8), ("q4_K", q4_k, (4, 8), 4)]:
        matrix, values = make(random, count, columns)
        yield Case("quantized", f"kernel_mul_mv_{kernel}_f32", (-(-count // a_group), vectors), threads, [matrix, x, None, *shape], 2,
                   x.astype(np.float64) @ values.T, F32, 1e-5)
    # With simdgroup matrices, which hold the values as halves. 72 rows and 37 vectors fill no tile of 64 by 32.
    count, vectors = 72, 37
    x = random.normal(size=(vectors, columns)).astype(F32)
    matrix, values = q4_k(random, count, columns)
    row = matrix.nbytes // count
    shape = [f"i64:{columns}", "i64:1", f"u64:{row}", f"u64:{count * row}", f"u64:{count * row}", "i64:1", "u64:4", f"u64:{4 * columns}"]
    shape += [f"u64:{4 * columns * vectors}"] * 2 + [f"i64:{count}", f"i64:{vectors}", "u32:1", "u32:1"]
    values = values.astype(F16).astype(np.float64)
    yield Case("quantized", "kernel_mul_mm_q4_K_f32", (2, 2), (128,), [matrix, x, None, *shape], 2, x.astype(np.float64) @ values.T, F32,
               1e-4, memory=["0=8192"])


def products(random):
    """The matrix product of MLX, with simdgroup matrices: one product, and several of transposed matrices; no size fills a tile."""
    m, n, k = 45, 50, 37
    for batch, transposed, dtype, name, tolerance in [(1, False, F32, "nn_f32_f32", 1e-5), (3, True, F16, "nt_f16_f16", 5e-3)]:
        a = random.normal(size=(batch, m, k)).astype(dtype)
        b = random.normal(size=(batch, n, k) if transposed else (batch, k, n)).astype(dtype)
        expected = a.astype(np.float64) @ (b.swapaxes(1, 2) if transposed else b).astype(np.float64)
        sizes = [m, n, k, k, k if transposed else n, n, -(-n // 32), -(-m // 32)]
        strides = [m * k, n * k, m * n]
        parameters = f"i32:{','.join(map(str, sizes))},u64:{','.join(map(str, strides))},i32:0,{k // 16},1"
        # What is for products that are added to something is loaded and not used: a GPU's compiler leaves that out, ours does not.
        unused = "i32:0,0,u64:0,f32:0,0"
        several = batch > 1
        arguments = [a, b, None, None, parameters, unused]
        if several:
            arguments += [f"i32:{batch}", f"u64:{m * k},{n * k}"]
        flags = {10: several, 100: False, 110: False, 200: False, 201: False, 202: False, 300: False}
        yield Case("mlx_gemm", f"gemm_{name}_32_32_16_2_2", (-(-n // 32), -(-m // 32), batch), (32, 2, 2), arguments, 3, expected, dtype,
                   tolerance, constants=[f"{index}=bool:{str(flag).lower()}" for index, flag in flags.items()])


def attention(random):
    """One query for each of four heads, two of which share keys and values of 37 positions."""
    heads, kv_heads, positions, width = 4, 2, 37, 64
    q = random.normal(size=(heads, width)).astype(F32)
    k, v = (random.normal(size=(kv_heads, positions, width)).astype(F32) for _ in range(2))
    k64, v64 = (np.repeat(array.astype(np.float64), heads // kv_heads, axis=0) for array in (k, v))
    scores = np.einsum("hd,hpd->hp", q.astype(np.float64), k64) / math.sqrt(width)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    arguments = [q, k, v, None, f"i32:{heads // kv_heads}", f"i32:{positions}", *[f"u64:{positions * width}"] * 2, "f32:0.125", "f32:1"]
    yield Case("scaled_dot_product_attention", "sdpa_vector_float_64", (1, heads), (1024,), arguments, 3,
               np.einsum("hp,hpd->hd", weights, v64), F32, 1e-5, constants=["20=bool:false"])


def main():
    metal_sim, kernels, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(20)
    groups = (elementwise, rows, quantized, products, attention)
    cases = [case for group in groups for case in group(random)]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda case: check(case, metal_sim, kernels, folder), cases))
    for fine, line in outcomes:
        print(line if fine else f"WRONG {line}")
    passed = sum(fine for fine, _ in outcomes)
    print(f"{passed} passed, {len(outcomes) - passed} failed")
    sys.exit(passed != len(outcomes))


main()
