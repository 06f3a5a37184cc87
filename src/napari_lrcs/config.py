"""One frozen dataclass a task; its fields make forms, flags, headers and search spaces.

Field types are real classes at run time, so this module does not postpone the
evaluation of annotations.
"""

import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self, TypeVar, get_args, get_origin

T = TypeVar("T")

Axis = Literal["z", "y", "x"]
Loss = Literal["dice_cross_entropy", "dice", "cross_entropy"]
Schedule = Literal["one_cycle", "step", "exponential", "constant"]
Precision = Literal["auto", "float32", "tf32", "bf16"]
Kernel = Literal[
    "auto", "cross", "cube_3", "cube_5", "cube_7", "ball_2", "ball_3", "ball_5"
]
"""What a picked voxel grows into: its face neighbours, a square (3D: cube) with sides
of n voxels, or the offsets whose squares sum to at most n; auto is cube_5 in 2D and
ball_5 in 3D."""


def setting(
    default: T,
    tooltip: str,
    *,
    group: str,
    bounds: tuple[float | None, float | None] = (None, None),
    unit: str = "",
) -> T:
    """Declare a field with its help, its place in a form, its bounds and its unit."""
    low, high = bounds
    metadata = {
        "tooltip": tooltip,
        "group": group,
        "min": low,
        "max": high,
        "unit": unit,
    }
    return field(default=default, metadata=metadata)


def _check(name: str, value: object, setting_: Any) -> None:
    _check_type(name, value, setting_.type)
    low, high = setting_.metadata["min"], setting_.metadata["max"]
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if number != number or (low is not None and number < low):
            raise ValueError(f"{name} must be at least {low}, got {number}")
        if high is not None and number > high:
            raise ValueError(f"{name} must be at most {high}, got {number}")


