"""Measure the networks against each other and against the device's own convolutions.

All figures are ratios of times taken in turn in one run; absolute times depend on the
machine. ``python benchmarks/network.py`` prints a table for ``benchmarks/RESULTS.md``,
``--cost`` one of how the cost of a network grows with its size.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_lrcs.annotation.annotation import AnnotatedVolume, read_annotation
from napari_lrcs.classical.phantom import electrode_phantom
from napari_lrcs.config import PRESETS, Precision, PredictConfig, TrainConfig
from napari_lrcs.inference.predict import predict_volume
from napari_lrcs.inference.results.result import MemoryResult
from napari_lrcs.io.volume import as_labels, as_volume
from napari_lrcs.models.checkpoint import load_checkpoint
from napari_lrcs.models.device import (
    arithmetic,
    describe_installation,
    for_prediction,
    on_device,
    resolve_precision,
)
from napari_lrcs.models.layers import SegmentationNetwork
from napari_lrcs.models.registry import create_model
from napari_lrcs.training.loop import train
from napari_lrcs.training.losses import dice_loss

PAPER = PRESETS["paper"]
QUICK = PRESETS["quick"]
UNET = PAPER.with_changes(model="unet", n_filters=64, kernel_size=3)
SIZES = (
    *(QUICK.with_changes(n_filters=n, skip_connections=False) for n in (8, 16, 24, 32)),
    QUICK,
    QUICK.with_changes(context_slices=0),
    QUICK.with_changes(context_slices=3),
    QUICK.with_changes(kernel_size=5),
    PRESETS["best"],
    PAPER,
    UNET,
)
GOALS = {PAPER: "≥ 85%", QUICK: "≥ 80%"}
"""Share of the speed of its convolutions alone."""
SIDE = 512
ROUNDS = 5


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    what: str
    goal: str
    measured: str


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--cost", action="store_true", help="how the cost grows with the network"
    )
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    installation = describe_installation()
    fastest = resolve_precision("auto", device)
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"CPU, {installation['processor threads']} threads"
    )
    print(f"{name}, torch {installation['torch']}, fastest arithmetic: {fastest}\n")
    if arguments.cost:
        print_costs(device, fastest)
        return
    print("| what | goal | measured |\n|---|---|---|", flush=True)
    precisions: list[Precision] = (
        ["float32"] if fastest == "float32" else ["float32", fastest]
    )
    measures: list[Callable[[], Row]] = [
        partial(forward_against_ceiling, config, device, precision)
        for config in GOALS
        for precision in precisions
    ]
    if fastest != "float32":
        measures.append(partial(fast_against_float32, device, fastest))
        measures.append(partial(same_labels, device, fastest))
    measures += [
        partial(prediction_against_unet, config, device, fastest)
        for config in (PAPER, PAPER.with_changes(kernel_size=3), QUICK)
    ]
    measures.append(partial(training_against_unet, device, fastest))
    for measure in measures:
        row = measure()
        print(f"| {row.what} | {row.goal} | {row.measured} |", flush=True)


def print_costs(device: torch.device, precision: Precision) -> None:
    """Compare networks of several sizes with the preset quick."""
    print("| network | neighbours | multiplications a voxel | forward | step |")
    print("|---|---|---|---|---|")
    quick, *_ = forward_pass(QUICK, device, precision)
    quick_step = training_step(QUICK, device, precision)
    for config in SIZES:
        forward, model, image = forward_pass(config, device, precision)
        n = _multiplications(model, image)
        step = training_step(config, device, precision)
        print(
            f"| {_name(config)}{', skips' * config.network.skip_connections} "
            f"| {config.network.context_slices} | {n:,.0f} "
            f"| {ratio_of(forward, quick, device):.2f} × "
            f"| {ratio_of(step, quick_step, device):.2f} × |",
            flush=True,
        )


def _multiplications(model: SegmentationNetwork, image: Tensor) -> float:
    """Count those of the convolutions, for a pixel of the image."""
    counts: list[float] = []

    def count(conv: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
        n_pixels = given[0].shape[-2] * given[0].shape[-1]
        counts.append(conv.weight.numel() * n_pixels / SIDE**2)

    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    convs = [m for m in model.modules() if isinstance(m, kinds)]
    hooks = [conv.register_forward_pre_hook(count) for conv in convs]
    with torch.inference_mode():
        model.logits(image)
    for hook in hooks:
        hook.remove()
    return sum(counts)


def forward_against_ceiling(
    config: TrainConfig, device: torch.device, precision: Precision
) -> Row:
    """Compare a forward pass with nothing but its convolutions."""
    forward, model, image = forward_pass(config, device, precision)
    calls = _convolution_calls(model, image, device, precision)

    def convolutions() -> None:
        with torch.inference_mode():
            for conv, given in calls:
                nn.functional.conv2d(given, conv.weight, conv.bias, padding="same")

    share = ratio_of(convolutions, forward, device)
    return Row(
        f"{_name(config)} forward in {precision}, share of the speed of its "
        "convolutions alone",
        GOALS[config],
        f"{share:.0%}",
    )


def fast_against_float32(device: torch.device, precision: Precision) -> Row:
    """Compare forward passes in two precisions."""
    fast, *_ = forward_pass(PAPER, device, precision)
    slow, *_ = forward_pass(PAPER, device, "float32")
    ratio = ratio_of(slow, fast, device)
    return Row(
        f"{_name(PAPER)} forward, {precision} against float32",
        "≥ 1.8 ×",
        f"{ratio:.2f} ×",
    )


def prediction_against_unet(
    config: TrainConfig, device: torch.device, precision: Precision
) -> Row:
    """Compare voxels per second; the goal is how much more the U-Net multiplies."""
    small, *with_small = forward_pass(config, device, precision)
    large, *with_large = forward_pass(UNET, device, precision)
    goal = _multiplications(*with_large) / _multiplications(*with_small)
    ratio = ratio_of(large, small, device)
    return Row(
        f"{_name(config)} against {_name(UNET)}, voxels a second",
        f"≥ {goal:.2f} ×",
        f"{ratio:.2f} ×",
    )


def training_against_unet(device: torch.device, precision: Precision) -> Row:
    """Compare images per second in training steps."""
    small, large = (training_step(c, device, precision) for c in (PAPER, UNET))
    ratio = ratio_of(large, small, device)
    return Row(
        f"{_name(PAPER)} against {_name(UNET)}, training images a second",
        "≥ 2 ×",
        f"{ratio:.2f} ×",
    )


def same_labels(device: torch.device, precision: Precision) -> Row:
    """Compare the labels of two precisions after a training."""
    phantom = electrode_phantom()
    volume, labels = as_volume(phantom.volume), as_labels(as_volume(phantom.labels))
    annotated = AnnotatedVolume(
        image=volume, labels=labels, roles={"train": (8,), "validation": (24,)}
    )
    config = QUICK.with_changes(device=str(device))
    annotation = read_annotation([annotated], config=config)
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in train(annotation, config=config, run=Path(folder)):
            pass
        checkpoint = load_checkpoint(Path(folder))
    both: tuple[Precision, ...] = ("float32", precision)
    for arithmetic_ in both:
        result = MemoryResult(labels=np.zeros(volume.shape, np.uint8))
        settings = PredictConfig(device=str(device), precision=arithmetic_)
        for _ in predict_volume(volume, checkpoint, result=result, config=settings):
            pass
        results[arithmetic_] = result.labels[40:56]
    truth = phantom.labels[40:56]
    same = (results["float32"] == results[precision]).mean()
    gain = (results[precision] == truth).mean() - (results["float32"] == truth).mean()
    return Row(
        f"labels of the preset quick in {precision} and float32: the same; accuracy",
        "≥ 99.9%, or within .001",
        f"{same:.2%}; {gain:+.4f}",
    )


def forward_pass(
    config: TrainConfig, device: torch.device, precision: Precision
) -> tuple[Callable[[], None], SegmentationNetwork, Tensor]:
    """Make a network, an image, and a call that applies the one to the other."""
    model = create_model(config.network, n_phases=3).eval()
    model = for_prediction(model, device, precision)
    image = torch.randn(1, config.network.n_channels, SIDE, SIDE, device=device)
    image = image.to(model.dtype, memory_format=torch.channels_last)

    def forward() -> None:
        with torch.inference_mode(), arithmetic(precision, device):
            model.logits(image)

    return forward, model, image


def _convolution_calls(
    model: SegmentationNetwork,
    image: Tensor,
    device: torch.device,
    precision: Precision,
) -> list[tuple[nn.Conv2d, Tensor]]:
    """Record what each convolution is given, in the precision that it works in."""
    calls: list[tuple[nn.Conv2d, Tensor]] = []
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32

    def record(conv: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(conv, nn.Conv2d)
        calls.append((conv, torch.cat(given, dim=1).to(dtype)))

    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    hooks = [conv.register_forward_pre_hook(record) for conv in convs]
    with torch.inference_mode(), arithmetic(precision, device):
        model.logits(image)
    for hook in hooks:
        hook.remove()
    # Copies with their weights in that precision, as `for_prediction` leaves them.
    return [(on_device(deepcopy(conv).to(dtype), device), x) for conv, x in calls]


def training_step(
    config: TrainConfig, device: torch.device, precision: Precision
) -> Callable[[], None]:
    """Make a call that moves the weights of a network once."""
    model = on_device(create_model(config.network, n_phases=3), device)
    optimiser = torch.optim.Adam(model.parameters())
    shape = (config.optimisation.batch_size, config.network.n_channels, 256, 256)
    images = torch.randn(shape, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(1, 4, (shape[0], 256, 256), device=device).byte()

    def step() -> None:
        optimiser.zero_grad()
        with arithmetic(precision, device):
            logits = model(images).float()
        torch.autograd.backward(dice_loss(logits, labels))
        optimiser.step()

    return step


def ratio_of(
    slow: Callable[[], None], fast: Callable[[], None], device: torch.device
) -> float:
    """Median over some rounds, in turn, of the first's time over the second's."""
    seconds_of(slow, device), seconds_of(fast, device)
    pairs = [
        (seconds_of(slow, device), seconds_of(fast, device)) for _ in range(ROUNDS)
    ]
    return statistics.median(a / b for a, b in pairs)


def seconds_of(work: Callable[[], None], device: torch.device) -> float:
    """Take the time of enough repetitions to last a tenth of a second."""
    repetitions = 0
    start = time.perf_counter()
    while True:
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        repetitions += 1
        seconds = time.perf_counter() - start
        if seconds > 0.1:
            return seconds / repetitions


def _name(config: TrainConfig) -> str:
    network, size = config.network, config.network.kernel_size
    kind = "LRCS-Net" if network.model == "lrcsnet" else "U-Net"
    return f"{kind} {network.n_filters} filters {size}×{size}"


if __name__ == "__main__":
    main()
