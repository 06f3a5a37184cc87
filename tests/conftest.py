"""Set up before any test; needs neither napari nor Qt."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from napari_lrcs.annotation.annotation import AnnotatedSlice, Annotation, Role
from napari_lrcs.config import TrainConfig
from napari_lrcs.phases import PhaseTable

if TYPE_CHECKING:  # loading torch takes seconds that some tests need not wait
    from clusters import Cluster
    from napari_lrcs.models.checkpoint import Checkpoint
    from napari_lrcs.models.layers import SegmentationNetwork

# The helpers assert too.
pytest.register_assert_rewrite("command_line", "mistakes")

# Where napari is missing the core is tested, and nothing but the plugin imports napari.
collect_ignore = [] if find_spec("napari") else ["plugin"]

# How long an example takes says more about the machine's load than about the code.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# napari's own viewer fixture fails a test that leaves a window of napari open.
os.environ.setdefault("NAPARI_STRICT_QT", "raise")

# That fixture also resets napari's settings: those of whoever runs the tests stay.
os.environ.setdefault("NAPARI_CONFIG", "")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes long, so that no process waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def _no_window_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a window of its own open."""
    if "gui" not in request.keywords:
        yield
        return
    app = request.getfixturevalue("qapp")
    before = set(app.topLevelWidgets())
    yield
    app.processEvents()
    left = [widget for widget in app.topLevelWidgets() if widget not in before]
    assert not left, f"windows left open: {left}"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute on one thread: for tiny networks more of them only wait for another."""
    import torch
    import torch._dynamo  # what a first training would load meanwhile, for seconds

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="session")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator["Cluster"]:
    """Make a cluster for all tests; `cluster` starts it."""
    from clusters import Cluster

    machines = Cluster(tmp_path_factory.mktemp("logs"))
    yield machines
    machines.stop()


@pytest.fixture
def cluster(machines: "Cluster") -> "Cluster":
    """Give a cluster that is whole, whatever the last test has killed."""
    machines.start()
    return machines


@pytest.fixture(scope="session")
def tiny_config() -> TrainConfig:
    """Make the smallest network and schedule: on a CPU, without augmentation."""
    return TrainConfig().with_changes(
        n_filters=2,
        skip_connections=False,
        context_slices=0,
        n_epochs=2,
        patches_per_epoch=8,
        batch_size=4,
        patch_size=16,
        balance=0.0,
        learning_rate=1e-2,
        pitfall_restarts=0,
        device="cpu",
        precision="float32",
        flip=False,
        gain=0.0,
        offset=0.0,
        noise=0.0,
    )


@pytest.fixture
def rare_crack() -> tuple[NDArray[np.float32], NDArray[np.uint8], PhaseTable]:
    """Make two slices of pore and solid with one percent of crack, and their labels."""
    stripes = np.arange(64) // 16 % 2 + 1
    labels = np.broadcast_to(stripes, (2, 64, 64)).astype(np.uint8)
    labels[:, 20:26, 20:27] = 3
    noise = np.random.default_rng(0).standard_normal(labels.shape)
    grey = np.array([0, 1, 2, 1.5])[labels] + 0.1 * noise
    return grey.astype(np.float32), labels, PhaseTable.named("pore", "solid", "crack")


@pytest.fixture
def crack_config(tiny_config: TrainConfig) -> TrainConfig:
    """Train so briefly that crack is never predicted, unless patches are balanced."""
    return tiny_config.with_changes(
        model="unet",
        n_filters=8,
        n_epochs=4,
        patches_per_epoch=48,
        batch_size=2,
        learning_rate=2e-2,
        seed=1,
    )


@pytest.fixture(scope="session")
def striped_annotation() -> Callable[..., Annotation]:
    """Build slices of stripes whose grey level is their label and a little noise."""

    def build(
        roles: Sequence[Role] = ("train", "validation"),
        *,
        n_phases: int = 2,
        shape: tuple[int, int] = (32, 40),
        context_slices: int = 0,
    ) -> Annotation:
        stripes = np.arange(shape[1]) // 5 % n_phases + 1
        labels = np.broadcast_to(stripes, shape).astype(np.uint8)
        slices = []
        for index, role in enumerate(roles):
            noise = np.random.default_rng(index).standard_normal(
                (2 * context_slices + 1, *shape)
            )
            image = (labels + 0.1 * noise).astype(np.float32)
            slices.append(
                AnnotatedSlice(read=image.copy, labels=labels, role=role, index=index)
            )
        return Annotation(slices=tuple(slices), phases=PhaseTable.numbered(n_phases))

    return build


@pytest.fixture(scope="session")
def settled_model() -> Callable[..., "SegmentationNetwork"]:
    """Build networks of random weights that have seen enough to normalise by."""
    import torch

    from napari_lrcs.models.registry import create_model

    def build(
        config: TrainConfig, *, n_phases: int = 3, seed: int = 0
    ) -> "SegmentationNetwork":
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            model = create_model(config.network, n_phases=n_phases)
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.momentum = None  # the plain average of all that is seen
                    module.weight.uniform_(0.5, 1.5)
                    module.bias.normal_(0, 0.3)
            for _ in range(3):
                model(torch.randn(2, config.network.n_channels, 64, 64))
        return model.eval()

    return build


@pytest.fixture(scope="session")
def make_checkpoint(
    settled_model: Callable[..., "SegmentationNetwork"], tiny_config: TrainConfig
) -> Callable[..., "Checkpoint"]:
    """Build checkpoints of random weights whose predictions are far from constant."""
    from napari_lrcs.models.checkpoint import Checkpoint
    from napari_lrcs.preprocessing.normalisation import Normalisation

    def build(
        config: TrainConfig = tiny_config, *, n_phases: int = 3, seed: int = 0
    ) -> Checkpoint:
        return Checkpoint(
            config=config,
            phases=PhaseTable.numbered(n_phases),
            normalisation=Normalisation(low=-3.0, high=3.0, mean=0.0, sd=1.0),
            state=settled_model(config, n_phases=n_phases, seed=seed).state_dict(),
        )

    return build


@pytest.fixture
def small_phantom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the demo simulate a small electrode, which takes no time."""
    from napari_lrcs.classical.phantom import electrode_phantom

    phantom = electrode_phantom(shape=(64, 64, 64))
    monkeypatch.setattr("napari_lrcs.demo.electrode_phantom", lambda: phantom)


