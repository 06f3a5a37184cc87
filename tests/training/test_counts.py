import numpy as np
import torch

from napari_lrcs.metrics.overlap import confusion_matrix
from napari_lrcs.training.counts import StepCounts, count_confusion


def test_counts_are_those_of_the_confusion_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 7, 5, generator=generator)
    target = torch.randint(0, 4, (2, 7, 5), generator=generator, dtype=torch.uint8)

    counts = count_confusion(logits, target).numpy()

    predicted = (logits.argmax(dim=1) + 1).to(torch.uint8).numpy()
    expected = confusion_matrix(target.numpy(), predicted, n_phases=3)
    np.testing.assert_array_equal(counts, expected)


def test_counts_of_255_phases_do_not_overflow() -> None:
    logits = torch.zeros(1, 255, 1, 1)
    logits[0, 254] = 1

    counts = count_confusion(logits, torch.tensor([[[255]]], dtype=torch.uint8))

    assert counts.nonzero().tolist() == [[254, 254]]


def test_counts_of_steps_are_read_once() -> None:
    counts = StepCounts(2, torch.device("cpu"))
    for loss in (0.5, 0.25):
        counts.add(torch.tensor(loss), torch.tensor([[1, 2], [0, 3]]))

    losses, confusion = counts.read()

    assert losses == [0.5, 0.25]
    assert confusion.tolist() == [[2, 4], [0, 6]]
    assert counts.read()[0] == []
    assert not counts.read()[1].any()
    assert confusion.any()  # a copy, not what goes on counting
