"""Embedders in ONNX Runtime, OpenVINO and TorchScript."""
