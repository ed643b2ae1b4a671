"""What people bring beside the model: ids, metadata, interactions and features, read and bound to the model's rows."""
