import pytest

from command_line import Run, printed_object

pytestmark = pytest.mark.usefixtures("one_thread")


def test_info_is_one_object_of_versions_and_devices(run: Run) -> None:
    pairs = printed_object(run("info --json"))

    assert {"Python", "napari-lrcs", "torch", "GPU", "automatic device"} <= set(pairs)
    assert all(isinstance(value, str) and value for value in pairs.values())


def test_info_prints_a_table(run: Run) -> None:
    assert "torch" in run("info")
