"""The field's own definitions as pure functions over the model, one module per instrument or rule."""
