"""Compare our gradient of kernels with oneDNN's, alone and in a training step.

``python benchmarks/kernel_gradient.py`` prints a table for ``benchmarks/RESULTS.md``:
how many times as fast ours is, both measured in turn. Nothing else should run. Ours is
used on processors that have AVX2 and no AVX-512; elsewhere the script says so and ends.
"""

from collections.abc import Callable
from unittest.mock import patch

import torch
from network import PAPER, QUICK, ratio_of, training_step

from napari_lrcs.config import TrainConfig
from napari_lrcs.models import kernel_gradient
from napari_lrcs.models.kernel_gradient import gradient_of_kernels

Work = Callable[[], None]
CPU = torch.device("cpu")
SHAPES = ((16, 32, 3, 256), (32, 32, 3, 256), (32, 32, 3, 128), (64, 64, 5, 64))
"""Maps before and after, side of the kernels, side of the images."""
NETWORKS: dict[str, TrainConfig] = {
    "quick": QUICK,
    "paper": PAPER,
    "U-Net, 16 filters": QUICK.with_changes(model="unet"),
}


def main() -> None:
    """Print the table."""
    capability = torch.backends.cpu.get_cpu_capability()
    print(f"{capability}, torch {torch.__version__}\n")
    if capability != "AVX2":
        raise SystemExit("on this processor, oneDNN's gradient is used")
    numbers = sorted({1, torch.get_num_threads()})
    print(f"| what | {' | '.join(f'{n} threads' for n in numbers)} |")
    print("|---" * (1 + len(numbers)) + "|", flush=True)
    for n_in, n_out, side, size in SHAPES:
        what = f"{n_in} to {n_out} maps of {size} × {size}, kernels of {side} × {side}"
        print_row(what, *gradients(n_in, n_out, side, size), numbers)
    for name, config in NETWORKS.items():
        print_row(f"training step, {name}", *steps(config), numbers)


def print_row(what: str, theirs: Work, ours: Work, numbers: list[int]) -> None:
    """Measure with so many threads."""
    cells = []
    for n in numbers:
        torch.set_num_threads(n)
        cells.append(f"{ratio_of(theirs, ours, CPU):.2f} ×")
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def gradients(n_in: int, n_out: int, side: int, size: int) -> tuple[Work, Work]:
    """Compute it for four images, by oneDNN and by us."""
    image, gradient = (
        torch.randn(4, n, size, size).contiguous(memory_format=torch.channels_last)
        for n in (n_in, n_out)
    )
    kernels = torch.randn(n_out, n_in, side, side)

    def theirs() -> None:
        torch.ops.aten.convolution_backward(
            gradient,
            image,
            kernels,
            bias_sizes=None,
            stride=[1, 1],
            padding=[side // 2] * 2,
            dilation=[1, 1],
            transposed=False,
            output_padding=[0, 0],
            groups=1,
            output_mask=[False, True, False],
        )

    def ours() -> None:
        gradient_of_kernels(gradient, image, side=side)

    return theirs, ours


def steps(config: TrainConfig) -> tuple[Work, Work]:
    """Take a step with oneDNN's gradient, and one with ours."""
    step = training_step(config, CPU, "float32")

    def theirs() -> None:
        with patch.object(kernel_gradient, "_is_slow", lambda *_: False):
            step()

    return theirs, step


if __name__ == "__main__":
    main()
