"""What a person should look at: doubtful words, words a model sees otherwise, statistics."""
