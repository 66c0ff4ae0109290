"""MTCNN (Zhang et al. 2016) on PyTorch and OpenVINO."""
