"""Results that are hidden while something is drawn on the image below them."""

from napari.components import LayerList
from napari.layers import Image, Labels, Layer

from napari_lrcs.plugin.parts.layers.kinds import kind_of


class HiddenLayers:
    """Hides labels and maps above an image for a while; their opacity stays as it is.

    Parameters
    ----------
    layers : LayerList
        Layers of a viewer.
    """

    def __init__(self, layers: LayerList) -> None:
        self._layers = layers
        self._hidden: list[Layer] = []

    def hide_above(self, image: Image | None) -> bool:
        """Hide what lies above an image; return whether anything is hidden now."""
        lowest = self._layers.index(image) if image in self._layers else None
        above = [] if lowest is None else self._layers[lowest + 1 :]
        for layer in above:
            is_map = isinstance(layer, Image) and kind_of(layer) is not None
            if layer.visible and (is_map or isinstance(layer, Labels)):
                layer.visible = False
                self._hidden.append(layer)
        return bool(self._hidden)

    def show(self) -> None:
        """Show again what was hidden here, and nothing else."""
        hidden, self._hidden = self._hidden, []
        for layer in hidden:
            layer.visible = True
