"""What the docks of a viewer share; no window is opened."""

import gc

import numpy as np
import pytest
from napari.components import LayerList, ViewerModel
from napari.layers import Image, Labels
from napari.utils._proxies import PublicOnlyProxy

from napari_lrcs.phases import PhaseTable
from napari_lrcs.plugin.label.painted_layers import new_painting
from napari_lrcs.plugin.parts.layers.kinds import marked
from napari_lrcs.plugin.parts.layers.predicted import PredictedLayers, Region
from napari_lrcs.plugin.project.project import Project, project_of

pytestmark = [pytest.mark.gui, pytest.mark.usefixtures("own_settings")]

SHAPE = (3, 8, 9)
PHASES = PhaseTable.named("a", "b")


def image(name: str, shape: tuple[int, ...] = SHAPE) -> Image:
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    return Image(noise, name=name)


def labels(name: str, **metadata: object) -> Labels:
    return Labels(np.ones(SHAPE, np.uint8), name=name, metadata=metadata)


def prediction(of: Image, layers: LayerList) -> Labels:
    viewer = ViewerModel()
    viewer.layers.append(of)
    result = PredictedLayers(
        viewer, of, phases=PHASES, region=Region(axis="z"), path=None
    )
    result.show(np.ones(SHAPE, np.uint8))
    assert result.labels is not None
    layers.append(result.labels)
    return result.labels


def painting(on: Image, layers: LayerList) -> Labels:
    layer = new_painting(on, phases=PHASES, axis="z")
    layers.append(layer)
    return layer


@pytest.fixture
def layers() -> LayerList:
    return LayerList()


@pytest.fixture
def project(layers: LayerList) -> Project:
    return project_of(layers)


def test_viewer_has_one_project_whoever_asks(layers: LayerList) -> None:
    proxy = PublicOnlyProxy(layers)

    assert project_of(proxy) is project_of(layers)
    assert project_of(LayerList()) is not project_of(layers)


def test_project_does_not_keep_its_viewer_alive() -> None:
    project = project_of(LayerList())
    gc.collect()

    assert project.image([]) is None


def test_image_is_the_one_chosen_while_it_is_there(
    project: Project, layers: LayerList
) -> None:
    first, second = image("first"), image("second")
    layers.extend([first, second])
    assert project.image([first, second]) is first

    project.choose("image", second)
    assert project.image([first, second]) is second
    assert project.image([first]) is first

    project.choose("image", None)
    assert project.image([first, second]) is first


def test_another_choice_is_told_once(project: Project, layers: LayerList) -> None:
    told: list[None] = []
    project.changed.connect(lambda: told.append(None))
    layer = image("first")
    layers.append(layer)

    project.choose("image", layer)
    project.choose("image", layer)

    assert len(told) == 1


def test_painting_of_another_image_is_not_learnt_from(
    project: Project, layers: LayerList
) -> None:
    first, second = image("first"), image("second", (3, 8, 10))
    layers.extend([first, second])
    of_first, of_second = painting(first, layers), painting(second, layers)
    both = [of_first, of_second]

    project.choose("painting", of_first)

    assert project.painting(both, first) is of_first
    assert project.painting(both, second) is of_second
    assert project.painting(both, None) is of_first


def test_result_is_the_newest_prediction_else_what_was_computed(
    project: Project, layers: LayerList
) -> None:
    old, new = (labels(name, **marked("prediction")) for name in ("old", "new"))
    vote = labels("vote", **marked("majority vote of networks"))
    own, preview = labels("own"), labels("preview", **marked("training preview"))
    layers.extend([old, new, vote, own, preview])
    offered = [old, new, vote, own, preview]

    assert project.result(offered) is new
    assert project.result([vote, own, preview]) is vote
    assert project.result([own, preview]) is None
    assert project.judged([own, preview]) is own
    project.choose("result", old)
    assert project.result(offered) is old


