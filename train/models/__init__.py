"""World models that train in PyTorch and deploy as the core functions of the interface."""
