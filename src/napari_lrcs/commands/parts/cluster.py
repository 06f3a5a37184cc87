"""The cluster that ``--cluster`` names."""

import argparse
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_lrcs.commands.parts.output import console
from napari_lrcs.commands.parts.terminal import printable
from napari_lrcs.io.paths import is_zarr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from napari_lrcs.distributed import ClusterExecutor
    from napari_lrcs.io.elsewhere import Elsewhere


@contextmanager
def connected(
    arguments: argparse.Namespace, *read: "str | Path | None"
) -> "Iterator[ClusterExecutor | None]":
    """Connect to the cluster, if one is named.

    Parameters
    ----------
    *read : str, Path or None
        Files that the workers read, as given on the command line; they must see them,
        and the folder of the result, if there is one.

    Raises
    ------
    LrcsError
        If it does not answer, or its workers cannot do the work.
    ValueError
        If a number of workers is given for something else than a local cluster.
    """
    address, n_workers = arguments.cluster, arguments.n_workers
    if n_workers is not None and (n_workers < 1 or address != "local"):
        raise ValueError(
            f"--n-workers is at least 1, and for --cluster local; got {n_workers} and "
            f"{address or 'no cluster'}"
        )
    if address is None:
        yield None
        return
    from napari_lrcs.distributed import connect

    with connect(address, n_workers=n_workers) as executor:
        out: Path | None = getattr(arguments, "out", None)
        executor.check_files(_files(read), folder=out and _folder_of(out.absolute()))
        if not executor.n_workers:
            text = printable(f"no worker has joined {address} yet: waiting for one")
            console(stderr=True).print(text, soft_wrap=True)
        yield executor


@contextmanager
def elsewhere(
    arguments: argparse.Namespace, *read: "str | Path | None"
) -> "Iterator[Elsewhere | None]":
    """Connect as `connected` does; yield what runs parts of the work there."""
    from napari_lrcs.io.elsewhere import Elsewhere

    with connected(arguments, *read) as executor:
        if executor is None:
            yield None
        else:
            yield Elsewhere(executor=executor, n_workers=executor.n_workers)


def _folder_of(out: Path) -> Path:
    """Return the folder that results go to: that of a series is given itself."""
    return out if out.is_dir() and not is_zarr(out) else out.parent


def _files(given: "Iterable[str | Path | None]") -> list[Path]:
    from napari_lrcs.io.opening import split_dataset
    from napari_lrcs.preprocessing.mask import CYLINDER

    return [split_dataset(p)[0] for p in given if p and str(p) != CYLINDER]
