"""The sources of `runtime/c` that go with generated code."""

from importlib.resources import files

KERNELS = ("add", "dense", "map", "multiply", "softmax")
# What a kernel includes.
HEADERS = ("kernels", "target", "fixed_point", "avx2", "dsp", "mve")


def runtime_sources() -> dict[str, str]:
    """Return kernels, planners and headers of `runtime/c`, by file name."""
    folder = files("nmbrl.runtime") / "c"
    return {entry.name: entry.read_text() for entry in folder.iterdir() if entry.name.endswith((".c", ".h"))}


def kernel_sources() -> dict[str, str]:
    """Return the kernels and their headers alone, which is what a lone model needs."""
    headers = {f"nmbrl_{name}.h" for name in HEADERS}
    return {
        name: text
        for name, text in runtime_sources().items()
        if name in headers or (name.endswith(".c") and name.removesuffix(".c").split("_")[0] in KERNELS)
    }
