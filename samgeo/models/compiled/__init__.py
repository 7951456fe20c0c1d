"""Functions in C++ for the steps of the bundled network that take most of the time on a processor.

Each goes through what it computes once, in blocks that stay in the cache of a core, where the operations of torch go through
it one after the other. The results agree with those of torch up to rounding. The functions are for processors of the kind
x86-64 with AVX2, for float32 without gradients, and for the sizes of the bundled network; anything else is computed by torch.
"""