def test_target_is_the_chosen_painting(project: Project, layers: LayerList) -> None:
    on = image("first")
    layers.append(on)
    older, newer = painting(on, layers), painting(on, layers)
    own = labels("own")
    layers.append(own)

    assert project.target([older, newer, own], None) is newer
    project.choose("painting", older)
    assert project.target([older, newer, own], None) is older
    assert project.target([older, newer, own], older) is newer


def test_target_of_a_result_is_the_truth_that_was_opened(
    project: Project, layers: LayerList
) -> None:
    on = image("first")
    layers.append(on)
    learnt, result = painting(on, layers), labels("result", **marked("prediction"))
    made, truth = labels("by hand"), labels("truth", napari_lrcs_file="truth.tif")
    other = Labels(np.ones((3, 8, 10), np.uint8), metadata=truth.metadata)
    layers.extend([result, made, other, truth])
    offered = [learnt, result, made, other, truth]
    project.choose("painting", learnt)

    assert project.target(offered, result) is truth
    assert project.target(offered[:4], result) is learnt
    assert project.target(offered, truth) is learnt
    # Of two, one may be that of another image.
    second = labels("second truth", napari_lrcs_file="other.tif")
    layers.append(second)
    assert project.target([*offered, second], result) is learnt


def test_image_of_labels_has_their_shape(project: Project, layers: LayerList) -> None:
    first, second = image("first"), image("second", (3, 8, 10))
    layers.extend([first, second])
    on_second = painting(second, layers)

    assert project.image_of(labels("own")) is first
    assert project.image_of(on_second) is second
    layers.remove(first)
    assert project.image_of(labels("own")) is None


def test_a_painting_that_is_chosen_brings_its_image(
    project: Project, layers: LayerList
) -> None:
    first, second = image("first"), image("second", (3, 8, 10))
    layers.extend([first, second])
    of_first, of_second = painting(first, layers), painting(second, layers)
    assert project.image([first, second]) is second  # of the newest painting

    project.choose("painting", of_first)
    assert project.image([first, second]) is first

    project.choose("image", second)
    assert project.image([first, second]) is second
    assert project.painting([of_first, of_second], second) is of_second
    project.choose("painting", of_first)
    assert project.image([first, second]) is first


def test_result_and_target_are_of_the_image(
    project: Project, layers: LayerList
) -> None:
    first, second = image("first"), image("second", (3, 8, 10))
    layers.extend([first, second])
    of_first, of_second = painting(first, layers), painting(second, layers)
    old = labels("old", **marked("prediction"))
    new = Labels(np.ones((3, 8, 10), np.uint8), metadata=marked("prediction"))
    layers.extend([old, new])

    project.choose("painting", of_first)

    assert project.result([old, new]) is old
    assert project.judged([old, new]) is old
    assert project.target([of_first, of_second], new) is of_second


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nothing_of_another_image_of_the_same_shape_is_judged_or_judges(
    project: Project, layers: LayerList, order: tuple[int, int]
) -> None:
    both = image("first"), image("second")
    layers.extend([both[i] for i in order])
    first, second = both
    truth = labels("truth", napari_lrcs_file="truth.tif")
    layers.append(truth)
    predicted = prediction(first, layers)
    offered = [truth, predicted]

    project.choose("image", second)

    assert project.result(offered) is None
    assert project.measured(offered) is None
    assert project.target(offered, None) is None
    assert project.target(offered, predicted) is None  # it may be of the second
    project.choose("image", first)
    assert project.measured(offered) is predicted
    learnt = painting(second, layers)
    assert project.target([*offered, learnt], predicted) is None
    layers.remove(second)
    assert project.target([*offered, learnt], predicted) is truth


def test_chosen_result_is_let_go_with_its_image(
    project: Project, layers: LayerList
) -> None:
    first, second = image("first"), image("second")
    layers.extend([first, second])
    of_first, newer = prediction(first, layers), prediction(first, layers)
    of_second = prediction(second, layers)
    offered = [of_first, newer, of_second]
    project.choose("image", first)
    project.choose("result", of_first)
    assert project.result(offered) is of_first

    project.choose("image", second)
    assert project.result(offered) is of_second
