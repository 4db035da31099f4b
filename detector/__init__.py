"""A DBNet / DBNet++ text detector in plain PyTorch: data, model, training, metrics, prediction."""
