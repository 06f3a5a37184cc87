"""Networks in the formats of other programs: ONNX, and packages of bioimage.io."""
