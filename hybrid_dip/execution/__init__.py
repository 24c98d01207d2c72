"""How a network is evaluated: device, precision, recomputation, CUDA graphs, and the allocator."""
