"""One training, from the first weights to the best ones: loss, steps, epochs, validations."""
