"""One frozen dataclass per task; its settings define forms, flags and headers.

Defaults, limits and help of all settings are here; `settings` is what makes them work.

Field types are read at run time: the evaluation of annotations is not postponed.
"""

import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from napari_lrcs.augmentation import AugmentationConfig
from napari_lrcs.settings import Config, setting

Axis = Literal["z", "y", "x"]
Loss = Literal["dice_cross_entropy", "dice", "cross_entropy"]
Schedule = Literal["one_cycle", "step", "exponential", "trapezoidal", "constant"]
Sampler = Literal["grid", "random", "tpe", "bayes"]
Precision = Literal["auto", "float32", "tf32", "bf16"]
Kernel = Literal[
    "auto", "cross", "cube_3", "cube_5", "cube_7", "ball_2", "ball_3", "ball_5"
]
"""What a picked voxel grows into: its face neighbours, a square (3D: cube) with sides
of n voxels, or the offsets whose squares sum to at most n; auto is cube_5 in 2D and
ball_5 in 3D."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig(Config):
    """What the network is, and so which weights fit it."""

    group = "network"

    model: str = setting(
        "lrcsnet",
        "Network: lrcsnet; unet, which is level with it, and ahead on thin membranes "
        "after 36 epochs (mean IoU .752 to .715); segnet or xlearn to compare with",
    )
    n_filters: int = setting(
        16,
        "Width of the network: channels of its first and last layers (paper: 32)",
        bounds=(1, 1024),
    )
    kernel_size: int = setting(
        3,
        "Side of the convolution kernels, odd (paper: 5)",
        bounds=(1, 15),
        unit="px",
        odd=True,
    )
    n_bottleneck_convs: int = setting(
        2,
        "Encoder convolutions at the coarsest level (paper: 2, SegmentPy: 1)",
        bounds=(1, 8),
    )
    skip_connections: bool = setting(
        True,
        "Give the decoder of lrcsnet the maps of its encoder, as in unet (paper: no)",
    )
    filter_scales: int = setting(
        0,
        "Scales on which the network is given what a random forest sees: smoothed grey "
        "level, gradient and curvatures, at 1, 2, 4 … px; 0 for none (paper: 0)",
        bounds=(0, 5),
    )
    context_slices: int = setting(
        2,
        "Neighbouring slices on either side that are given to the network as "
        "channels; unless set, 0 where slices do not resemble their neighbours "
        "(paper: 0)",
        bounds=(0, 16),
        unit="slices",
    )

    @property
    def n_channels(self) -> int:
        """Slices that the network sees at once."""
        return 2 * self.context_slices + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingConfig(Config):
    """How slices are cut from a volume and filtered before a network sees them."""

    group = "preprocessing"

    axis: Axis = setting("z", "Axis across which the painted slices lie")
    median_size: int = setting(
        0,
        "Side of the 3D median filter, odd; 0 for none (paper: 3)",
        bounds=(0, 15),
        unit="voxels",
        odd=True,
    )
    unsharp_radius: float = setting(
        0.0,
        "Standard deviation of the 2D unsharp mask's blur; 0 for none (paper: 6)",
        bounds=(0, 100),
        unit="px",
    )
    unsharp_weight: float = setting(
        0.6, "Weight of the 2D unsharp mask (paper: 0.6)", bounds=(0, 0.95)
    )

    @property
    def margin(self) -> int:
        """Slices on either side that the filters need to return one."""
        return self.median_size // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimisationConfig(Config):
    """How long, on what and by which steps the weights are learnt."""

    group = "training"

    n_epochs: int = setting(
        10, "Epochs; the network is validated after each", bounds=(1, 100_000)
    )
    patches_per_epoch: int = setting(400, "Patches per epoch", bounds=(1, 10_000_000))
    batch_size: int = setting(
        8,
        "Patches per optimiser step (paper: small batches converge better)",
        bounds=(1, 4096),
    )
    patch_size: int = setting(128, "Side of a patch", bounds=(8, 8192), unit="px")
    balance: float = setting(
        0.5,
        "Share of the patches that are centred on each phase equally often, so that "
        "a rare phase is seen as often as the others",
        bounds=(0, 1),
    )
    loss: Loss = setting(
        "dice_cross_entropy", "Loss: Dice (the paper's), cross-entropy or their sum"
    )
    phase_weights: tuple[float, ...] = setting(
        (),
        "Weight of each phase in the loss; leave empty for equal weights",
        bounds=(0, 1e9),
    )
    learning_rate: float = setting(
        4e-3,
        "Initial (one_cycle: highest) learning rate of Adam (paper: 1e-4)",
        bounds=(1e-8, 1.0),
    )
    schedule: Schedule = setting(
        "one_cycle",
        "Learning rate over time: step multiplies it by the decay ratio after every "
        "epoch (the paper's), exponential does so smoothly; trapezoidal is constant "
        "until the last epochs, as in training while you paint",
    )
    decay_ratio: float = setting(
        0.3,
        "Factor on the learning rate per epoch, for step and exponential (paper: 0.3)",
        bounds=(1e-3, 1.0),
    )
    weight_averaging: float = setting(
        0.99,
        "Share that each step keeps of the moving average of the weights, which is "
        "the network that is validated and used; 0 for the last weights",
        bounds=(0, 0.99),
    )
    patience: int = setting(
        0,
        "Stop after this many epochs without a better validation score; 0 for never",
        bounds=(0, 100_000),
        unit="epochs",
    )
    pitfall_restarts: int = setting(
        1,
        "Restarts with another seed if only the majority phase is predicted",
        bounds=(0, 10),
    )

    def is_over(self, n_done: int, *, best_epoch: int) -> bool:
        """Whether no epoch is left, or the validation has not improved for long."""
        return n_done >= self.n_epochs or 0 < self.patience <= n_done - best_epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(Config):
    """How the network looks, what it sees and how it is trained.

    The defaults are the ``quick`` preset: a small network whose training
    takes minutes on two processor cores.
    """

    group = "training"
    before = types.MappingProxyType(
        {
            "balance": 0.0,
            "weight_averaging": 0.0,
            "skip_connections": False,
            "filter_scales": 0,
            "deterministic": False,
        }
    )

    network: NetworkConfig = NetworkConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    optimisation: OptimisationConfig = OptimisationConfig()
    seed: int = setting(
        0, "Seed of weights, patches and augmentation", bounds=(0, 2**31)
    )
    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, …, mps")
    precision: Precision = setting(
        "auto", "Arithmetic of the convolutions; auto: bf16 if the hardware has it"
    )
    deterministic: bool = setting(
        False,
        "On an NVIDIA GPU, take only deterministic kernels: the same seed then gives "
        "the same weights, but training is slower. A processor needs no such choice",
    )
    augmentation: AugmentationConfig = AugmentationConfig()

    def identity(self) -> dict[str, Any]:
        """Return `to_dict` to compare, without settings that are as `before`."""
        own = self.to_dict()
        return {
            k: v for k, v in own.items() if k not in self.before or v != self.before[k]
        }


PRESETS: Mapping[str, TrainConfig] = types.MappingProxyType(
    {
        "quick": TrainConfig(),  # the defaults above
        # A wider network, given filter responses, and trained for longer.
        "best": TrainConfig(
            network=NetworkConfig(n_filters=24, filter_scales=4),
            optimisation=OptimisationConfig(n_epochs=20),
        ),
        # Fig. 3 and Methods of the paper; Adam, batch 2, crops of 512 and 5 epochs are
        # SegmentPy's. 12,000 patches in batches of 2 make 6,000 steps an epoch and
        # 30,000 in all, where the paper's transfer gain levels off.
        "paper": TrainConfig(
            network=NetworkConfig(
                n_filters=32, kernel_size=5, skip_connections=False, context_slices=0
            ),
            preprocessing=PreprocessingConfig(median_size=3),
            optimisation=OptimisationConfig(
                n_epochs=5,
                patches_per_epoch=12_000,
                batch_size=2,
                patch_size=512,
                balance=0.0,
                loss="dice",
                learning_rate=1e-4,
                schedule="step",
                decay_ratio=0.3,
                weight_averaging=0.0,
                pitfall_restarts=0,
            ),
            augmentation=AugmentationConfig(rotation=15.0, scaling=0.1, elastic=2.0),
        ),
    }
)


FITTED_PRESETS = ("quick", "best")
"""Presets whose context slices are fitted to the volume, unless they are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig(Config):
    """Where and in which portions a volume is predicted."""

    group = "device"

    device: str = setting("auto", "Where to compute: auto, cpu, cuda, cuda:1, …, mps")
    precision: Precision = setting(
        "auto", "Arithmetic of the convolutions; auto: bf16 if the hardware has it"
    )
    tile_size: int = setting(
        0,
        "Largest side of a tile without its halo; 0 for whole slices if they fit",
        bounds=(0, 65536),
        unit="px",
    )
    memory: int = setting(
        0,
        "Memory for the network's activations; 0 for 512 MiB on a CPU and half of "
        "what is free on a GPU",
        bounds=(0, None),
        unit="MiB",
    )
    average_turns: bool = setting(
        False,
        "Predict each slice in eight views, turned and mirrored, and average the "
        "probabilities: mostly better, eight times slower",
        group="result",
    )
    min_size: int = setting(
        0,
        "Merge specks of fewer voxels into the phase around them; 0 for never",
        group="result",
        bounds=(0, 1000),
        unit="voxels",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PerturbConfig(Config):
    """How far painted labels are blurred, as between experimenters.

    The paper leaves the kernel open; the default is the one whose interface histogram
    has the paper's full width at half maximum of about ten voxels.
    """

    group = "perturbation"

    kernel: Kernel = setting(
        "auto",
        "What a picked voxel grows into; auto: 5×5 square on a slice, ball of radius "
        "√5 in a volume",
    )
    picked_fraction: float = setting(
        0.1,
        "Share of the interface voxels that grow in each iteration (paper: 0.1)",
        bounds=(0, 1),
    )
    n_iterations: int = setting(5, "Iterations (paper: 5)", bounds=(0, 100))
    max_distance: float = setting(
        10.0,
        "No voxel farther than this from an original interface changes (paper: 10)",
        bounds=(0, 1000),
        unit="voxels",
    )
    growing: tuple[int, ...] = setting(
        (),
        "Labels of the phases that may grow; leave empty for all, so that both sides "
        "of each interface grow",
        bounds=(1, 255),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyConfig(Config):
    """How many networks a study of uncertainty trains."""

    group = "study"

    n_members: int = setting(
        15,
        "Networks trained on perturbed labels, each on its own (paper: 15)",
        bounds=(2, 1000),
    )
    n_repeats: int = setting(
        5,
        "Networks trained on the labels as painted, with other seeds: how far results "
        "scatter because of training alone; 0 for none",
        bounds=(0, 1000),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlsoMeasureConfig(Config):
    """What every member of a study measures besides scores and fractions."""

    group = "also measure"

    surface_area: bool = setting(False, "Surface area of each phase per volume")
    tortuosity: tuple[str, ...] = setting(
        (),
        "Phases (names or labels) whose tortuosity is computed along z, y and x; needs "
        "the extra transport",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig(Config):
    """How a search chooses settings, and how many it tries."""

    group = "search"

    sampler: Sampler = setting(
        "random",
        "How settings are chosen: all of a grid, at random, or from the scores so far "
        "by tree-structured Parzen estimators (tpe) or a Gaussian process (bayes)",
    )
    n_trials: int = setting(
        20, "Settings to try; a grid tries all of its own", bounds=(1, 10_000)
    )
    n_repeats: int = setting(
        3, "Trainings of each setting, with different seeds (paper: 3)", bounds=(1, 100)
    )
    minutes: float = setting(
        0.0,
        "Time after which no trial is started; 0 for no limit",
        bounds=(0, 1e6),
        unit="minutes",
    )
    prune: bool = setting(
        True,
        "Skip the repeats of a setting whose first training scores less than the "
        "median of earlier ones",
    )