Sides: TypeAlias = tuple[float, float, float]


def data_exchange(file: Any, grey: Any, *, binning: bytes) -> None:
    """Write a volume as tomocupy does."""
    file["exchange/data"], file["exchange/data_white"] = grey, grey[:2]
    size = "measurement/instrument/detection_system/objective/resolution"
    file[size] = [1.3]
    file[size].attrs["units"] = "um"
    file["process/tomocupy-1.0/reconstruction/binning"] = np.array([binning])


def nabu(file: Any, grey: Any, *, voxel: Sides | str, pixel: float | str) -> None:
    """Write a volume as nabu and tomoscan do, sides in cm."""
    file["entry/flatfield/results/data"] = grey[:2]
    file["entry/reconstruction/results/data"] = grey
    options = "entry/reconstruction/configuration/processing_options/reconstruction"
    file[f"{options}/voxel_size_cm"] = voxel
    file[f"{options}/pixel_size_cm"] = pixel


def nexus(file: Any, grey: Any, *, sides: Sides, signal: str, unit: str) -> None:
    """Write a volume as NXtomoproc, beside raw data as Mantid Imaging does."""
    file["entry1/tomo_entry/instrument/detector/data"] = grey[:2]
    file["recon/definition"] = np.bytes_("NXtomoproc")
    file[f"recon/data/{signal or 'data'}"] = grey
    if signal:
        file["recon/data"].attrs["signal"] = signal
    for axis, n, side in zip("xyz", grey.shape, sides, strict=True):
        file[f"recon/data/{axis}"] = (np.arange(n) * side).astype(np.float16)
        if unit:
            file[f"recon/data/{axis}"].attrs["units"] = unit


def httomo(file: Any, grey: Any) -> None:
    """Write a volume as httomo does."""
    file["data"], file["angles"] = grey, np.linspace(0, 180, 10)
    file["data_dims/detector_x_y"] = [8, 6]


LAYOUTS: dict[str, tuple[Callable[..., None], Sides | None]] = {
    "tomocupy": (partial(data_exchange, binning=b"0"), (1.3, 1.3, 1.3)),
    "binned": (partial(data_exchange, binning=b"1"), (2.6, 2.6, 2.6)),
    "nabu": (partial(nabu, voxel=(7e-5, 6e-5, 6e-5), pixel="None"), (0.7, 0.6, 0.6)),
    "old nabu": (partial(nabu, voxel="None", pixel=6.5e-5), (0.65, 0.65, 0.65)),
    "NXtomoproc": (
        partial(nexus, sides=(0.2, 0.3, 0.3), signal="volume", unit="um"),
        (0.2, 0.3, 0.3),
    ),
    # Its pixel size is 0 until somebody enters it.
    "Mantid Imaging": (partial(nexus, sides=(0, 0, 0), signal="", unit=""), None),
    "httomo": (httomo, None),
}
"""Programs that write HDF5, and the sides of a voxel in µm, if they tell them."""


@pytest.fixture(params=LAYOUTS)
def beamline_file(
    request: pytest.FixtureRequest,
) -> tuple[Callable[[Path, Any], None], Sides | None]:
    """Give what writes a volume as each program in turn, and the sides of a voxel."""
    import h5py

    lay_out, sides = LAYOUTS[request.param]

    def write(path: Path, grey: Any) -> None:
        with h5py.File(path, "w") as file:
            lay_out(file, grey)

    return write, sides
