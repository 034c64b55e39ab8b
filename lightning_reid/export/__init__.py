"""Trained networks for other programs."""

from lightning_reid.export.onnx_file import Exported, export_onnx

__all__ = ["Exported", "export_onnx"]
