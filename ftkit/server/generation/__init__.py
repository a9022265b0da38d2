"""Text generation, in a worker process: continuous batching, constraints and tool calls."""
