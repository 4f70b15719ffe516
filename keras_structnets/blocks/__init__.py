"""Parts of networks, KerasTensor -> KerasTensor, composed of layers."""