def _check_type(name: str, value: object, annotation: Any) -> None:
    if get_origin(annotation) is Literal:
        if value not in get_args(annotation):
            known = ", ".join(get_args(annotation))
            raise ValueError(f"{name} must be one of {known}; got {value!r}")
        return
    accepted = get_origin(annotation) or annotation
    if accepted is float:
        accepted = (int, float)
    if not isinstance(value, accepted) or (
        isinstance(value, bool) and annotation is not bool
    ):
        raise ValueError(
            f"{name} must be of type {getattr(annotation, '__name__', annotation)}, "
            f"got {value!r}"
        )
    for item in value if isinstance(value, tuple) else ():
        _check_type(name, item, get_args(annotation)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Config:
    """What all configs share: checked fields and a way to and from JSON."""

    def __post_init__(self) -> None:
        for setting_ in fields(self):
            _check(setting_.name, getattr(self, setting_.name), setting_)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        ValueError
            If `values` is no mapping, a name is unknown or a value is out of its
            bounds.
        """
        if not isinstance(values, Mapping):
            found = type(values).__name__
            raise ValueError(f"{cls.__name__} must be read from a dict, got a {found}")
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ValueError(f"{cls.__name__} has no field {', '.join(unknown)}")
        lists_as_tuples = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**lists_as_tuples)

    def with_changes(self, **changes: object) -> Self:
        """Return a copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(_Config):
    """How the network looks, what it sees and how it is trained.

    The defaults are the ``quick`` preset: the smallest network and schedule that
    gave a good overlay within two minutes on two processor cores.
    """

    model: str = setting(
        "lrcsnet", "Network: lrcsnet, or unet as the baseline", group="network"
    )
    n_filters: int = setting(
        16,
        "Width of the network: channels of its first and last layers (paper: 32)",
        group="network",
        bounds=(1, 1024),
    )
    kernel_size: int = setting(
        3,
        "Side of the convolution kernels, odd (paper: 5)",
        group="network",
        bounds=(1, 15),
        unit="px",
    )
    n_bottleneck_convs: int = setting(
        2,
        "Encoder convolutions at the coarsest level (paper: 2, SegmentPy: 1)",
        group="network",
        bounds=(1, 8),
    )
    context_slices: int = setting(
        2,
        "Neighbouring slices on either side that the network sees as channels "
        "(paper: 0)",
        group="network",
        bounds=(0, 16),
        unit="slices",
    )

    axis: Axis = setting(
        "z", "Axis across which the painted slices lie", group="preprocessing"
    )
    median_size: int = setting(
        0,
        "Side of the 3D median filter, odd; 0 for none (paper: 3)",
        group="preprocessing",
        bounds=(0, 15),
        unit="voxels",
    )
    unsharp_radius: float = setting(
        0.0,
        "Standard deviation of the 2D unsharp mask's blur; 0 for none (paper: 6)",
        group="preprocessing",
        bounds=(0, 100),
        unit="px",
    )
    unsharp_weight: float = setting(
        0.6,
        "Weight of the 2D unsharp mask (paper: 0.6)",
        group="preprocessing",
        bounds=(0, 0.95),
    )

    n_epochs: int = setting(
        12,
        "Epochs; the network is validated after each",
        group="training",
        bounds=(1, 100_000),
    )
    patches_per_epoch: int = setting(
        400,
        "Patches drawn in an epoch",
        group="training",
        bounds=(1, 10_000_000),
    )
    batch_size: int = setting(
        8,
        "Patches in one optimiser step (paper: small batches converge better)",
        group="training",
        bounds=(1, 4096),
    )
    patch_size: int = setting(
        128, "Side of a patch", group="training", bounds=(8, 8192), unit="px"
    )
    loss: Loss = setting(
        "dice_cross_entropy",
        "Loss: Dice (the paper's), cross-entropy or their sum",
        group="training",
    )
    phase_weights: tuple[float, ...] = setting(
        (),
        "Weight of each phase in the loss; none for equal weights",
        group="training",
        bounds=(0, 1e9),
    )
    learning_rate: float = setting(
        4e-3,
        "Initial (one_cycle: highest) learning rate of Adam (paper: 1e-4)",
        group="training",
        bounds=(1e-8, 1.0),
    )
    schedule: Schedule = setting(
        "one_cycle",
        "Learning rate over time: step multiplies it by the decay ratio after every "
        "epoch (the paper's), exponential does so smoothly",
        group="training",
    )
    decay_ratio: float = setting(
        0.3,
        "Factor of the learning rate an epoch, for step and exponential (paper: 0.3)",
        group="training",
        bounds=(1e-3, 1.0),
    )
    patience: int = setting(
        0,
        "Stop after this many epochs without a better validation score; 0 for never",
        group="training",
        bounds=(0, 100_000),
        unit="epochs",
    )
    pitfall_restarts: int = setting(
        1,
        "Restarts with another seed when only the major phase is predicted",
        group="training",
        bounds=(0, 10),
    )
    seed: int = setting(
        0,
        "Seed of weights, patches and augmentation",
        group="training",
        bounds=(0, 2**31),
    )
    device: str = setting(
        "auto", "Where to compute: auto, cpu, cuda, cuda:1, …, mps", group="training"
    )
    precision: Precision = setting(
        "auto",
        "Arithmetic of the convolutions; auto takes the fastest that gains",
        group="training",
    )

    flip: bool = setting(
        True, "Mirror and turn patches by multiples of 90°", group="augmentation"
    )
    rotation: float = setting(
        0.0,
        "Largest rotation to either side",
        group="augmentation",
        bounds=(0, 180),
        unit="°",
    )
    scaling: float = setting(
        0.0,
        "Largest relative change of size, 0.2 for 1/1.2 to 1.2",
        group="augmentation",
        bounds=(0, 1),
    )
    elastic: float = setting(
        0.0,
        "Standard deviation of the elastic displacement",
        group="augmentation",
        bounds=(0, 50),
        unit="px",
    )
    warp_share: float = setting(
        0.5,
        "Share of the patches that are rotated, scaled and distorted "
        "(interpolation softens noise, so some should stay as they are)",
        group="augmentation",
        bounds=(0, 1),
    )
    gain: float = setting(
        0.1,
        "Largest relative change of contrast",
        group="augmentation",
        bounds=(0, 0.9),
    )
    offset: float = setting(
        0.1,
        "Largest shift of brightness",
        group="augmentation",
        bounds=(0, 10),
        unit="image sd",
    )
    gamma: float = setting(
        0.0,
        "Largest relative change of gamma, 0.2 for 1/1.2 to 1.2",
        group="augmentation",
        bounds=(0, 2),
    )
    noise: float = setting(
        0.1,
        "Largest standard deviation of added white noise",
        group="augmentation",
        bounds=(0, 10),
        unit="image sd",
    )
    coloured_noise: float = setting(
        0.0,
        "Largest standard deviation of added noise that is correlated over some pixels",
        group="augmentation",
        bounds=(0, 10),
        unit="image sd",
    )
    blur: float = setting(
        0.0,
        "Largest standard deviation of a Gaussian blur",
        group="augmentation",
        bounds=(0, 10),
        unit="px",
    )
    rings: float = setting(
        0.0,
        "Largest standard deviation of added ring artefacts",
        group="augmentation",
        bounds=(0, 10),
        unit="image sd",
    )

    def __post_init__(self) -> None:
        super(TrainConfig, self).__post_init__()
        for name in ("kernel_size", "median_size"):
            size = getattr(self, name)
            if size and size % 2 == 0:
                raise ValueError(f"{name} must be odd, got {size}")

    @property
    def is_warping(self) -> bool:
        """Whether patches are looked up between pixels."""
        strengths = (self.rotation, self.scaling, self.elastic)
        return bool(any(strengths) and self.warp_share)

    def with_network_of(self, other: "TrainConfig") -> Self:
        """Return a copy with another config's network, as its weights need it."""
        names = [f.name for f in fields(self) if f.metadata["group"] == "network"]
        return self.with_changes(**{name: getattr(other, name) for name in names})


PRESETS: Mapping[str, TrainConfig] = types.MappingProxyType(
    {
        "quick": TrainConfig(),
        # Fig. 3 and Methods of the paper; Adam, batch 2, crops of 512 and 5 epochs are
        # SegmentPy's. 12,000 patches in batches of 2 make 6,000 steps an epoch and
        # 30,000 in all, where the paper's transfer gain levels off.
        "paper": TrainConfig(
            n_filters=32,
            kernel_size=5,
            context_slices=0,
            median_size=3,
            n_epochs=5,
            patches_per_epoch=12_000,
            batch_size=2,
            patch_size=512,
            loss="dice",
            learning_rate=1e-4,
            schedule="step",
            decay_ratio=0.3,
            pitfall_restarts=0,
            rotation=15.0,
            scaling=0.1,
            elastic=2.0,
        ),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig(_Config):
    """Where and in which portions a volume is predicted."""

    device: str = setting(
        "auto", "Where to compute: auto, cpu, cuda, cuda:1, …, mps", group="device"
    )
    precision: Precision = setting(
        "auto",
        "Arithmetic of the convolutions; auto takes the fastest that gains",
        group="device",
    )
    tile_size: int = setting(
        0,
        "Largest side of a tile without its halo; 0 for whole slices where they fit",
        group="device",
        bounds=(0, 65536),
        unit="px",
    )
    memory: int = setting(
        0,
        "Memory for the network's activations; 0 for 512 MiB on a CPU and half of "
        "what is free on a GPU",
        group="device",
        bounds=(0, None),
        unit="MiB",
    )
    min_size: int = setting(
        0,
        "Specks of fewer voxels go to the phase around them; 0 for none",
        group="result",
        bounds=(0, 1000),
        unit="voxels",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbConfig(_Config):
    """How far painted labels are blurred, as between experimenters.

    The paper leaves the kernel open; the default is the one whose interface histogram
    has the paper's full width at half maximum of about ten voxels.
    """

    kernel: Kernel = setting(
        "auto",
        "What a picked voxel grows into; auto: 5×5 square on a slice, ball of radius "
        "√5 in a volume",
        group="perturbation",
    )
    picked_fraction: float = setting(
        0.1,
        "Share of the interface voxels that grow in each iteration (paper: 0.1)",
        group="perturbation",
        bounds=(0, 1),
    )
    n_iterations: int = setting(
        5,
        "Iterations (paper: 5)",
        group="perturbation",
        bounds=(0, 100),
    )
    max_distance: float = setting(
        10.0,
        "No voxel farther than this from an original interface changes (paper: 10)",
        group="perturbation",
        bounds=(0, 1000),
        unit="voxels",
    )
    growing: tuple[int, ...] = setting(
        (),
        "Labels of the phases that may grow; none for all, so both sides of each "
        "interface",
        group="perturbation",
        bounds=(1, 255),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig(_Config):
    """How many networks a study of uncertainty trains."""

    n_members: int = setting(
        15,
        "Networks trained on perturbed labels, each on its own (paper: 15)",
        group="study",
        bounds=(2, 1000),
    )
    n_repeats: int = setting(
        5,
        "Networks trained on the labels as painted with other seeds: what training "
        "alone scatters; 0 for none",
        group="study",
        bounds=(0, 1000),
    )
