"""Labels that are hidden while something is drawn on the image below them."""

from napari.components import LayerList
from napari.layers import Image, Labels


class HiddenLabels:
    """Hides the labels above an image for a while; their opacity stays as it is.

    Parameters
    ----------
    layers : LayerList
        Layers of a viewer.
    """

    def __init__(self, layers: LayerList) -> None:
        self._layers = layers
        self._hidden: list[Labels] = []

    def hide_above(self, image: Image | None) -> bool:
        """Hide the labels above an image; return whether any are hidden now."""
        lowest = self._layers.index(image) if image in self._layers else None
        above = [] if lowest is None else self._layers[lowest + 1 :]
        for layer in above:
            if isinstance(layer, Labels) and layer.visible:
                layer.visible = False
                self._hidden.append(layer)
        return bool(self._hidden)

    def show(self) -> None:
        """Show again what was hidden here, and nothing else."""
        hidden, self._hidden = self._hidden, []
        for layer in hidden:
            layer.visible = True
