"""What a fault test puts into the processes it starts. The product has no hook for it."""
