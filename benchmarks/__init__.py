"""CPU and latency of the relay beside a bare pass-through, in one run: `just bench`."""
