"""What other programs show of a search: TensorBoard, MLflow, Weights & Biases.

Uses the rooms up to `run`.
"""
